"""What came in, what became of it and what was told adds up; where it does not, doctor says so.

Real: both databases, inbox, processing, outbox, retention. Double: the queue and the clock; and each contradiction is
written into the rows by hand, as nothing of ours would.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from config.settings import Store as Kept
from handlers.backoff import Verdict
from tests.store.outbox_story import subscribe, subscriber
from tests.worker.desk import SETTINGS, Desk, arrival, desk
from tests.worker.stripe_events import a_refunded_subscription
from worker.deeds import of_the_command_line
from worker.doctor_rows import look_at_deliveries, look_at_feed, look_at_inbox
from worker.inbox import Inbox
from worker.process import process
from worker.replay import replay
from worker.store import outbox
from worker.store import tables as t
from worker.store.attempts import Attempt, record
from worker.sweeper import prune

DAY_SECONDS = 86_400
LOOKS = (look_at_inbox, look_at_feed, look_at_deliveries)


@pytest.fixture(name="at")
async def _at(tmp_path: Path, store_url: str) -> Any:
    with desk(tmp_path, url=store_url) as at:
        subscribe(at.store, subscriber())
        await accept(at, "1")
        await accept(at, "2")
        deliver(at)
        yield at


async def accept(at: Desk, sale: str) -> list[str]:
    """Accept and process a story; give the ids."""
    inbox, ids = Inbox(at.store, at.queue), []
    for number, (kind, subject) in enumerate(a_refunded_subscription(sale)):
        at.clock.now += 1
        said = replace(arrival(f"{sale}_{number}", kind, subject), received_at=at.clock.now)
        ids.append((await inbox.accept(said)).id)
        process(at.runtime, ids[-1:])
    return ids


def deliver(at: Desk) -> None:
    """Attempt everything that is due."""
    now_ms = int(at.clock() * 1000)
    with at.store.write() as connection:
        while claims := outbox.claim(connection, outbox.due(connection, now_ms, 100), now_ms).claims:
            record(
                connection, [Attempt(claim, Verdict("delivered"), now_ms, 1.0, 200, None) for claim in claims], now_ms
            )


def wrong(at: Desk) -> list[str]:
    """List what is found wrong."""
    return [detail for look in LOOKS for verdict, detail, _ in look(at.runtime) if verdict != "ok"]


def spoil(at: Desk, *statements: Any) -> None:
    """Write what nothing of ours would."""
    with at.store.write() as connection:
        for statement in statements:
            connection.execute(statement)


def some(table: Any, at: Desk, **having: Any) -> str:
    """Name a row."""
    return str(next(row["id"] for row in at.rows(table) if having.items() <= row.items()))


async def test_what_adds_up_is_said_in_one_line_each(at: Desk):
    """Everything processed and told: the sum of the inbox, the customers, the deliveries, and nothing wrong."""
    said = [detail for look in LOOKS for _, detail, _ in look(at.runtime)]
    deliveries = len(at.rows(t.deliveries))

    assert [] == wrong(at)
    assert [
        "8 received = 8 processed, 0 ignored, 0 quarantined, 0 dead and 0 in flight",
        "the events of 2 customers have no gap",
        f"deliveries: 0 pending, {deliveries} delivered, 0 failed; each as it says",
    ] == said
    assert deliveries


async def test_what_is_replayed_or_pruned_adds_up(at: Desk):
    """Neither what is on its way once more nor what was forgotten by plan is missed."""
    ids = [row["id"] for row in at.rows(t.notifications)]
    replay(at.runtime, ids, of_the_command_line("notification.replay", at.clock).note_each)
    assert [] == wrong(at)
    process(at.runtime, ids)

    at.clock.now += 400 * DAY_SECONDS
    kept = Kept(keep_notifications_days=30, keep_events_days=60, keep_deliveries_days=10)
    shorter = replace(at.runtime, settings=SETTINGS.model_copy(update={"store": kept}))
    while prune(shorter):
        pass
    assert len(at.rows(t.notifications)) < len(ids)
    assert 1 == len(at.events())
    assert [] == wrong(at)


def drop_a_notification(at: Desk) -> None:
    """Lose a row of the inbox whose entries are there."""
    spoil(at, delete(t.notifications).where(t.notifications.c.id == some(t.notifications, at)))


def drop_its_entries(at: Desk) -> None:
    """Lose what a processed notification said."""
    spoil(at, delete(t.entries).where(t.entries.c.notification == some(t.notifications, at, type="refund.created")))


def invent_a_status(at: Desk) -> None:
    """Give a notification a status that there is not."""
    spoil(at, update(t.notifications).where(t.notifications.c.id == some(t.notifications, at)).values(status="gone"))


def forget_to_sweep(at: Desk) -> None:
    """Leave a notification accepted for long, with nobody to look at it."""
    spoil(at, update(t.notifications).values(status="accepted", retry_at_ms=int((at.clock() - 61) * 1000)))


def drop_an_event(at: Desk) -> None:
    """Lose one in the middle of what a customer was told."""
    second = sorted(row["position"] for row in at.rows(t.events))[1]
    spoil(at, delete(t.events).where(t.events.c.position == second))


def drop_the_last_event(at: Desk) -> None:
    """Lose the last thing that a customer was told."""
    spoil(at, delete(t.events).where(t.events.c.position == max(row["position"] for row in at.rows(t.events))))


def drop_an_attempt(at: Desk) -> None:
    """Lose how it is known that a delivery arrived."""
    spoil(at, delete(t.attempts).where(t.attempts.c.delivery == some(t.deliveries, at)))


def deliver_nothing(at: Desk) -> None:
    """Have a delivery wait for an event that is not there."""
    changed = update(t.deliveries).where(t.deliveries.c.id == some(t.deliveries, at))
    spoil(at, changed.values(status="pending", event_id="evt_nothing", next_attempt_ms=int(at.clock() * 1000)))


def attempt_nothing(at: Desk) -> None:
    """Leave a delivery due, with nobody to attempt it."""
    changed = update(t.deliveries).where(t.deliveries.c.id == some(t.deliveries, at))
    spoil(at, changed.values(status="pending", next_attempt_ms=int((at.clock() - 61) * 1000)))


@pytest.mark.parametrize(
    ("break_it", "found"),
    [
        (drop_a_notification, "in the ledger or the feed, and gone from the inbox: 1 (ntf_"),
        (drop_its_entries, "processed, and the ledger holds nothing of it: 1 (ntf_"),
        (invent_a_status, "notifications of no status that there is: {'gone': 1}"),
        (forget_to_sweep, "accepted, and nobody has looked at them since 20"),
        (drop_an_event, "customers whose events have a gap or are too few: 1 (user-1)"),
        (drop_the_last_event, "customers whose events have a gap or are too few: 1 (user-2)"),
        (drop_an_attempt, "delivered, and no attempt says so: 1 (dlv_"),
        (deliver_nothing, "deliveries that wait without an event: 1 (dlv_"),
        (attempt_nothing, "due since 20"),
    ],
)
async def test_what_does_not_add_up_is_found(at: Desk, break_it: Callable[[Desk], None], found: str):
    """Each contradiction is found and named, and no other is seen that is not there."""
    break_it(at)

    [said] = wrong(at)
    assert found in said
