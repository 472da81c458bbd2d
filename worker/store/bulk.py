"""Insert, change and find many rows in one statement: on PostgreSQL by arrays in binary form.

One parameter per column instead of one per value: docs/decisions/0013-psycopg-and-arrays.md has what that is worth. The
text of a statement is then the same for any number of rows, so that it is written, planned and prepared once. SQLite
gets its rows from its driver, one after the other, and is spared what SQLAlchemy would do to each of them.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Table,
    Text,
    any_,
    func,
    literal,
    select,
    tuple_,
)
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


def change(connection: Connection, table: Table, rows: Rows) -> None:
    """Change rows that are there, named by their keys, which are text; all rows give the same columns."""
    if not rows:
        return
    names = tuple(rows[0])
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_change_on_postgresql(table, names), _arrays(rows, names))
    else:
        connection.exec_driver_sql(_change_on_sqlite(table, names), [dict(row) for row in rows])


def among(connection: Connection, column: Column[Any], values: Collection[str]) -> ColumnElement[bool]:
    """Ask for the rows whose text is one of these."""
    if connection.dialect.name != "postgresql":
        return column.in_(sorted(values))
    return column == any_(literal(sorted(values), ARRAY(Text)))


def among_pairs(
    connection: Connection, columns: tuple[Column[Any], Column[Any]], pairs: Collection[tuple[str, str]]
) -> ColumnElement[bool]:
    """Ask for the rows whose two texts are one of these pairs."""
    if connection.dialect.name != "postgresql":
        return tuple_(*columns).in_(sorted(pairs))
    firsts, seconds = (literal(list(side), ARRAY(Text)) for side in zip(*sorted(pairs), strict=True))
    wanted = func.unnest(firsts, seconds).table_valued("first", "second").render_derived()
    return tuple_(*columns).in_(select(wanted.c.first, wanted.c.second))


def _execute(connection: Connection, table: Table, rows: Rows, *, conflict: str) -> list[Any]:
    if not rows:
        return []
    if conflict == "absent" and connection.dialect.name != "postgresql":
        return _new_on_sqlite(connection, table, rows)
    constants = {column.name: column.default.arg for column in table.columns if column.default is not None}  # type: ignore[attr-defined]  # ours are all plain values
    complete = tuple(constants | dict(rows[0]))
    if connection.dialect.name != "postgresql":
        connection.exec_driver_sql(_on_sqlite(table, complete, conflict), [constants | dict(row) for row in rows])
        return []
    done = connection.exec_driver_sql(_on_postgresql(table, complete, conflict), _arrays(rows, complete, constants))
    return list(done.scalars()) if conflict == "absent" else []


def _arrays(rows: Rows, names: Sequence[str], constants: Mapping[str, Any] | None = None) -> dict[str, list[Any]]:
    """Turn rows into columns."""
    missing = constants or {}
    return {name: [row.get(name, missing.get(name)) for row in rows] for name in names}


def _new_on_sqlite(connection: Connection, table: Table, rows: Rows) -> list[Any]:
    *_, key = table.primary_key
    statement = sqlite.insert(table).on_conflict_do_nothing().returning(key)
    return list(connection.execute(statement, list(rows)).scalars())


# The texts below hold names of our own tables and columns, and nothing else.


@lru_cache(maxsize=256)
def _on_sqlite(table: Table, names: tuple[str, ...], conflict: str) -> str:
    values = ", ".join(f":{name}" for name in names)
    return f"{_insert(table, names)} VALUES ({values}) {_on_conflict(table, names, conflict)}"


@lru_cache(maxsize=256)
def _on_postgresql(table: Table, names: tuple[str, ...], conflict: str) -> str:
    rows = f"SELECT * FROM unnest({_unnested(table, names)})"  # noqa: S608 - see above
    return f"{_insert(table, names)} {rows} {_on_conflict(table, names, conflict)}"


@lru_cache(maxsize=256)
def _change_on_sqlite(table: Table, names: tuple[str, ...]) -> str:
    key = [column.name for column in table.primary_key]
    values = ", ".join(f'"{name}" = :{name}' for name in names if name not in key)
    return f'UPDATE "{table.name}" SET {values} WHERE ' + " AND ".join(f'"{name}" = :{name}' for name in key)  # noqa: S608 - see above


@lru_cache(maxsize=256)
def _change_on_postgresql(table: Table, names: tuple[str, ...]) -> str:
    key = [column.name for column in table.primary_key]
    values = ", ".join(f'"{name}" = new."{name}"' for name in names if name not in key)
    new = f"unnest({_unnested(table, names)}) AS new ({', '.join(map(_quoted, names))})"
    same = " AND ".join(f'"{table.name}"."{name}" = new."{name}"' for name in key)
    return f'UPDATE "{table.name}" SET {values} FROM {new} WHERE {same}'  # noqa: S608 - see above


def _insert(table: Table, names: Sequence[str]) -> str:
    return f'INSERT INTO "{table.name}" ({", ".join(map(_quoted, names))})'


def _unnested(table: Table, names: Sequence[str]) -> str:
    return ", ".join(f"%({name})b::{_type_of(table.c[name].type)}[]" for name in names)


def _on_conflict(table: Table, names: Sequence[str], conflict: str) -> str:
    key = [column.name for column in table.primary_key]
    if conflict == "absent":
        return f'ON CONFLICT DO NOTHING RETURNING "{key[-1]}"'
    if conflict == "replace":
        changed = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in key)
        return f"ON CONFLICT ({', '.join(map(_quoted, key))}) DO UPDATE SET {changed}"
    return ""


def _quoted(name: str) -> str:
    return f'"{name}"'


def _type_of(column: Any) -> str:
    return next((name for kind, name in _TYPES if isinstance(column, kind)), "text")
