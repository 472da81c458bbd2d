"""Fill a PostgreSQL with as many ledger rows as wanted, by multiplying within the server what the real code wrote.

Some lineages are made by the real code. Each copy of one has ids of its own, as random as ours and the same in every
table; documents and bodies are cut short, so that ten million rows fit on a disk. Indexes are dropped before and made
again after, and PostgreSQL keeps no log of it: filling takes minutes, and what is measured is not how it was filled.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

SETTINGS = (
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=8GB",
    "checkpoint_timeout=1h",
    "maintenance_work_mem=1GB",
    "max_parallel_maintenance_workers=2",
)
SHORT = 160
IDS: Mapping[str, Sequence[str]] = {
    "lineages": ("id",),
    "customers": ("user_id",),
    "entitlements": ("user_id",),
    "refunds": ("id", "lineage", "charge_id", "user_id", "platform_refund_id"),
    "purchases": ("id", "lineage", "purchase_id", "original_purchase_id", "user_id"),
    "refs": ("ref", "lineage", "purchase"),
    "entries": ("id", "lineage", "notification"),
    "events": ("id", "user_id", "notification"),
    "deliveries": ("id", "event_id", "user_id"),
    "notifications": ("id", "notification_id"),
}
"""Table → the columns that hold an id. Every copy has another, and the same text becomes the same id everywhere."""
CUT = {"entries": "document", "events": "document", "notifications": "body"}
NUMBERED = {"events": "position"}


def fill(connect: Callable[[], Any], ledger_rows: int, say: Callable[[str], None]) -> None:
    """Multiply what is there until the ledger has about so many entries.

    Args:
        connect: opens a connection of psycopg's, in autocommit, to a database in which some lineages were processed.
        ledger_rows: how many entries are wanted.
        say: is told how far it is.
    """

    def one(table: str) -> None:
        with connect() as connection:
            _multiply(connection, table, copies)
        say(f"{table}: {copies:,} copies")

    with connect() as connection:
        (seeds,) = connection.execute("SELECT count(*) FROM entries").fetchone()
        copies = max(0, ledger_rows // seeds - 1)
        if copies:
            # Two tables at a time: the one sorts an index while the other writes.
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(one, IDS))
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _multiply(connection: Any, table: str, copies: int) -> None:
    undo = _without_indexes(connection, table)
    with connection.transaction():
        connection.execute(f"CREATE TEMP TABLE seed ON COMMIT DROP AS SELECT * FROM {table}")  # noqa: S608 - our own names
        # A table that was emptied in this transaction needs no log under wal_level=minimal.
        connection.execute(f"TRUNCATE {table}")
        connection.execute(f"INSERT INTO {table} SELECT * FROM seed")  # noqa: S608 - our own names
        connection.execute(_copying(table, _columns(connection, table)), {"copies": copies})
    for statement in undo:
        connection.execute(statement)


def _copying(table: str, columns: Sequence[str]) -> str:
    """Write the statement that adds the copies."""
    names = [name for name in columns if name != NUMBERED.get(table)]
    values = [_value(table, name) for name in names]
    return (
        f"INSERT INTO {table} ({', '.join(map(_quoted, names))}) SELECT {', '.join(values)} "  # noqa: S608 - our own names
        "FROM generate_series(1, %(copies)s) AS copy, seed"
    )


def _value(table: str, name: str) -> str:
    column = f"seed.{_quoted(name)}"
    if name in IDS[table]:
        # As many characters as one of ours, as evenly spread, and with the same beginning.
        return f"left({column}, 4) || left(md5({column} || copy), 24)"
    if name == CUT.get(table):
        return f"substr({column}, 1, {SHORT})"
    return column


def _without_indexes(connection: Any, table: str) -> list[str]:
    """Drop keys and indexes; give the statements that make them again."""
    keys = connection.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'n'",
        (table,),
    ).fetchall()
    for name, _ in keys:
        connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    others = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = %s", (table,)
    ).fetchall()
    for name, _ in others:
        connection.execute(f'DROP INDEX "{name}"')
    made = [f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}' for name, definition in keys]
    return [*made, *(definition for _, definition in others)]


def _columns(connection: Any, table: str) -> list[str]:
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position", (table,)
    )
    return [name for (name,) in found.fetchall()]


def _quoted(name: str) -> str:
    return f'"{name}"'
