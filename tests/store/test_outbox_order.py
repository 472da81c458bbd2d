"""Each customer's events are told in order: what waits behind a delivery, and when that lets it go.

Real: SQLite and PostgreSQL, migrated. No double.
"""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from handlers.backoff import Verdict
from tests.store.outbox_steps import DEAD, DELIVERED, FAILED, claim, due, open_outbox, settle
from tests.store.outbox_story import NOW_MS, announce, delivery_rows, event, new_store, subscribe, subscriber
from worker.store import outbox
from worker.store.engine import Store
from worker.store.tables import attempts, deliveries, events, subscribers

__all__ = ["open_outbox"]


@pytest.fixture(name="empty", scope="module")
def _empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Store]]:
    """Give one store to every example of a law, emptied each time: migrating is what takes long."""
    store = new_store(f"sqlite:///{tmp_path_factory.mktemp('order') / 'clawback.db'}")

    def empty() -> Store:
        with store.write() as connection:
            for table in (attempts, deliveries, events, subscribers):
                connection.execute(table.delete())
        return store

    yield empty
    store.close()


def test_only_the_first_of_a_customer_may_begin(store):
    """With order per_customer what is ready at once is the head of each customer's line."""
    subscribe(store, subscriber())
    told = [event(1), event(2), event(1, user="user-7"), event(None, user=None)]

    ready = announce(store, told)

    rows = delivery_rows(store)
    assert [rows[told[0].id].id, rows[told[2].id].id, rows[told[3].id].id] == ready


def test_the_first_in_line_is_found_for_each_customer_by_itself(store):
    """Of customers whose names cross with those of other apps and subscribers, each has its own first, or none."""
    here, there = subscribe(store, subscriber(), subscriber("https://b.example/", app="umbrella"))
    announce(store, [event(2), event(3), event(7, app="umbrella"), event(4, user="user-7"), event(5, user="user-7")])
    asked = [(here, "acme", "user-42"), (here, "acme", "user-7"), (there, "umbrella", "user-42")]
    with store.read() as connection:
        first = outbox.first_in_line(connection, [*asked, (here, "acme", "user-9"), (there, "umbrella", "user-7")])
        places = dict(tuple(row) for row in connection.execute(select(deliveries.c.id, deliveries.c.sequence)))
        nobody = outbox.first_in_line(connection, [])

    assert dict(zip(asked, (2, 4, 7), strict=True)) == {customer: places[id_] for customer, id_ in first.items()}
    assert {} == nobody


def test_without_order_everything_may_begin(store):
    """With order none nobody waits for anybody."""
    subscribe(store, subscriber(order="none"))

    assert 3 == len(announce(store, [event(1), event(2), event(3)]))


def test_a_delivered_event_lets_the_next_of_its_customer_go(store):
    """Success finishes the delivery and names what waited behind it."""
    (who,) = subscribe(store, subscriber())
    (first,) = claim(store, announce(store, [event(1), event(2), event(3)]))

    recorded = settle(store, first, DELIVERED, NOW_MS + 40)

    rows = delivery_rows(store)
    assert {rows[event(2).id].id: who} == recorded.following
    assert ("delivered", 1, NOW_MS + 40, 0) == (
        rows[event(1).id].status,
        rows[event(1).id].attempts,
        rows[event(1).id].finished_at_ms,
        rows[event(1).id].claimed_until_ms,
    )


def test_a_failing_event_holds_its_customer_back_and_nobody_else(store):
    """While the first waits for its next attempt, the customer's second is not due; another customer's is."""
    subscribe(store, subscriber())
    ready = announce(store, [event(1), event(2), event(1, user="user-7")])
    held = delivery_rows(store)[event(2).id].id
    (first, other) = sorted(claim(store, ready), key=lambda one: one.user_id or "")
    settle(store, first, FAILED)
    settle(store, other, FAILED)

    assert [] == due(store, NOW_MS + 4_999)
    assert [] == claim(store, [held], NOW_MS + 5_000)
    assert {first.id, other.id} == set(due(store, NOW_MS + 5_000))


def test_a_late_success_frees_what_was_put_off_with_it(store):
    """What waited behind a failing delivery goes as soon as that one is through, not at its next turn."""
    subscribe(store, subscriber())
    announce(store, [event(1), event(2)])
    (first,) = claim(store, due(store))
    settle(store, first, Verdict("failed", 72_000.0))
    later = NOW_MS + 72_000_000
    (again,) = claim(store, due(store, later), later)

    settle(store, again, DELIVERED, later)

    assert [delivery_rows(store)[event(2).id].id] == due(store, later)


def test_giving_up_frees_the_customer_too(store):
    """A dead delivery is kept as failed, and the customer's next one is told."""
    subscribe(store, subscriber())
    (first,) = claim(store, announce(store, [event(1), event(2)]))

    recorded = settle(store, first, DEAD)

    assert "failed" == delivery_rows(store)[event(1).id].status
    assert [delivery_rows(store)[event(2).id].id] == list(recorded.following)


@given(verdicts=st.lists(st.sampled_from([DELIVERED, FAILED, DEAD, None]), max_size=25), customers=st.integers(1, 3))
def test_a_customer_is_told_in_order(empty, verdicts, customers):
    """Whatever fails, dies or is forgotten, no event is attempted before all earlier ones of its customer are over."""
    store = empty()
    subscribe(store, subscriber())
    announce(store, [event(number, user=f"user-{user}") for user in range(customers) for number in (1, 2, 3)])
    now_ms = NOW_MS
    for verdict in verdicts:
        now_ms += 60_000
        for claimed in claim(store, due(store, now_ms), now_ms):
            pending = [
                row.sequence
                for row in delivery_rows(store).values()
                if row.user_id == claimed.user_id and row.status == "pending"
            ]
            assert min(pending) == claimed.sequence
            if verdict:
                settle(store, claimed, verdict, now_ms)
        with store.write() as connection:
            connection.execute(update(subscribers).values(state="enabled", reason=None))
