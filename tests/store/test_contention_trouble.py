"""Transactions that wait in a circle, in vain or for too long are done again, or end as an outage.

Real: PostgreSQL, one connection per thread. Double: the queue, which is a list, and the clock, which stands.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, insert, select, update

from config.settings import Store as Choices
from tests.handlers.entries import bought
from tests.store.contention import WAITING_SECONDS_MAX, open_many, open_on_postgresql, say, waits
from tests.worker.desk import Desk, arrival
from worker.inbox import Inbox
from worker.store import inbox, tables
from worker.store.engine import Contended, Store, StoreUnavailable

__all__ = ["open_many", "open_on_postgresql"]


def test_two_that_take_in_the_same_in_another_order(at: Desk, others: ThreadPoolExecutor):
    """Two that are told the same, each in an order of its own, wait for each other and never in a circle."""
    rows = {each.id: Inbox(at.store, at.queue)._row(each) for each in map(arrival, range(3))}
    first, middle, last = sorted(rows)

    def take_in(ids: tuple[str, ...]) -> set[str]:
        with at.store.write_in_a_row(at.store.keep(lambda: False)) as connection:
            return set(inbox.insert_absent(connection, [rows[each] for each in ids]))

    with at.store.write() as holder:
        list(inbox.insert_absent(holder, [rows[middle]]))
        taking = [others.submit(take_in, order) for order in ((last, middle, first), (first, middle, last))]
        assert waits(at, count=2)
    new = [each.result(WAITING_SECONDS_MAX) for each in taking]

    assert {first, last} == new[0] | new[1]
    assert not new[0] & new[1]


def test_a_deadlock_is_done_again(at: Desk, others: ThreadPoolExecutor):
    """Two that wait for each other in a circle: the server breaks one off, and that one is done again."""
    with at.store.write() as connection:
        connection.execute(insert(tables.locks), [{"name": name, "holder": "", "until_ms": 0} for name in ("a", "b")])
    both, tries = threading.Barrier(2), list[str]()

    def cross(first: str, second: str) -> None:
        def change(connection: Connection) -> None:
            tries.append(first)
            for name in (first, second):
                counted = update(tables.locks).where(tables.locks.c.name == name)
                connection.execute(counted.values(until_ms=tables.locks.c.until_ms + 1))
                if len(tries) <= 2 and name == first:
                    both.wait(WAITING_SECONDS_MAX)

        at.store.change(change)

    crossing: list[Future[None]] = [others.submit(cross, *names) for names in (("a", "b"), ("b", "a"))]
    for each in crossing:
        each.result(WAITING_SECONDS_MAX)

    assert 3 == len(tries)
    assert [2, 2] == [row["until_ms"] for row in at.rows(tables.locks)]


def test_whoever_never_gets_through_is_told_so(at: Desk):
    """Work that is in somebody's way each time ends as an outage: nothing is stored, and it is tried again later."""
    tries: list[int] = []

    def never(connection: Connection) -> None:
        connection.execute(insert(tables.locks).values(name="a", holder="", until_ms=0))
        tries.append(1)
        raise Contended("locks")

    with pytest.raises(StoreUnavailable):
        at.store.change(never)

    assert (8, []) == (len(tries), at.rows(tables.locks))


def test_a_lock_is_not_waited_for_for_ever(emptied: str, at: Desk):
    """Whoever waits for longer than configured is told that the store is unavailable."""
    hurried = Store(emptied, Choices(wait_timeout_seconds=0.05))
    say(at, [bought(0)])
    with at.store.write() as connection:
        connection.execute(select(tables.lineages).with_for_update())
        with pytest.raises(StoreUnavailable, match="LockNotAvailable"), hurried.write() as second:
            second.execute(select(tables.lineages).with_for_update())
    hurried.close()
