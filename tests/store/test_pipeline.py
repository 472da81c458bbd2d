"""What is sent to PostgreSQL without waiting is done in order, and refused as if each had been waited for.

Real: PostgreSQL and its driver, connections that it ends. Double: nothing.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import exc, func, select

from tests.store.outbox_story import new_store
from worker.store import bulk
from worker.store import tables as t
from worker.store.engine import Store, StoreUnavailable

CUSTOMER = ("app", "user_id", "sequence")
SEQUENCES = "SELECT user_id, sequence FROM customers WHERE app IN ? ORDER BY user_id"


@pytest.fixture(name="store")
def _store(emptied: str) -> Iterator[Store]:
    opened = new_store(emptied)
    yield opened
    opened.close()


def test_answers_are_those_of_the_moment_of_asking(store: Store):
    """What is asked between two writes sees the first and not the second, even if it is read after the commit."""
    with store.write() as connection:
        before = bulk.ask(connection, SEQUENCES, ["acme"])
        first = bulk.insert_absent(connection, t.customers, CUSTOMER, [("acme", "ann", 1)])
        between = bulk.ask(connection, SEQUENCES, ["acme"])
        bulk.upsert(connection, t.customers, CUSTOMER, [("acme", "ann", 2)])

    assert [] == list(before)
    assert 1 == first()
    assert [("ann", 1)] == list(between)


def test_what_sqlalchemy_writes_comes_after_what_was_sent(store: Store):
    """A statement of SQLAlchemy's own sees what was sent before it, and its answer is there when it returns."""
    with store.write() as connection:
        bulk.insert(connection, t.customers, CUSTOMER, [("acme", "ann", 1), ("acme", "bob", 1)])
        assert 2 == connection.execute(t.customers.update().values(sequence=7)).rowcount
        connection.execute(t.customers.insert(), [{"app": "zeta", "user_id": u, "sequence": 0} for u in "xy"])
        assert 4 == connection.execute(select(func.count()).select_from(t.customers)).scalar_one()


def _twice(store: Store) -> None:
    """Insert the same row two times."""
    with store.write() as connection:
        for _ in range(2):
            bulk.insert(connection, t.customers, CUSTOMER, [("acme", "ann", 1)])


def _break(store: Store) -> None:
    """Break in the middle, with what cannot be written on its way."""
    with store.write() as connection:
        for _ in range(2):
            bulk.insert(connection, t.customers, CUSTOMER, [("acme", "ann", 1)])
        raise ZeroDivisionError


def _lose(store: Store) -> None:
    """Lose the connection in the middle."""
    with store.write() as connection:
        number = connection.execute(select(func.pg_backend_pid())).scalar_one()
        with store.write() as other:
            other.execute(select(func.pg_terminate_backend(number, 5000)))
        list(bulk.ask(connection, SEQUENCES, ["acme"]))


def _lose_at_the_end(store: Store) -> None:
    """Lose the connection when all is said, and the commit is still to come."""
    with store.write() as connection:
        number = connection.execute(select(func.pg_backend_pid())).scalar_one()
        bulk.insert(connection, t.customers, CUSTOMER, [("acme", "ann", 1)])
        with store.write() as other:
            other.execute(select(func.pg_terminate_backend(number, 5000)))


def _stored(store: Store) -> list[tuple[str, int]]:
    with store.look() as connection:
        return list(bulk.ask(connection, SEQUENCES, ["acme"]))


def test_what_is_refused_last_commits_nothing(store: Store):
    """A row that the database refuses is an error of the transaction, though nobody waited for its answer."""
    with pytest.raises(exc.IntegrityError):
        _twice(store)
    assert [] == _stored(store)


def test_a_mistake_of_ours_takes_back_what_was_sent(store: Store, caplog: pytest.LogCaptureFixture):
    """Whatever breaks in the middle, nothing of the transaction stays, and the connection is as good as new."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                _break(store)
    assert [] == _stored(store)
    assert [] == caplog.messages


@pytest.mark.parametrize("lose", [_lose, _lose_at_the_end])
def test_a_connection_that_ends_in_the_middle(store: Store, lose: Callable[[Store], None]):
    """It is an outage, and the next transaction has another connection."""
    # Whoever began the transaction had dropped the connection by then: it was taken for a mistake of ours, and a set
    # that was cut off at its commit counted as a failed attempt of each of its notifications.
    with pytest.raises(StoreUnavailable):
        lose(store)
    assert [] == _stored(store)


def test_nobody_waits_for_a_transaction_to_begin(store: Store, tmp_path):
    """A transaction is waited for where its answers are read and at its end, and for its beginning never."""
    with store.look() as connection:  # the connection that is used next, too
        driver: Any = connection.connection.driver_connection
    server = driver.pgconn
    with (tmp_path / "said").open("w+") as said:
        server.trace(said.fileno())
        with store.write() as connection:
            bulk.insert(connection, t.customers, CUSTOMER, [("acme", "ann", 1)])
        server.untrace()
        said.seek(0)
        waits = [line for line in said if "\tSync" in line]

    assert 1 == len(waits)
    assert [("ann", 1)] == _stored(store)
