"""Write and read purchases, refunds and entitlements: a column per field, so that the API shows what the fold made.

They are wide. To PostgreSQL they go as one JSON document, which pydantic writes in a quarter of the time that an array
for each column takes; and either database gives a row back as a JSON object, which pydantic reads in half the time that
it takes to look through a dictionary. To SQLite they go as rows: it is slow at taking documents apart.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import Connection, RowMapping, Table

from schemas.resources import Entitlement, Purchase, Refund
from worker.store import bulk
from worker.store import tables as t
from worker.store.documents import Documents

R = TypeVar("R", Purchase, Refund, Entitlement)

_TUPLES: Final = frozenset({"aliases", "entitlements", "purchases"})
"""Fields that hold many: JSON text in their columns."""
_ELSEWHERE: Final = frozenset({"object", "charge"})
"""Fields that are no columns."""


@dataclass(frozen=True, eq=False)
class View(Generic[R]):
    """A table of resources.

    Attributes:
        fields: those that are columns.
    """

    table: Table
    model: type[R]
    fields: bulk.Names

    def write(
        self,
        connection: Connection,
        items: Sequence[R],
        names: bulk.Names = (),
        beside: bulk.Rows = (),
        documents: Documents | None = None,
    ) -> None:
        """Insert these, and replace those that are there. Give them in the order of their keys.

        Args:
            connection: a transaction.
            items: what to write.
            names: of columns that are no fields.
            beside: what each item has there.
            documents: where what is written of them once is found again.
        """
        if not items:
            return
        everything = self.fields + names
        if connection.dialect.name == "postgresql":
            text = bulk.insertion(self.table, everything, _from_document(self, names), "replace")
            document = (documents or Documents()).of_all(items)
            bulk.send(connection, text, (document, *bulk.columns_of(self.table, names, beside)))
        else:
            rows = map(self._row, items)
            complete = [own + more for own, more in zip(rows, beside, strict=True)] if names else list(rows)
            bulk.upsert(connection, self.table, everything, complete)

    def find(
        self, connection: Connection, columns: str, where: str, *many: Sequence[str]
    ) -> Iterator[tuple[tuple[Any, ...], R]]:
        """Ask for the rows for which something holds, and read them later: some of their columns, and the resource."""
        read = self.model.model_validate_json
        question = f"SELECT {columns}, {_as_json(self, connection.dialect.name)} FROM {self.table} WHERE {where}"  # noqa: S608 - names and questions of our own
        found = bulk.ask(connection, question, *many)
        return ((row[:-1], read(row[-1])) for row in found)

    def read(self, row: RowMapping) -> R:
        """Read one back from its columns."""
        fields = {name: row[name] for name in self.fields}
        return self.model.model_validate(fields | {n: json.loads(fields[n]) for n in _TUPLES.intersection(fields)})

    def _row(self, item: R) -> tuple[Any, ...]:
        values = item.__dict__
        return tuple(json.dumps(values[name]) if name in _TUPLES else values[name] for name in self.fields)


def _view(table: Table, model: type[R]) -> View[R]:
    fields = tuple(name for name in model.model_fields if name not in _ELSEWHERE)
    return View(table, model, fields)


PURCHASES: Final = _view(t.purchases, Purchase)
REFUNDS: Final = _view(t.refunds, Refund)
ENTITLEMENTS: Final = _view(t.entitlements, Entitlement)


@lru_cache(maxsize=64)
def _from_document(view: View[Any], beside: bulk.Names) -> str:
    """Take a document apart. An array within it becomes the text it is there, as its column is text."""
    fields = ", ".join(f'"{name}" {bulk.type_of(view.table, name)}' for name in view.fields)
    arrays = "".join(f", unnest(%b::{bulk.type_of(view.table, name)}[])" for name in beside)
    return f"SELECT * FROM ROWS FROM (json_to_recordset(%t::json) AS ({fields}){arrays})"  # noqa: S608 - names of our own


@lru_cache(maxsize=64)
def _as_json(view: View[Any], dialect: str) -> str:
    """Make an object of a row."""
    make, many = ("json_build_object", '"{}"::json') if dialect == "postgresql" else ("json_object", 'json("{}")')
    pairs = [f"'{name}', {many.format(name) if name in _TUPLES else bulk.quoted(name)}" for name in view.fields]
    made = f"{make}({', '.join(pairs)})"
    return f"{made}::text" if dialect == "postgresql" else made
