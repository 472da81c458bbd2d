"""How a subscriber stands: its pace, its rest, its failures, and what it hears meanwhile.

Real: SQLite and PostgreSQL, migrated. No double.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import event as watch
from sqlalchemy import select, update

from handlers.backoff import LONG_FAILURE_SECONDS, Verdict
from tests.store.outbox_steps import DELIVERED, FAILED, claim, due, open_outbox, settle
from tests.store.outbox_story import NOW, NOW_MS, announce, event, new_store, subscribe, subscriber
from worker.store import outbox
from worker.store.engine import Store
from worker.store.feed import newest_position
from worker.store.outbox import Claimed
from worker.store.tables import deliveries, subscribers

__all__ = ["open_outbox"]

GONE = Verdict("failed", 5.0, gone=True)
LONG_MS = int(LONG_FAILURE_SECONDS * 1000)


def take(store: Store, ids: Sequence[str], now_ms: int = NOW_MS) -> Claimed:
    """Claim in a transaction of its own."""
    with store.write() as connection:
        return outbox.claim(connection, ids, now_ms)


def row(store: Store, id_: str) -> Any:
    """Read a subscriber."""
    with store.read() as connection:
        return connection.execute(select(subscribers).where(subscribers.c.id == id_)).one()


def change(store: Store, id_: str, **values: Any) -> None:
    """Change a subscriber, as an operator does."""
    with store.write() as connection:
        connection.execute(update(subscribers).where(subscribers.c.id == id_).values(**values))


def newest(store: Store) -> int:
    """Read where the feed ends."""
    with store.read() as connection:
        return newest_position(connection)


def customers(count: int) -> list[Any]:
    """Tell of so many customers, one event each."""
    return [event(1, user=f"user-{number:03}") for number in range(count)]


def test_an_environment_filters(store):
    """Who asked for sandbox alone hears nothing of production, and who asked for neither hears of both."""
    _production, sandbox, both = subscribe(
        store, *(subscriber(f"https://{name}.example/") for name in ("production", "sandbox", "both"))
    )
    change(store, _production, environment="production")
    change(store, sandbox, environment="sandbox")
    trial = event(2).model_copy(update={"environment": "sandbox"})

    announce(store, [event(1), trial])

    with store.read() as connection:
        heard = connection.execute(select(deliveries.c.subscriber, deliveries.c.event_id)).all()
    told = {(_production, event(1).id), (sandbox, trial.id), (both, event(1).id), (both, trial.id)}
    assert told == {tuple(each) for each in heard}


def test_what_happens_while_paused_waits_in_order(store):
    """A paused subscriber's events are queued and none is attempted; enabled, they go one after the other."""
    (who,) = subscribe(store, subscriber())
    change(store, who, state="paused")

    assert [] == announce(store, [event(1), event(2)])
    assert [] == due(store)
    with store.read() as connection:
        queued = connection.execute(select(deliveries.c.id).order_by(deliveries.c.sequence)).scalars().all()
    assert 2 == len(queued)
    assert [] == claim(store, queued)

    change(store, who, state="enabled")
    assert [queued[0]] == due(store)


def test_what_happens_while_disabled_is_not_queued(store):
    """A disabled subscriber is told nothing of what happens meanwhile; what waited before stays."""
    (who,) = subscribe(store, subscriber())
    announce(store, [event(1)])
    change(store, who, state="disabled")

    assert [] == announce(store, [event(2)])

    with store.read() as connection:
        assert [event(1).id] == connection.execute(select(deliveries.c.event_id)).scalars().all()


