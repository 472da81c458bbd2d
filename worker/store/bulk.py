"""Insert many rows in one statement: on PostgreSQL as arrays in binary form, on SQLite as SQLAlchemy does.

One parameter per column instead of one per value: docs/decisions/0013-psycopg-and-arrays.md has what that is worth.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Float, Integer, LargeBinary, Table
from sqlalchemy.dialects import sqlite

Rows = Sequence[Mapping[str, Any]]

_TYPES = ((LargeBinary, "bytea"), (BigInteger, "bigint"), (Integer, "integer"), (Boolean, "boolean"), (Float, "float8"))


def insert(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows; what is there already is a mistake."""
    _execute(connection, table, rows, conflict="fail")


def insert_absent(connection: Connection, table: Table, rows: Rows) -> list[Any]:
    """Insert the rows that are not there yet, by whichever key; give the last column of the key of each new one.

    No constraint is named: where two keys are made of each other, as an id of the identity it stands for, PostgreSQL
    would pass over a row only for the one that is named, and fail on the other when two processes insert it at once.
    """
    return _execute(connection, table, rows, conflict="absent")


def upsert(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows, and replace those that are there, in the order of their keys."""
    key = [column.name for column in table.primary_key]
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in key))
    _execute(connection, table, ordered, conflict="replace")


def _execute(connection: Connection, table: Table, rows: Rows, *, conflict: str) -> list[Any]:
    if not rows:
        return []
    if connection.dialect.name != "postgresql":
        return _on_sqlite(connection, table, rows, conflict)
    constants = {column.name: column.default.arg for column in table.columns if column.default is not None}  # type: ignore[attr-defined]  # ours are all plain values
    complete = constants | dict(rows[0])
    statement = _on_postgresql(table, tuple(complete), conflict)
    arrays = {name: [row.get(name, constants.get(name)) for row in rows] for name in complete}
    done = connection.exec_driver_sql(statement, arrays)
    return list(done.scalars()) if conflict == "absent" else []


def _on_sqlite(connection: Connection, table: Table, rows: Rows, conflict: str) -> list[Any]:
    statement, key = sqlite.insert(table), [column.name for column in table.primary_key]
    if conflict == "absent":
        returning = statement.on_conflict_do_nothing().returning(table.c[key[-1]])
        return list(connection.execute(returning, list(rows)).scalars())
    if conflict == "replace":
        others = {name: statement.excluded[name] for name in rows[0] if name not in key}
        statement = statement.on_conflict_do_update(index_elements=key, set_=others)
    connection.execute(statement, list(rows))
    return []


@lru_cache(maxsize=256)
def _on_postgresql(table: Table, names: tuple[str, ...], conflict: str) -> str:
    """Write the statement. Its text holds names of our own tables and columns, and nothing else."""
    arrays = ", ".join(f"%({name})b::{_type_of(table.c[name].type)}[]" for name in names)
    listed, key = ", ".join(f'"{name}"' for name in names), [column.name for column in table.primary_key]
    text = f'INSERT INTO "{table.name}" ({listed}) SELECT * FROM unnest({arrays})'  # noqa: S608 - see above
    if conflict == "absent":
        return f'{text} ON CONFLICT DO NOTHING RETURNING "{key[-1]}"'
    if conflict == "replace":
        changed = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in key)
        return f"{text} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}"
    return text


def _type_of(column: Any) -> str:
    return next((name for kind, name in _TYPES if isinstance(column, kind)), "text")
