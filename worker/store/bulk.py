"""Ask for and write many rows in one statement, in texts that are written once and hold no value.

Whatever is many is one parameter: on PostgreSQL an array in binary form, on SQLite a JSON array to be found in, and
rows that its driver inserts one after the other. So the text of a statement is the same for any number of rows, and
neither SQLAlchemy nor a driver builds or takes apart anything for each: docs/decisions/0013-psycopg-and-arrays.md has
what that is worth. Whoever listens to the engine hears of every statement.

Nothing here waits for PostgreSQL before its answer is read (`worker/store/pipeline.py`): first ask, then read.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Boolean, Connection, Float, Integer, LargeBinary, Table

if TYPE_CHECKING:
    from worker.store.pipeline import Answer

Names = tuple[str, ...]
Rows = Sequence[tuple[Any, ...]]
"""Values in the order of the names of their columns."""
Same = Mapping[str, Any]
"""One value for every row, by the name of its column."""
_NOTHING: Final[Same] = MappingProxyType({})

_TYPES: Final = (
    (LargeBinary, "bytea"),
    (BigInteger, "bigint"),
    (Integer, "integer"),
    (Boolean, "boolean"),
    (Float, "float8"),
)


class Texts(list["str | None"]):
    """A column of texts on its way to PostgreSQL: `worker/store/dumpers.py`."""


class Numbers(list["int | None"]):
    """A column of integers on its way to PostgreSQL."""


_COLUMNS: Final[Mapping[str, type[list[Any]]]] = {"text": Texts, "bigint": Numbers, "integer": Numbers}


def insert(connection: Connection, table: Table, names: Names, rows: Rows, same: Same = _NOTHING) -> None:
    """Insert rows; what is there already is a mistake.

    Args:
        connection: a transaction.
        table: where to.
        names: of the columns.
        rows: what each row has in these columns.
        same: what every row has in further columns.
    """
    _write(connection, table, names, rows, "fail", same)


def insert_absent(
    connection: Connection, table: Table, names: Names, rows: Rows, same: Same = _NOTHING
) -> Callable[[], int]:
    """Insert the rows that are not there yet, by whichever key; what is returned tells how many were not.

    No constraint is named: PostgreSQL would pass over a row only for the one that is, and fail on any other.
    """
    return _write(connection, table, names, rows, "absent", same)


def insert_new(connection: Connection, table: Table, names: Names, rows: Rows) -> Iterable[str]:
    """Insert as `insert_absent` does, and give the keys of those that were not there, once they are read."""
    if not rows:
        return []
    (key,) = table.primary_key
    text = f"{_insertion(connection, table, names, (), 'absent')} RETURNING {quoted(key.name)}"
    if _is_postgresql(connection):
        return (new for (new,) in _send(connection, text, columns_of(table, names, rows)))
    # SQLite's driver gives nothing back where it is handed many rows.
    return [new for row in rows for new in connection.exec_driver_sql(text, row).scalars()]


def upsert(connection: Connection, table: Table, names: Names, rows: Rows) -> None:
    """Insert rows, and replace those that are there, in the order of their keys."""
    place = [names.index(column.name) for column in table.primary_key]
    _write(connection, table, names, sorted(rows, key=lambda row: [row[at] for at in place]), "replace", _NOTHING)


def change(connection: Connection, table: Table, names: Names, rows: Rows) -> None:
    """Change rows that are there, named by the first column, which is their key."""
    if not rows:
        return
    if _is_postgresql(connection):
        _send(connection, _change_on_postgresql(table, names), columns_of(table, names, rows))
    else:
        connection.exec_driver_sql(_change_on_sqlite(table, names), [(*row[1:], row[0]) for row in rows])


def ask(connection: Connection, question: str, *many: Iterable[str]) -> Iterable[Any]:
    """Ask for rows, which are waited for when they are read.

    Args:
        connection: a transaction.
        question: SQL of our own, in which each `IN ?` stands for one of many texts, and what begins with `FOR UPDATE`
            is left out where one transaction writes at a time anyway.
        many: the texts, for each `IN ?`.
    """
    if _is_postgresql(connection):
        return _send(connection, _on_postgresql(question), tuple(map(Texts, many)))
    asked = tuple(json.dumps(list(texts)) for texts in many)
    return connection.exec_driver_sql(_on_sqlite(question), asked).fetchall()


def ask_each(connection: Connection, look: str, names: Names, keys: Collection[tuple[str, ...]]) -> Iterable[Any]:
    """Look once for each key, and give each with the one value found; None: there is none.

    A join may be carried out by reading everything that could match, and is where nothing was counted; a subquery that
    gives one value is carried out for each key.

    Args:
        connection: a transaction.
        look: SQL of our own for that value, in which `asked.…` is the key's; it may lock, in the order of the keys.
        names: of the parts of a key.
        keys: texts in the order of these names.
    """
    if not keys:
        return ()
    if _is_postgresql(connection):
        return _send(connection, _each_on_postgresql(look, names), tuple(map(Texts, zip(*keys, strict=True))))
    return connection.exec_driver_sql(_each_on_sqlite(look, names), (json.dumps(list(keys)),)).fetchall()


def send(connection: Connection, text: str, values: Sequence[Any]) -> None:
    """Send a statement to PostgreSQL that answers nothing."""
    _send(connection, text, values)


def columns_of(table: Table, names: Names, rows: Rows) -> tuple[list[Any], ...]:
    """Turn rows into columns, each of a type whose elements need not be looked at."""
    return tuple(kind(column) for kind, column in zip(_kinds(table, names), zip(*rows, strict=True), strict=True))


def type_of(table: Table, name: str) -> str:
    """Name the type of a column as PostgreSQL does."""
    own = table.c[name].type
    return next((named for kind, named in _TYPES if isinstance(own, kind)), "text")


@lru_cache(maxsize=256)
def insertion(table: Table, names: Names, source: str, conflict: str) -> str:
    """Write down an insert from a source of rows: what happens to those that are there already.

    Args:
        table: where to.
        names: of the columns.
        source: `VALUES …` or `SELECT …`.
        conflict: `fail`, `absent` (it stays as it is) or `replace`.
    """
    into = f'INSERT INTO "{table.name}" ({", ".join(map(quoted, names))}) {source}'
    if conflict == "absent":
        return f"{into} ON CONFLICT DO NOTHING"
    if conflict == "replace":
        key = [column.name for column in table.primary_key]
        changed = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in key)
        return f"{into} ON CONFLICT ({', '.join(map(quoted, key))}) DO UPDATE SET {changed}"
    return into


def quoted(name: str) -> str:
    """Write a name as SQL takes it for one whatever it means otherwise."""
    return f'"{name}"'


def _write(
    connection: Connection, table: Table, names: Names, rows: Rows, conflict: str, same: Same
) -> Callable[[], int]:
    if not rows:
        return lambda: 0
    text, further = _insertion(connection, table, names, tuple(same), conflict), tuple(same.values())
    if _is_postgresql(connection):
        # In the order of the text, where they are named before the arrays.
        return _send(connection, text, (*further, *columns_of(table, names, rows))).count
    written = connection.exec_driver_sql(text, [row + further for row in rows]).rowcount
    return lambda: written


def _send(connection: Connection, text: str, values: Sequence[Any]) -> "Answer":
    from worker.store import pipeline  # noqa: PLC0415 - it needs the driver, which is an extra

    return pipeline.send(connection, text, values)


def _insertion(connection: Connection, table: Table, names: Names, same: Names, conflict: str) -> str:
    source = _unnested(table, names, same) if _is_postgresql(connection) else _values(names + same)
    return insertion(table, names + same, source, conflict)


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


# The texts below hold names of our own tables and columns, and nothing else.


def _values(names: Names) -> str:
    return f"VALUES ({', '.join('?' for _ in names)})"


@lru_cache(maxsize=256)
def _unnested(table: Table, names: Names, same: Names = ()) -> str:
    arrays = ", ".join(f"%b::{type_of(table, name)}[]" for name in names)
    single = "".join(f", %b::{type_of(table, name)}" for name in same)
    return f"SELECT new.*{single} FROM unnest({arrays}) AS new ({', '.join(map(quoted, names))})"  # noqa: S608 - see above


@lru_cache(maxsize=256)
def _kinds(table: Table, names: Names) -> tuple[type[list[Any]], ...]:
    return tuple(_COLUMNS.get(type_of(table, name), list) for name in names)


@lru_cache(maxsize=256)
def _change_on_sqlite(table: Table, names: Names) -> str:
    key, *others = map(quoted, names)
    return f'UPDATE "{table.name}" SET {", ".join(f"{name} = ?" for name in others)} WHERE {key} = ?'  # noqa: S608 - see above


@lru_cache(maxsize=256)
def _change_on_postgresql(table: Table, names: Names) -> str:
    key, *others = map(quoted, names)
    new = f"({_unnested(table, names)}) AS new"
    values = ", ".join(f"{name} = new.{name}" for name in others)
    return f'UPDATE "{table.name}" SET {values} FROM {new} WHERE "{table.name}".{key} = new.{key}'  # noqa: S608 - see above


@lru_cache(maxsize=256)
def _on_postgresql(question: str) -> str:
    return question.replace("IN ?", "= ANY(%b::text[])")


@lru_cache(maxsize=256)
def _on_sqlite(question: str) -> str:
    return _unlocked(question).replace("IN ?", "IN (SELECT value FROM json_each(?))")


@lru_cache(maxsize=256)
def _each_on_postgresql(look: str, names: Names) -> str:
    arrays = ", ".join("%b::text[]" for _ in names)
    return f"SELECT asked.*, ({look}) FROM unnest({arrays}) AS asked ({', '.join(map(quoted, names))})"  # noqa: S608 - see above


@lru_cache(maxsize=256)
def _each_on_sqlite(look: str, names: Names) -> str:
    parts = ", ".join(f"json_extract(value, '$[{at}]') AS {quoted(name)}" for at, name in enumerate(names))
    return f"SELECT asked.*, ({_unlocked(look)}) FROM (SELECT {parts} FROM json_each(?)) AS asked"  # noqa: S608 - see above


def _unlocked(question: str) -> str:
    return re.sub(r" FOR (UPDATE|SHARE).*", "", question)
