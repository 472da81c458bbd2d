"""A connection that is kept while one transaction follows the other, and who has it in between.

Real: SQLite files, PostgreSQL. Double: nothing.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import QueuePool, exc, insert, select

from config.settings import Store as Choices
from tests.clusters import Cluster
from worker.store.engine import Store, StoreUnavailable
from worker.store.kept import Kept
from worker.store.tables import locks, metadata

END = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


@pytest.fixture(name="store")
def _store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url, Choices(connections=2))
    metadata.create_all(opened.engine)
    yield opened
    opened.close()


def add(store: Store, kept: Kept, name: str) -> None:
    """Write one row over the kept connection."""
    with store.write_in_a_row(kept) as connection:
        connection.execute(insert(locks).values(name=name, holder="door", until_ms=1))


def names(store: Store) -> set[str]:
    """Read what others see."""
    with store.read() as connection:
        return set(connection.execute(select(locks.c.name)).scalars())


def out(store: Store) -> int:
    """Count the connections that are not in the pool."""
    pool = store.engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


def test_it_is_kept_as_long_as_there_is_more(store: Store):
    """Each transaction is committed by itself; the last one gives the connection back."""
    more = [True, True, False]
    kept = store.keep(lambda: more.pop(0))
    seen = []
    for name in ("first", "second", "third"):
        add(store, kept, name)
        seen.append((out(store), len(names(store))))

    assert [(1, 1), (1, 2), (0, 3)] == seen


def test_an_error_gives_it_back(store: Store):
    """What was refused is not stored, and leaves nothing behind for the next one."""
    ahead = ["first", "first", "second"]
    kept = store.keep(lambda: bool(ahead))
    add(store, kept, "first")
    with pytest.raises(exc.IntegrityError):
        add(store, kept, "first")
    assert 0 == out(store)

    ahead.clear()
    add(store, kept, "second")

    assert {"first", "second"} == names(store)


def test_the_last_connection_is_nobodys_own(postgresql: Cluster, emptied: str):
    """Where everybody shares one connection, it is given back each time, however much there is to do."""
    store = Store(emptied, Choices(connections=1, wait_timeout_seconds=1))
    kept = store.keep(lambda: True)

    add(store, kept, "first")

    assert {"first"} == names(store)
    store.close()


def test_one_that_died_meanwhile_costs_nothing(postgresql: Cluster, emptied: str):
    """A server that ended the kept connection is asked for another; one that dies in use is an outage, once."""
    store = Store(emptied)
    database = emptied.rpartition("/")[2]
    ahead = ["second", "lost", "third"]
    kept = store.keep(lambda: bool(ahead))
    add(store, kept, "first")
    with postgresql.connect() as connection:
        connection.execute(END, [database])
    add(store, kept, "second")

    with pytest.raises(StoreUnavailable):
        _write_and_lose(store, kept, postgresql, database)
    ahead.clear()
    add(store, kept, "third")

    assert {"first", "second", "third"} == names(store)
    store.close()


def _write_and_lose(store: Store, kept: Kept, postgresql: Cluster, database: str) -> None:
    with store.write_in_a_row(kept) as held:
        with postgresql.connect() as connection:
            connection.execute(END, [database])
        held.execute(insert(locks).values(name="lost", holder="door", until_ms=1))


def test_one_that_rested_is_not_trusted(store: Store):
    """Where a connection may have died without a word, it is replaced before it is used."""
    asked: list[float] = []

    def doubted(_connection: object, rested_seconds: float) -> bool:
        asked.append(rested_seconds)
        return True

    ahead = ["second"]
    kept = Kept(store.engine.connect, doubted, lambda: bool(ahead))
    with kept as first:
        was = first.connection.driver_connection
    ahead.clear()
    with kept as second:
        assert was is not second.connection.driver_connection

    assert 1 == len(asked)
    assert 0 <= asked[0]
    assert 0 == out(store)
