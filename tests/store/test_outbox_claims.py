"""Who holds a delivery attempts it, and what is recorded of an attempt whose claim has lapsed by then.

Real: SQLite and PostgreSQL, migrated. No double.
"""

import gc
from dataclasses import replace

from sqlalchemy import select

from handlers.backoff import Verdict
from tests.store.outbox_steps import DEAD, DELIVERED, FAILED, claim, due, open_outbox, settle
from tests.store.outbox_story import NOW_MS, announce, delivery_rows, event, subscribe, subscriber
from worker.store import outbox
from worker.store.attempts import Attempt, Recorded, record
from worker.store.engine import Store
from worker.store.outbox import Claimed
from worker.store.tables import attempts, subscribers

__all__ = ["open_outbox"]


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


def test_nothing_is_claimed_and_recorded_out_of_nothing(store):
    """Empty sets are answered without a statement."""
    with store.write() as connection:
        assert Claimed() == outbox.claim(connection, [], NOW_MS)
        assert Recorded() == record(connection, [], NOW_MS)


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