def test_a_resting_subscriber_rests_altogether(store):
    """Until its rest is over nothing of it is due or claimed, what waits uses up no attempt, and nobody else waits."""
    busy, other = subscribe(store, subscriber(), subscriber("https://b.example/"))
    ready = announce(store, customers(2))
    first, *waiting = [one for one in claim(store, ready) if one.subscriber == busy]
    with store.write() as connection:
        connection.execute(update(deliveries).where(deliveries.c.id != first.id).values(claimed_until_ms=0))

    settle(store, first, Verdict("failed", 5.0, rest_seconds=120.0))

    assert {other} == {one.subscriber for one in claim(store, due(store, NOW_MS + 60_000), NOW_MS + 60_000)}
    taken = take(store, [waiting[0].id], NOW_MS + 60_000)
    assert Claimed([], {busy: NOW_MS + 120_000}) == taken
    with store.read() as connection:
        rows = connection.execute(select(deliveries).where(deliveries.c.id == waiting[0].id)).one()
    assert 0 == rows.attempts
    assert [waiting[0].id] == [one.id for one in claim(store, [waiting[0].id], NOW_MS + 120_000)]


def test_a_rest_only_ever_grows(store):
    """Who asked for two minutes and then for one rests two."""
    (who,) = subscribe(store, subscriber())
    first, second = claim(store, announce(store, customers(2)))
    settle(store, first, Verdict("failed", 5.0, rest_seconds=120.0))
    settle(store, second, Verdict("failed", 5.0, rest_seconds=60.0))

    assert NOW_MS + 120_000 == row(store, who).not_before_ms


def test_a_pace_is_kept_over_several_processes(store):
    """However many claim, together they begin what the pace allows, and another subscriber's are all begun."""
    slow, fast = subscribe(store, subscriber(), subscriber("https://b.example/"))
    change(store, slow, rate_per_second=10.0, not_before_ms=NOW_MS)
    ready = announce(store, customers(40))

    begun, now_ms = [], NOW_MS
    for _ in range(20):
        for _process in range(2):
            taken = take(store, ready, now_ms)
            begun += [(now_ms, one.subscriber) for one in taken.claims]
            assert {slow} == set(taken.resting)
        now_ms += 50

    assert 40 == len([one for _, one in begun if one == fast])
    assert {NOW_MS} == {at for at, one in begun if one == fast}
    paced = [at for at, one in begun if one == slow]
    assert [NOW_MS + 100 * number for number in range(10)] == paced


def test_a_pace_that_another_process_moves_is_not_waited_for(emptied):
    """While another process holds a paced subscriber's row, its deliveries wait a moment and the others' begin."""
    store = new_store(emptied)
    slow, fast = subscribe(store, subscriber(), subscriber("https://b.example/"))
    change(store, slow, rate_per_second=10.0)
    ready = announce(store, customers(2))
    with store.write() as connection:
        connection.execute(select(subscribers).where(subscribers.c.id == slow).with_for_update())
        taken = take(store, ready)
    store.close()

    assert {fast} == {one.subscriber for one in taken.claims}
    assert {slow} == set(taken.resting)


def test_a_turn_asks_as_often_whatever_it_holds(store):
    """Claiming two hundred of a paced subscriber costs as many statements as two; without a pace, two fewer."""
    (who,) = subscribe(store, subscriber())
    counts = []
    for start, size, rate in ((0, 2, None), (100, 200, None), (400, 2, 1000.0), (700, 200, 1000.0)):
        change(store, who, rate_per_second=rate, not_before_ms=0)
        ready = announce(store, [event(1, user=f"user-{start + number}") for number in range(size)])
        statements: list[str] = []
        note = lambda _c, _cursor, said, *_rest, seen=statements: seen.append(said)  # noqa: E731 - a probe
        watch.listen(store.engine, "before_cursor_execute", note)
        take(store, ready)
        watch.remove(store.engine, "before_cursor_execute", note)
        unasked = ("BEGIN", "SELECT set_config")  # sent along with what follows, and waited for by nobody
        counts.append(len([said for said in statements if not said.startswith(unasked)]))

    assert [2, 2, 4, 4] == counts


