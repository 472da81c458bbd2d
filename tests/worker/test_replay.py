"""A replay goes the way that everything goes, and changes nothing that stands.

Real: both databases, inbox, processing, ledger. Double: the queue and the clock.
"""

import threading

from tests.handlers.entries import NOW_MS
from tests.worker.desk import Desk, arrival
from tests.worker.stripe_events import a_refunded_subscription
from worker.deeds import of_the_command_line
from worker.inbox import Inbox
from worker.process import process
from worker.replay import batches_of, replay, replay_batches
from worker.store import gauges, tables
from worker.store.selection import Selection

NOTE = of_the_command_line("notification.replay", lambda: NOW_MS / 1000).note_each
VIEWS = (tables.entries, tables.purchases, tables.refunds, tables.entitlements, tables.events, tables.deliveries)


async def accept(at: Desk, sales: int = 1) -> list[str]:
    """Accept a few stories; give the ids."""
    inbox, ids = Inbox(at.store, at.queue), []
    for sale in range(sales):
        for number, (kind, subject) in enumerate(a_refunded_subscription(str(sale))):
            ids.append((await inbox.accept(arrival(f"{sale}_{number}", kind, subject))).id)
    at.queue.notifications.clear()
    return ids


def views(at: Desk) -> list[object]:
    """Read everything that processing has ever written."""
    return [at.rows(table) for table in VIEWS]


def statuses(at: Desk) -> set[str]:
    """Give the statuses there are."""
    return {row["status"] for row in at.rows(tables.notifications)}


async def test_a_replay_of_what_is_processed_changes_nothing(at: Desk):
    """Everything replayed and processed once more: not one entry, view, event or delivery is another."""
    ids = await accept(at, sales=2)
    process(at.runtime, ids)
    before = views(at)

    at.clock.now += 86_400
    assert sorted(ids) == sorted(replay(at.runtime, ids, NOTE))
    assert {"accepted"} == statuses(at)
    process(at.runtime, at.queue.notifications)

    assert before == views(at)
    assert {"processed"} == statuses(at)


async def test_a_replay_is_late_for_nobody(at: Desk):
    """It waits like the others, and neither the age of the inbox nor the time to take effect is about it."""
    ids = await accept(at)
    process(at.runtime, ids)
    at.clock.now += 90 * 86_400
    replay(at.runtime, ids, NOTE)

    with at.store.read() as connection:
        read = gauges.read_gauges(connection, ())
    assert (len(ids), None) == (read.inbox_pending, read.inbox_oldest_ms)
    process(at.runtime, ids)
    registry = at.runtime.metrics.registry
    timed = registry.get_sample_value("clawback_receive_to_effect_seconds_sum", {"platform": "stripe"})
    assert (timed or 0.0) < 86_400


async def test_without_a_broker_the_sweeper_finds_it(at: Desk):
    """A broker that is away costs a hint and nothing else: the rows are accepted, and due soon."""
    ids = await accept(at)
    process(at.runtime, ids)
    at.queue.away = True

    assert sorted(ids) == sorted(replay(at.runtime, ids, NOTE))
    due_ms = int((at.clock.now + at.runtime.settings.work.sweep_after_seconds) * 1000)
    assert {("accepted", due_ms)} == {(row["status"], row["retry_at_ms"]) for row in at.rows(tables.notifications)}


async def test_a_selection_is_walked_once(at: Desk):
    """However small the batches, each notification comes once and in order, also where all of them change meanwhile."""
    ids = await accept(at, sales=3)
    process(at.runtime, ids)
    seen: list[str] = []
    for batch in batches_of(at.runtime, Selection(app="acme"), size=5):
        seen += [each.id for each in batch]
        assert len(batch) <= 5
        replay(at.runtime, [each.id for each in batch], NOTE)

    assert sorted(ids) == seen
    assert [] == list(batches_of(at.runtime, Selection(app="other")))


async def test_a_replay_is_one_batch_ahead_of_the_workers(at: Desk):
    """The next batch but one waits until a worker has looked at each of the last: what comes in is not held up."""
    ids = await accept(at, sales=3)
    process(at.runtime, ids)
    waiting: list[int] = []
    batches = list(batches_of(at.runtime, Selection(), size=4))

    def work() -> None:
        while len(waiting) < len(batches) or at.queue.notifications:
            some, at.queue.notifications[:] = at.queue.notifications[:3], at.queue.notifications[3:]
            process(at.runtime, some)

    worker = threading.Thread(target=work)
    worker.start()
    ahead = replay_batches(at.runtime, iter(batches), NOTE)
    waiting.extend(sum(row["status"] == "accepted" for row in at.rows(tables.notifications)) for _ in ahead)
    worker.join(30)

    assert len(ids) // 4 == len(waiting)
    assert max(waiting) <= 4


async def test_a_replay_waits_for_no_worker_that_is_not_there(at: Desk):
    """Where nobody takes anything up, it is all accepted again without more waiting than once."""
    ids = await accept(at, sales=3)
    process(at.runtime, ids)

    batches = batches_of(at.runtime, Selection(), size=4)
    assert [4, 4, 4] == list(replay_batches(at.runtime, batches, NOTE, patience_seconds=0.2))
    assert {"accepted"} == statuses(at)
    assert len(ids) == len(at.queue.notifications)
