"""Measure the store's own statements through psycopg and through asyncpg, in turns, on a PostgreSQL of our own.

    .venv/bin/python -m pip install asyncpg greenlet && .venv/bin/python -m tests.benchmarks.drivers

Real: the server with its fsync, TCP on loopback, the functions of `worker/store`. asyncpg is driven as a thread would
have to: an event loop of its own, SQLAlchemy's greenlets around the same functions. "raw" is the driver alone with one
`unnest` per group, to see what SQLAlchemy adds. Figures are of one client; the server shares its cores.
"""

import asyncio
import importlib
import os
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from schemas.entry import Entry
from tests.clusters import Cluster
from tests.handlers.entries import NOW_MS, acme, bought
from worker.commit import Bookkeeper
from worker.store import inbox, ledger, migrate
from worker.store.engine import Store
from worker.store.tables import notifications

GROUP, SET, ROUNDS, SECONDS = 64, 50, 5, 1.0
BODY = os.urandom(4082)
COLUMNS = {
    "id": "text", "app": "text", "platform": "text", "environment": "text", "scope": "text", "notification_id": "text",
    "type": "text", "subtype": "text", "occurred_at_ms": "bigint", "received_at_ms": "bigint", "body": "bytea",
    "headers": "text", "status": "text", "attempts": "int", "retry_at_ms": "bigint", "stations": "text",
}  # fmt: skip
Work = Callable[[Connection], object]


def group(size: int = GROUP) -> list[dict[str, Any]]:
    """Make what arrived together."""
    names = [uuid.uuid4().hex for _ in range(size)]
    return [
        {
            "id": f"ntf_{name}", "app": "acme", "platform": "stripe", "environment": "production", "scope": "",
            "notification_id": f"evt_{name}", "type": "charge.refunded", "subtype": "", "occurred_at_ms": NOW_MS,
            "received_at_ms": NOW_MS, "body": BODY, "headers": "{}", "status": "accepted", "attempts": 0,
            "retry_at_ms": NOW_MS, "stations": "{}",
        }
        for name in names
    ]  # fmt: skip


def a_set() -> list[Entry]:
    """Make fifty purchases of fifty customers."""
    names = [uuid.uuid4().hex for _ in range(SET)]
    return [bought(0, f"ch_{name}", user_id=f"user-{name}") for name in names]


def insert(connection: Connection) -> None:
    """Accept one group."""
    inbox.insert_absent(connection, group())


def insert_one(connection: Connection) -> None:
    """Accept one notification."""
    inbox.insert_absent(connection, group(1))


def insert_one_by_core(connection: Connection) -> None:
    """Accept one notification as SQLAlchemy would."""
    connection.execute(postgresql.insert(notifications).on_conflict_do_nothing(), group(1))


def load_and_write(connection: Connection) -> None:
    """Process one set."""
    entries = a_set()
    keeper = Bookkeeper(connection, entries, now_ms=NOW_MS)
    for each in entries:
        keeper.tell([each], acme())
    keeper.write()


def loading(known: list[Entry]) -> Work:
    """Load the book of a set that is there."""
    return lambda connection: ledger.lock_book(connection, known)


def by_psycopg(store: Store) -> Callable[[Work], None]:
    """Run work as the product does."""

    def run(work: Work) -> None:
        with store.write() as connection:
            work(connection)

    return run


def by_asyncpg(engine: AsyncEngine, loop: asyncio.AbstractEventLoop) -> Callable[[Work], None]:
    """Run the same work through asyncpg, from a thread with a loop of its own."""

    async def transaction(work: Work) -> None:
        async with engine.begin() as connection:
            await connection.run_sync(work)

    return lambda work: loop.run_until_complete(transaction(work))


def raw_psycopg(url: str, form: str) -> Callable[[], None]:
    """Insert a group without SQLAlchemy."""
    connection = psycopg.connect(url)
    arrays = ", ".join(f"%({name}){form}::{kind}[]" for name, kind in COLUMNS.items())
    text = f"insert into notifications ({', '.join(COLUMNS)}) select * from unnest({arrays}) on conflict do nothing"  # noqa: S608 - constants

    def run() -> None:
        rows = group()
        connection.execute(text, {name: [row[name] for row in rows] for name in COLUMNS})
        connection.commit()

    return run


def raw_asyncpg(url: str, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Insert a group without SQLAlchemy."""
    asyncpg: Any = importlib.import_module("asyncpg")  # only this benchmark knows it

    connection = loop.run_until_complete(asyncpg.connect(url))
    arrays = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(COLUMNS.values(), 1))
    text = f"insert into notifications ({', '.join(COLUMNS)}) select * from unnest({arrays}) on conflict do nothing"  # noqa: S608 - constants

    def run() -> None:
        rows = group()
        loop.run_until_complete(connection.execute(text, *([row[name] for row in rows] for name in COLUMNS)))

    return run


def rate(run: Callable[[], object]) -> float:
    """Count how often it can be done in a second."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        run()
        count += 1
    return count / (time.perf_counter() - began)


def main() -> None:
    """Print one table: what, how many a second by each driver, and the ratio."""
    cluster = Cluster.create()
    try:
        url, loop = cluster.url(cluster.new()), asyncio.new_event_loop()
        store = Store(url)
        migrate.upgrade(store)
        psycopg_, asyncpg_ = (
            by_psycopg(store),
            by_asyncpg(create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:")), loop),
        )
        known = a_set()
        psycopg_(lambda connection: _enter(connection, known))
        load = loading(known)
        raw = raw_asyncpg(url, loop)
        cases: dict[str, tuple[int, Callable[[], object], Callable[[], object]]] = {
            f"group of {GROUP}, arrays as text": (GROUP, raw_psycopg(url, "s"), raw),
            f"group of {GROUP}, binary arrays": (GROUP, raw_psycopg(url, "b"), raw),
            f"group of {GROUP}, by the store": (GROUP, lambda: psycopg_(insert), raw),
            "one, by the store": (1, lambda: psycopg_(insert_one), lambda: asyncpg_(insert_one_by_core)),
            f"load the book of {SET}": (SET, lambda: psycopg_(load), lambda: asyncpg_(load)),
        }
        print(f"{'rows a second, medians of ' + str(ROUNDS):<34}{'psycopg':>10}{'asyncpg':>10}{'ratio':>8}")  # noqa: T201 - it is a report
        for name, (rows, first, second) in cases.items():
            turns = [(rate(first), rate(second)) for _ in range(ROUNDS)]
            one, other = (statistics.median(turn[side] for turn in turns) * rows for side in (0, 1))
            print(f"{name:<34}{one:>10,.0f}{other:>10,.0f}{one / other:>8.2f}")  # noqa: T201 - it is a report
        whole = statistics.median(rate(lambda: psycopg_(load_and_write)) for _ in range(ROUNDS)) * SET
        print(f"{f'load, decide, write {SET}':<34}{whole:>10,.0f}")  # noqa: T201 - it is a report
    finally:
        cluster.remove()


def _enter(connection: Connection, entries: list[Entry]) -> None:
    keeper = Bookkeeper(connection, entries, now_ms=NOW_MS)
    for each in entries:
        keeper.tell([each], acme())
    keeper.write()


if __name__ == "__main__":
    main()
