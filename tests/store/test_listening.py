"""Deliveries that are born claimed: who decided tells, and nobody else does meanwhile.

Real: SQLite and PostgreSQL, migrated. No double.
"""

from collections.abc import Sequence

import pytest
from sqlalchemy import select, update

from schemas.resources import Event
from tests.store.outbox_steps import open_outbox
from tests.store.outbox_story import NOW_MS, announce, delivery_rows, event, row_of, subscribe, subscriber
from worker.store import listening, outbox
from worker.store.engine import Store
from worker.store.listening import Listener, Queued
from worker.store.outbox import Claimed
from worker.store.tables import deliveries, events, subscribers

__all__ = ["open_outbox"]


def decide(store: Store, told: Sequence[Event], *, room: int = 10) -> Queued:
    """Commit events with their deliveries, in a process that has room for so many of each subscriber."""
    with store.write() as connection:
        whom = listening.ask_listening(connection, {one.app for one in told})
        return listening.enqueue(connection, told, whom, NOW_MS, lambda _whom: room)()


def claim(store: Store, ids: Sequence[str], now_ms: int = NOW_MS) -> Claimed:
    """Claim as any process would."""
    with store.write() as connection:
        return outbox.claim(connection, ids, now_ms)


def ends(store: Store) -> dict[str, int]:
    """Read until when each delivery is claimed, by its event."""
    return {id_: row.claimed_until_ms for id_, row in delivery_rows(store).items()}


def test_what_is_born_claimed_nobody_else_can_take_until_that_lapses(store):
    """A claim that a delivery is born with holds like any other, and lapses like any other."""
    subscribe(store, subscriber())

    (born,) = decide(store, [event(1)]).claims

    assert {event(1).id: born.claimed_until_ms} == ends(store)
    assert [] == list(claim(store, [born.id], born.claimed_until_ms - 1).claims)


def test_a_claim_it_is_born_with_says_what_one_that_is_taken_says(store):
    """Whoever attempts a delivery cannot tell how it was claimed."""
    subscribe(store, subscriber(order="none"))
    (born,) = decide(store, [event(1)]).claims
    with store.write() as connection:
        connection.execute(events.insert(), [row_of(event(1), NOW_MS)])
        connection.execute(update(deliveries).values(claimed_until_ms=0))

    (taken,) = claim(store, [born.id]).claims

    assert taken == born


def test_only_the_first_of_a_customer_is_born_claimed(store):
    """Of two events of one customer the second waits for the first; another customer's waits for neither."""
    subscribe(store, subscriber())
    told = [event(1), event(2), event(1, user="user-7")]

    queued = decide(store, told)

    assert [told[0].id, told[2].id] == [one.event_id for one in queued.claims]
    assert ({}, 0) == (queued.owners, ends(store)[told[1].id])


def test_what_waits_behind_an_earlier_event_is_not_born_claimed(store):
    """A customer's earlier event that is not told yet goes first, and its follower is free for whoever lets it go."""
    subscribe(store, subscriber())
    announce(store, [event(1)])

    queued = decide(store, [event(2)])

    assert ({}, ()) == (queued.owners, tuple(queued.claims))
    assert {event(1).id: 0, event(2).id: 0} == ends(store)


def test_without_order_everything_is_born_claimed_as_far_as_there_is_room(store):
    """A subscriber that wants no order hears of as much at once as this process has room for; the rest is hinted at."""
    (whose,) = subscribe(store, subscriber(order="none"))
    told = [event(1), event(2), event(3)]

    queued = decide(store, told, room=2)

    assert [told[0].id, told[1].id] == [one.event_id for one in queued.claims]
    assert [whose] == list(queued.owners.values())
    assert 0 == ends(store)[told[2].id]


@pytest.mark.parametrize(
    "matter",
    [
        {"state": "paused"},
        {"rate_per_second": 5.0},
        {"not_before_ms": NOW_MS + 1},
        {"failing_since_ms": NOW_MS - 1},
    ],
)
def test_nothing_is_born_claimed_of_whom_something_holds_back(store, matter):
    """Who is paused, paced, at rest or failing is told in turns, which know how."""
    subscribe(store, subscriber())
    with store.write() as connection:
        connection.execute(update(subscribers).values(**matter))

    queued = decide(store, [event(1)])

    assert ((), {event(1).id: 0}) == (tuple(queued.claims), ends(store))


def test_without_room_all_is_hinted_at(store):
    """A process that tells nobody claims nothing."""
    (whose,) = subscribe(store, subscriber())

    queued = decide(store, [event(1)], room=0)

    assert ([], [whose]) == (list(queued.claims), list(queued.owners.values()))


def test_room_is_asked_once_for_each_subscriber(store):
    """Who has room is shown the subscriber as it stands, once for each set."""
    both = subscribe(store, subscriber("https://a.example/"), subscriber("https://b.example/"))
    shown: list[str] = []

    def room(whom: Listener) -> int:
        shown.append(whom.id)
        return 1

    told = [event(1), event(1, user="user-7")]
    with store.write() as connection:
        whom = listening.ask_listening(connection, {"acme"})
        listening.enqueue(connection, told, whom, NOW_MS, room)()
        kept = connection.execute(select(deliveries.c.id).where(deliveries.c.claimed_until_ms > 0)).all()

    assert (sorted(both), 2) == (sorted(shown), len(kept))
