"""What is sent to PostgreSQL without waiting is done in order, and refused as if each had been waited for.

Real: PostgreSQL and its driver, connections that it ends. Double: nothing.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, exc, func, select

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


def _waits(store: Store, said: Path, work: Callable[[Connection], object]) -> int:
    """Count how often a transaction asks for all answers."""
    with store.look() as connection:  # the connection that is used next, too
        driver: Any = connection.connection.driver_connection
    with said.open("w+") as trace:
        driver.pgconn.trace(trace.fileno())
        with store.write() as connection:
            work(connection)
        driver.pgconn.untrace()
        trace.seek(0)
        return sum("\tSync" in line for line in trace)


def test_nobody_waits_for_a_transaction_to_begin(store: Store, tmp_path: Path):
    """A transaction is waited for where its answers are read and at its end, and for its beginning never."""

    def insert(connection: Connection) -> None:
        bulk.insert(connection, t.customers, CUSTOMER, [("acme", "ann", 1)])

    assert 1 == _waits(store, tmp_path / "said", insert)
    assert [("ann", 1)] == _stored(store)


def test_nobody_waits_for_what_sqlalchemy_begins_with(store: Store, tmp_path: Path):
    """A transaction that begins with a statement of SQLAlchemy's own waits for that, and for its end."""

    def insert(connection: Connection) -> None:
        connection.execute(t.customers.insert().values(app="acme", user_id="ann", sequence=1))

    assert 2 == _waits(store, tmp_path / "said", insert)
    assert [("ann", 1)] == _stored(store)


def test_a_transaction_that_says_nothing_asks_nothing(store: Store, tmp_path: Path):
    """Whoever finds nothing to do costs no round trip."""
    assert 0 == _waits(store, tmp_path / "said", lambda _connection: None)


def test_more_than_fits_on_the_way_is_sent_and_answered(store: Store):
    """Two that wait for each other to read would wait for ever: what is answered meanwhile is taken in."""
    long = "x" * 10_000
    with store.write() as connection:
        asked = [bulk.ask(connection, "SELECT one FROM (VALUES (1)) AS t (one) WHERE 'y' IN ?", [long, "y"])]
        said = [bulk.ask(connection, "SELECT repeat('z', 10000) WHERE 'y' IN ?", [long, "y"]) for _ in range(2_000)]
        assert 20_000_000 == sum(len(text) for answer in said for (text,) in answer)

    assert [[(1,)]] == [list(answer) for answer in asked]


def _ask_what_is_not_there(store: Store) -> None:
    with store.write() as connection:
        asked = bulk.ask(connection, "SELECT * FROM no_such_table WHERE app IN ?", ["acme"])
        bulk.ask(connection, SEQUENCES, ["acme"])
        list(asked)


def test_a_refused_statement_is_not_taken_for_prepared(store: Store):
    """What the server never came to prepare is prepared when it is said again, on the same connection."""
    for _ in range(2):
        with pytest.raises(exc.ProgrammingError, match="no_such_table"):
            _ask_what_is_not_there(store)
    assert [] == _stored(store)


def test_what_a_server_forgot_is_prepared_again(store: Store):
    """Somebody between us and the server had it forget its prepared statements: the transaction is done again."""

    def insert(connection: Connection) -> int:
        return bulk.insert_absent(connection, t.customers, CUSTOMER, [("acme", "ann", 1)])()

    _stored(store)
    store.change(insert)
    with store.look() as connection:
        connection.exec_driver_sql("DEALLOCATE ALL")
    assert 0 == store.change(insert)
    assert [("ann", 1)] == _stored(store)


def test_values_come_back_as_they_were_given(store: Store):
    """Bytes, texts of any letters, large numbers and nothing at all."""
    question = "SELECT body, headers, received_at_ms, finished_at_ms FROM notifications WHERE id IN ?"
    given = (b"\x00\xff\\", "\N{SNOWMAN} '\"%b", 2**62, None)
    row: dict[str, Any] = dict.fromkeys(
        ("id", "app", "platform", "scope", "notification_id", "type", "subtype", "stations"), "x"
    )
    row |= {"status": "accepted", "attempts": 0, "retry_at_ms": 0, "occurred_at_ms": 0}
    row |= dict(zip(("body", "headers", "received_at_ms", "finished_at_ms"), given, strict=True))
    with store.write() as connection:
        bulk.insert(connection, t.notifications, tuple(row), [tuple(row.values())])
        assert [given] == list(bulk.ask(connection, question, ["x"]))
