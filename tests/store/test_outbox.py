"""The outbox: who is told of what happened, and what of it is found to be due.

Real: SQLite and PostgreSQL, migrated. No double.
"""

from sqlalchemy import event as watch
from sqlalchemy import select, update

from tests.store.outbox_steps import DELIVERED, claim, due, open_outbox, settle
from tests.store.outbox_story import NOW_MS, announce, delivery_rows, enqueue, event, subscribe, subscriber
from worker.store import outbox
from worker.store.tables import deliveries

__all__ = ["open_outbox"]


def test_each_event_gets_one_delivery_per_subscriber_that_asked(store):
    """Apps, types and state decide who is told; everyone else is not."""
    wanted, *_others = subscribe(
        store,
        subscriber("https://a.example/", types=("entitlement.*",)),
        subscriber("https://b.example/", types=("refund.*",)),
        subscriber("https://c.example/", app="umbrella"),
    )

    announce(store, [event(1)])

    with store.read() as connection:
        assert [(event(1).id, wanted)] == [
            (row.event_id, row.subscriber) for row in connection.execute(select(deliveries))
        ]


def test_nobody_listening_is_no_error(store):
    """Without subscribers, without matches and without events nothing is put into the outbox."""
    assert [] == announce(store, [event(1)])
    subscribe(store, subscriber(types=("chargeback.*",)))
    assert [] == announce(store, [event(2)])
    with store.write() as connection:
        assert [] == enqueue(connection, [], NOW_MS)


def test_enqueueing_again_changes_nothing(store):
    """The same event to the same subscriber is one delivery, whoever enqueues it how often."""
    subscribe(store, subscriber())
    first = announce(store, [event(1)])
    with store.write() as connection:
        again = enqueue(connection, [event(1)], NOW_MS + 5000)

    assert first == again
    assert [NOW_MS] == [row.created_at_ms for row in delivery_rows(store).values()]


def test_the_number_of_statements_does_not_grow_with_the_set(store):
    """Two hundred events cost as many round trips as two."""
    subscribe(store, subscriber(), subscriber("https://b.example/"))
    counts = []
    for start, size in ((0, 2), (1000, 200)):
        told = [event(1, user=f"user-{start + number}") for number in range(size)]
        statements: list[str] = []
        note = lambda _c, _cursor, statement, *_rest, seen=statements: seen.append(statement)  # noqa: E731 - a probe
        watch.listen(store.engine, "before_cursor_execute", note)
        with store.write() as connection:
            enqueue(connection, told, NOW_MS)
        watch.remove(store.engine, "before_cursor_execute", note)
        unasked = ("BEGIN", "SELECT set_config")  # sent along with what follows, and waited for by nobody
        counts.append(len([statement for statement in statements if not statement.startswith(unasked)]))

    assert [3, 3] == counts


def test_a_dead_subscribers_backlog_hides_nobody(store):
    """However much waits for one subscriber, the due list has room for the others."""
    dead, alive = subscribe(store, subscriber("https://dead.example/", order="none"), subscriber("https://b.example/"))
    announce(store, [event(number) for number in range(1, 51)])
    with store.write() as connection:
        connection.execute(
            update(deliveries).where(deliveries.c.subscriber == dead).values(next_attempt_ms=NOW_MS - 10**6)
        )

    with store.read() as connection:
        owners = outbox.owners(connection, due(store, limit=10))

    assert alive in owners.values()
    assert 10 >= len(owners)


def test_more_subscribers_than_places_take_turns(store):
    """Where more subscribers wait than one round has places, each is found in some round, as none is always last."""
    # In each round the same ones were beyond the limit, and nothing that hints had lost was ever told them.
    every = set(subscribe(store, *(subscriber(f"https://{name}.example/") for name in "abcdefg")))
    announce(store, [event(1)])
    seen: set[str] = set()
    for _ in range(200):
        with store.read() as connection:
            found = due(store, limit=3)
            seen |= set(outbox.owners(connection, found).values())
        assert 3 == len(found)

    assert every == seen


def test_owners_names_only_what_is_unfinished(store):
    """A hint at something finished or unknown leads nowhere."""
    (who,) = subscribe(store, subscriber())
    (first,) = announce(store, [event(1), event(2)])
    second = delivery_rows(store)[event(2).id].id
    settle(store, claim(store, [first])[0], DELIVERED)

    with store.read() as connection:
        assert {second: who} == outbox.owners(connection, [first, second, "dlv_unknown"])
