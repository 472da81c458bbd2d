"""The outbox: who is told what, by whom, in which order, and what becomes of it.

Real: SQLite and PostgreSQL, migrated. No double.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event as watch
from sqlalchemy import select, update

from handlers.backoff import Verdict
from tests.store.outbox_story import (
    NOW,
    NOW_MS,
    announce,
    delivery_rows,
    enqueue,
    event,
    new_store,
    subscribe,
    subscriber,
)
from worker.store import outbox
from worker.store.attempts import Attempt, Recorded, record
from worker.store.engine import Store
from worker.store.outbox import Claim, Claimed
from worker.store.tables import attempts, deliveries, events, subscribers

DELIVERED = Verdict("delivered")
FAILED = Verdict("failed", 5.0)
DEAD = Verdict("dead")


@pytest.fixture(name="store")
def _store(store_url: str) -> Iterator[Store]:
    store = new_store(store_url)
    yield store
    store.close()


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


def claim(store: Store, ids: Sequence[str], now_ms: int = NOW_MS) -> list[Claim]:
    """Claim in a transaction of its own."""
    with store.write() as connection:
        return list(outbox.claim(connection, ids, now_ms).claims)


def due(store: Store, now_ms: int = NOW_MS, limit: int = 100) -> list[str]:
    """Ask what is due."""
    with store.read() as connection:
        return outbox.due(connection, now_ms, limit)


def settle(store: Store, claimed: Claim, verdict: Verdict, now_ms: int = NOW_MS) -> Recorded:
    """Record that an attempt came to this."""
    ended = Attempt(claimed, verdict, now_ms, 12.5, 200 if verdict is DELIVERED else 503, None, "thanks")
    with store.write() as connection:
        return record(connection, [ended], now_ms)


def state(store: Store, one: str) -> tuple[str, str | None]:
    """Read whether a subscriber is told anything, and why not."""
    with store.read() as connection:
        row = connection.execute(select(subscribers).where(subscribers.c.id == one)).one()
    return row.state, row.reason


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


def test_a_claim_keeps_others_away_until_it_lapses(store):
    """One delivery is attempted by one process at a time, and by another when that one fell silent."""
    subscribe(store, subscriber(timeout_seconds=10))
    ready = announce(store, [event(1)])

    (claimed,) = claim(store, ready)

    assert [] == claim(store, ready)
    assert [] == due(store)
    lapsed = NOW_MS + 10_000 + outbox.LEASE_SLACK_MS
    assert lapsed == claimed.claimed_until_ms
    assert [] == claim(store, ready, lapsed - 1)
    assert ready == due(store, lapsed)
    assert [claimed.id] == [again.id for again in claim(store, ready, lapsed)]


def test_a_claim_carries_all_that_is_needed(store):
    """Claiming reads event and address once, so that an attempt needs no further look into the store."""
    (who,) = subscribe(store, subscriber(allow_private=True))
    (claimed,) = claim(store, announce(store, [event(1)]))

    assert event(1).model_dump_json() == claimed.document
    assert (who, "https://api.acme.example/refunds", True, 15.0) == (
        claimed.subscriber,
        claimed.url,
        claimed.allow_private,
        claimed.timeout_seconds,
    )
    assert "whsec" not in repr(claimed)
    assert "user-42" not in repr(claimed)


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


def test_every_attempt_is_kept(store):
    """Each attempt is one row with what was answered, and is counted."""
    subscribe(store, subscriber())
    ready = announce(store, [event(1)])
    for verdict, now_ms in ((FAILED, NOW_MS), (FAILED, NOW_MS + 5_000), (DELIVERED, NOW_MS + 10_000)):
        (claimed,) = claim(store, ready, now_ms)
        settle(store, claimed, verdict, now_ms)

    with store.read() as connection:
        rows = connection.execute(select(attempts).order_by(attempts.c.id)).all()
    assert [(503, "thanks", NOW_MS), (503, "thanks", NOW_MS + 5_000), (200, "thanks", NOW_MS + 10_000)] == [
        (row.status_code, row.response, row.attempted_at_ms) for row in rows
    ]
    assert 3 == delivery_rows(store)[event(1).id].attempts


def test_a_failure_under_a_lapsed_claim_decides_nothing(store):
    """Who fell asleep over an attempt must not move what another process holds by now."""
    subscribe(store, subscriber())
    ready = announce(store, [event(1)])
    (asleep,) = claim(store, ready)
    (awake,) = claim(store, ready, asleep.claimed_until_ms)

    settle(store, asleep, DEAD, asleep.claimed_until_ms + 1)
    settle(store, asleep, FAILED, asleep.claimed_until_ms + 1)

    row = delivery_rows(store)[event(1).id]
    assert ("pending", 0, awake.claimed_until_ms) == (row.status, row.attempts, row.claimed_until_ms)


def test_a_late_failure_holds_back_nobody_whom_the_other_freed(store):
    """What waits behind a delivery that another process got through is not put off by who fell asleep over it."""
    # Who woke up moved the customer's next events to its own next attempt, hours away, and had its subscriber fail.
    (who,) = subscribe(store, subscriber())
    (asleep,) = claim(store, announce(store, [event(1), event(2), event(3)]))
    (awake,) = claim(store, [asleep.id], asleep.claimed_until_ms)
    after = asleep.claimed_until_ms + 1
    settle(store, awake, DELIVERED, after)

    settle(store, asleep, Verdict("failed", 7_200.0, rest_seconds=60.0), after)

    second = delivery_rows(store)[event(2).id]
    assert ([second.id], 0) == (due(store, after), second.attempts)
    with store.read() as connection:
        row = connection.execute(select(subscribers).where(subscribers.c.id == who)).one()
    assert (None, 0) == (row.failing_since_ms, row.not_before_ms)
    assert ("delivered", 1) == (delivery_rows(store)[event(1).id].status, delivery_rows(store)[event(1).id].attempts)


def test_an_attempt_whose_commit_nobody_heard_of_is_kept_once(store):
    """One POST is one attempt, also where it is recorded again because the first answer of the database was lost."""
    subscribe(store, subscriber())
    fails, works = claim(store, announce(store, [event(1), event(1, user="user-7")]))
    ended = [
        Attempt(fails, FAILED, NOW_MS, 12.5, 503, "not_2xx"),
        Attempt(works, DELIVERED, NOW_MS, 12.5, 200, None),
    ]
    for doubtful in (False, True):
        with store.write() as connection:
            record(connection, [replace(attempt, doubtful=doubtful) for attempt in ended], NOW_MS)

    with store.read() as connection:
        kept = connection.execute(select(attempts.c.delivery)).scalars().all()
    assert sorted([fails.id, works.id]) == sorted(kept)
    assert [1, 1] == [row.attempts for row in delivery_rows(store).values()]


def test_a_success_under_a_lapsed_claim_counts(store):
    """What reached the subscriber is delivered, however late we write it down."""
    subscribe(store, subscriber())
    ready = announce(store, [event(1)])
    (asleep,) = claim(store, ready)
    (awake,) = claim(store, ready, asleep.claimed_until_ms)

    settle(store, asleep, DELIVERED, asleep.claimed_until_ms + 1)
    settle(store, awake, FAILED, asleep.claimed_until_ms + 2)

    assert "delivered" == delivery_rows(store)[event(1).id].status


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


def test_nothing_is_claimed_and_recorded_out_of_nothing(store):
    """Empty sets are answered without a statement."""
    with store.write() as connection:
        assert Claimed() == outbox.claim(connection, [], NOW_MS)
        assert Recorded() == record(connection, [], NOW_MS)


def test_the_configuration_decides_who_subscribes(store):
    """Starting again changes, removes and brings back subscribers under the same ids."""
    (who,) = subscribe(store, subscriber(types=("refund.*",)))
    subscribe(store)
    assert ("disabled", "removed_from_configuration") == state(store, who)

    assert [who] == subscribe(store, subscriber(types=("*",), timeout_seconds=5.0), now=NOW + 60)

    assert ("enabled", None) == state(store, who)
    with store.read() as connection:
        row = connection.execute(select(subscribers)).one()
    assert ('["*"]', 5.0, "config", int(NOW)) == (row.types, row.timeout_seconds, row.origin, row.created_at)


def test_a_start_enables_what_is_still_configured(store):
    """A subscriber that was disabled for its failures gets another chance when the operator starts again."""
    (who,) = subscribe(store, subscriber())
    settle(store, claim(store, announce(store, [event(1)]))[0], Verdict("failed", 5.0, gone=True))

    subscribe(store, subscriber())

    assert ("enabled", None) == state(store, who)


def test_subscribers_of_other_origin_are_left_alone(store):
    """The configuration speaks only for what came from it."""
    (who,) = subscribe(store, subscriber())
    with store.write() as connection:
        connection.execute(update(subscribers).values(origin="api"))

    subscribe(store)

    assert ("enabled", None) == state(store, who)


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


def test_to_claim_and_to_record_leaves_no_circles(store: Store):
    """Nothing of a delivery is kept until Python looks for garbage, whether it comes through or fails."""
    subscribe(store, subscriber())
    found = []
    for number, verdict in enumerate((DELIVERED, FAILED) * 3):
        ids = announce(store, [event(1, user=f"user-{number}")])
        gc.collect()
        gc.disable()
        try:
            for claimed in claim(store, ids):
                settle(store, claimed, verdict)
            del claimed
            found.append(gc.collect())
        finally:
            gc.enable()
    assert [0, 0] == found[-2:]
