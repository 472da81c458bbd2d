"""Customers are found and locked one by one, whoever else there is.

Real: SQLite files, PostgreSQL, its statistics. Double: nothing.
"""

import threading
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import Connection, insert, text

from worker.store import customers, migrate
from worker.store.customers import Customer
from worker.store.engine import Store
from worker.store.tables import customers as table

ANNA, BERT, NOBODY = ("acme", "anna"), ("acme", "bert"), ("acme", "nobody")
A_SET = [("acme", f"user-{number}") for number in range(1, 129)]
GROW = "INSERT INTO customers (app, user_id, sequence) SELECT 'acme', 'user-' || n, n FROM generate_series({}, {}) AS n"
READ = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'pk_customers'"


@pytest.fixture(name="store")
def _store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    migrate.upgrade(opened)
    yield opened
    opened.close()


def begin(store: Store, *told: tuple[Customer, int]) -> None:
    """Let these have been told so many events."""
    with store.write() as connection:
        connection.execute(
            insert(table), [{"app": app, "user_id": name, "sequence": count} for (app, name), count in told]
        )


def counts(connection: Connection, wanted: Sequence[Customer]) -> list[tuple[str, str, int | None]]:
    """Ask, and lock what is there."""
    return [(app, name, count) for app, name, count in customers.ask_counts(connection, wanted, " FOR UPDATE")]


def test_each_has_its_own_count(store: Store):
    """The same user of another app is another customer, and who was told nothing has no count."""
    begin(store, (ANNA, 3), (BERT, 1), (("other", "anna"), 7))
    with store.write() as connection:
        assert [] == counts(connection, [])
        assert [(*ANNA, 3), (*NOBODY, None), ("other", "anna", 7)] == counts(
            connection, [("other", "anna"), NOBODY, ANNA]
        )


def test_what_was_counted_while_it_waited_is_seen(new_database: str):
    """Who waits for a customer has the count that was committed meanwhile, and not the one it had seen."""
    store = Store(new_database)
    migrate.upgrade(store)
    begin(store, (ANNA, 3))
    holding, found = threading.Event(), []

    def wait() -> None:
        holding.wait(10)
        with store.write() as connection:
            found.extend(counts(connection, [ANNA]))

    waiting = threading.Thread(target=wait)
    waiting.start()
    with store.write() as connection:
        assert [(*ANNA, 3)] == counts(connection, [ANNA])
        holding.set()
        connection.execute(table.update().values(sequence=4))
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(10)
    store.close()

    assert [(*ANNA, 4)] == found


def test_who_is_held_by_one_can_be_held_by_another(new_database: str):
    """Deliveries that end hold their customers together, against whoever wants to tell them more."""
    store = Store(new_database)
    migrate.upgrade(store)
    begin(store, (ANNA, 3))
    with store.write() as one, store.write() as other:
        customers.hold(one, [ANNA])
        customers.hold(other, [ANNA, NOBODY])
        locked = other.execute(text("SELECT user_id FROM customers FOR UPDATE SKIP LOCKED"))
        assert [] == locked.all()
    store.close()


def test_a_set_is_found_by_name_however_many_came_since(new_database: str):
    """What was planned for a few hundred customers reads no more of twenty thousand, before anybody counted them."""
    # All of an app's customers were walked through for each set: from 0.2 ms of PostgreSQL's time for a refund to 0.9
    # after 40,000 customers, until autovacuum had counted them.
    store = Store(new_database)
    migrate.upgrade(store)
    for first, last in ((1, 300), (301, 20_000)):
        with store.write() as connection:
            connection.execute(text(GROW.format(first, last)))
        for _ in range(12):
            with store.write() as connection:
                assert len(A_SET) == len(counts(connection, A_SET))
    with store.write() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    with store.read() as connection:
        read = connection.execute(text(READ)).scalar_one()
    store.close()

    assert 24 * len(A_SET) <= read < 24 * len(A_SET) * 2