def test_failing_begins_with_the_first_failure_and_ends_with_a_success(store):
    """The first failure after a success is remembered, later ones change nothing, a success clears it."""
    (who,) = subscribe(store, subscriber())
    ready = announce(store, [event(1)])
    for now_ms in (NOW_MS, NOW_MS + 5_000):
        (claimed,) = claim(store, ready, now_ms)
        settle(store, claimed, FAILED, now_ms)
        assert NOW_MS == row(store, who).failing_since_ms
    (claimed,) = claim(store, ready, NOW_MS + 10_000)
    settle(store, claimed, DELIVERED, NOW_MS + 10_000)

    assert row(store, who).failing_since_ms is None


def test_all_is_well_costs_nothing(store):
    """As long as a subscriber takes everything, its row is not written."""
    subscribe(store, subscriber())
    ready = announce(store, [event(1)])
    (claimed,) = claim(store, ready)
    statements: list[str] = []
    watch.listen(store.engine, "before_cursor_execute", lambda _c, _cursor, said, *_rest: statements.append(said))
    settle(store, claimed, DELIVERED)

    assert [] == [said for said in statements if "subscribers" in said]


def test_five_days_of_nothing_but_failure_end_the_subscription(store):
    """A failure after five days of nothing else disables, once; a millisecond earlier it does not."""
    (who,) = subscribe(store, subscriber())
    first, second, third = claim(store, announce(store, customers(3)))
    settle(store, first, FAILED)
    (first,) = claim(store, [first.id], NOW_MS + LONG_MS - 1)
    assert {} == settle(store, first, FAILED, NOW_MS + LONG_MS - 1).disabled
    (second, third) = claim(store, [second.id, third.id], NOW_MS + LONG_MS)

    assert {who: "long_failure"} == settle(store, second, FAILED, NOW_MS + LONG_MS).disabled
    assert {} == settle(store, third, FAILED, NOW_MS + LONG_MS).disabled
    found = row(store, who)
    assert ("disabled", "long_failure", int(NOW) + LONG_MS // 1000, newest(store)) == (
        found.state,
        found.reason,
        found.changed_at,
        found.missed_after,
    )
    assert (None, 0) == (found.failing_since_ms, found.not_before_ms)


def test_a_success_elsewhere_counts_against_five_days(store):
    """What another process got through meanwhile is seen before anybody is disabled."""
    (who,) = subscribe(store, subscriber())
    first, second = claim(store, announce(store, customers(2)))
    settle(store, first, FAILED)
    first, second = claim(store, [first.id, second.id], NOW_MS + LONG_MS)
    settle(store, second, DELIVERED, NOW_MS + LONG_MS)

    assert {} == settle(store, first, FAILED, NOW_MS + LONG_MS).disabled
    assert "enabled" == row(store, who).state


def test_a_dead_delivery_does_not_end_the_subscription(store):
    """One poisonous event, given up after its schedule, is no reason to tell nothing more."""
    (who,) = subscribe(store, subscriber())
    (first,) = claim(store, announce(store, [event(1)]))

    assert {} == settle(store, first, Verdict("dead"), NOW_MS + LONG_MS // 2).disabled
    assert "enabled" == row(store, who).state


def test_410_ends_the_subscription(store):
    """Who says that it is gone is told nothing more, and it is known from where in the feed on."""
    (who,) = subscribe(store, subscriber())
    first, second = claim(store, announce(store, customers(2)))

    assert {who: "gone"} == settle(store, first, GONE).disabled
    assert {} == settle(store, second, GONE).disabled
    found = row(store, who)
    assert ("disabled", "gone", newest(store), int(NOW)) == (
        found.state,
        found.reason,
        found.missed_after,
        found.changed_at,
    )
    assert [] == due(store, NOW_MS + 10**9)
    assert [] == announce(store, [event(2)])


def test_what_was_missed_earlier_stays_missed(store):
    """Disabled a second time before it made up for the first, a subscriber still knows where that began."""
    (who,) = subscribe(store, subscriber())
    change(store, who, missed_after=1)
    (first, _second) = claim(store, announce(store, customers(2)))
    settle(store, first, GONE)

    assert 1 == row(store, who).missed_after
