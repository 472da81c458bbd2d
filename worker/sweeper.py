"""Find what fell through: accepted and not finished, due and not delivered, run out and not noticed.

The queue is a hint and may lose everything. This is what makes that harmless.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from handlers import ids as identify
from schemas.entry import Entry, EntryKind, PurchaseFacts, Source, Subject
from schemas.resources import Event, Purchase
from worker.commit import Bookkeeper
from worker.process import count_changes, hint_deliveries
from worker.runtime import QueueUnavailable, Runtime
from worker.store import answers, inbox, lapses, locks, outbox, setback, subscribers, waiting
from worker.store.deliveries import settle_missed
from worker.store.inbox_retention import prune_notifications
from worker.store.outbox import Owners
from worker.store.postgresql import end_silent
from worker.store.retention import BEGINNING, Pruned, prune_deliveries, prune_events
from worker.store.waiting import Waiting

BATCH_MAX = 500
TIDIED_MAX = 10_000
PRUNED_MAX = 1_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
BATCHES: Mapping[str, Callable[..., Pruned]] = {
    "events": prune_events,
    "deliveries": prune_deliveries,
    "notifications": prune_notifications,
}
"""What is kept for so many days and no longer: kind → how a batch of it is forgotten."""
AHEAD_MS = 2_000
"""So far the clocks of several machines may be apart without anybody noticing: worker/doctor.py warns from here on."""
PUT_OFF_SECONDS = 3_600
"""A purchase whose lapse breaks our own code is looked at again after so long; enough of them would hide the others."""
LEASE_SECONDS = 3.0
"""A round takes far less. Whoever dies after one keeps the others from sweeping for so long."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """What one round found. `lapsed`: purchases whose expiry date has passed."""

    notifications: Sequence[str] = ()
    deliveries: Sequence[str] = ()
    lapsed: Sequence[Purchase] = ()

    def __len__(self) -> int:
        """Count it all."""
        return len(self.notifications) + len(self.deliveries) + len(self.lapsed)


Round = Mapping[str, int | None]
"""How far one round of forgetting is: kind → after what it goes on; None, or absent: nothing is left of it."""
NEW_ROUND: Round = dict.fromkeys(BATCHES, BEGINNING)


def sweep(runtime: Runtime) -> int:
    """Do one round, if no other process is at it; return how many things it found.

    Where there is nothing to be found, that is one question and its answer, and nothing is written: an idle system is
    idle.

    Raises:
        StoreUnavailable: nothing was changed; the next round finds the same.
    """
    with runtime.store.read() as connection:
        asked = waiting.ask(connection, runtime.settings.apps, now_ms=int(runtime.clock() * 1000))
    if not any(asked):
        return 0

    def change(connection: Connection) -> tuple[Found, Owners, list[Event]] | None:
        if not _mine(connection, "sweeper"):
            return None
        # Looked at now: this process may have been stopped for long before it got the lock.
        now_ms = int(runtime.clock() * 1000)
        found = _look(runtime, connection, asked, now_ms)
        retry_at_ms = now_ms + int(runtime.settings.work.sweep_after_seconds * 1000)
        inbox.postpone(connection, found.notifications, now_ms=now_ms, until_ms=retry_at_ms)
        return found, *_lapse(runtime, connection, found.lapsed, now_ms)

    if (done := runtime.store.change(change)) is None:
        return 0
    found, deliveries, events = done
    count_changes(runtime, events)
    _hint_notifications(runtime, found.notifications)
    hint_deliveries(runtime, [*found.deliveries, *deliveries])
    return _report(found)


def give_up_silent(runtime: Runtime) -> int:
    """Free what a process holds that was stopped, or cut off, in the middle of a transaction; tell how many did.

    Raises:
        StoreUnavailable: the store is away, and whoever was silent with it.
    """
    with runtime.store.look() as connection:
        ended = end_silent(connection, runtime.settings.store.statement_timeout_seconds)
    if ended:
        log.warning("sweep.silent_ended", sessions=ended)
    return ended


def look_ahead(runtime: Runtime) -> int:
    """Hint at what was accepted by a clock that is ahead of this one, and would be swept so much later; count it.

    What such a clock put in line for subscribers is made due as well.

    Raises:
        StoreUnavailable: nothing was changed.
    """
    now_ms, after_ms = int(runtime.clock() * 1000), int(runtime.settings.work.sweep_after_seconds * 1000)
    with runtime.store.read() as connection:
        found = setback.accepted_in_future(connection, after_ms=now_ms + after_ms + AHEAD_MS, limit=BATCH_MAX)
        told = setback.told_in_future(connection, after_ms=now_ms + AHEAD_MS)
    if told:
        make_due(runtime)
    if found:
        runtime.store.change(lambda connection: setback.bring_back(connection, found, until_ms=now_ms + after_ms))
        _hint_notifications(runtime, found)
        log.warning("sweep.accepted_in_future", count=len(found))
    return len(found)


def forget_future(runtime: Runtime) -> int:
    """Make due what waits for a moment that a clock showed before it was set back; return how many things that were.

    Raises:
        StoreUnavailable: nothing was changed.
    """
    return _bring_back(runtime, setback.forget_future)


def make_due(runtime: Runtime) -> int:
    """Make due what was put in line by a clock that is ahead; return how many deliveries that were.

    Raises:
        StoreUnavailable: nothing was changed.
    """
    return _bring_back(runtime, setback.make_due)


def _bring_back(runtime: Runtime, change: Callable[..., int]) -> int:
    now_ms = int(runtime.clock() * 1000)
    if found := runtime.store.change(lambda connection: change(connection, now_ms=now_ms)):
        log.warning("sweep.clock_set_back", count=found)
    return found


def tidy(runtime: Runtime) -> int:
    """Forget what has outlived its purpose; return how many rows that were. Once an hour is often enough."""
    now = runtime.clock()
    with runtime.store.write() as connection:
        forgotten = answers.forget_old(connection, before_ms=ends_ms(runtime)["answers"])
        forgotten += subscribers.forget_orphans(connection)
        forgotten += settle_missed(connection, int(now * 1000), limit=TIDIED_MAX)
        return forgotten + lapses.forget_passed(connection, now=int(now), limit=TIDIED_MAX)


def prune(runtime: Runtime, so_far: Round = NEW_ROUND) -> Round | None:
    """Forget a batch of what is older than it is to be kept, if no other process is at it.

    Returns:
        Where the round goes on; None: it is over.

    Raises:
        StoreUnavailable: nothing was forgotten.
    """
    done = prune_batch(runtime, so_far) or {}
    counts = {kind: sum(getattr(batch, kind) for batch in done.values()) for kind in BATCHES}
    if any(counts.values()):
        log.info("sweep.pruned", **counts)
    return further(done)


def prune_batch(runtime: Runtime, so_far: Round = NEW_ROUND) -> Mapping[str, Pruned] | None:
    """Forget a batch of each kind of which something is left; None: another process is at it.

    Raises:
        StoreUnavailable: nothing was forgotten.
    """
    ends = ends_ms(runtime)
    left = {kind: after for kind, after in so_far.items() if after is not None and kind in ends}
    if not left:
        return {}

    def change(connection: Connection) -> Mapping[str, Pruned] | None:
        if not _mine(connection, "retention"):
            return None
        return {
            kind: BATCHES[kind](connection, before_ms=ends[kind], limit=PRUNED_MAX, after=after)
            for kind, after in left.items()
        }

    return runtime.store.change(change)


def further(done: Mapping[str, Pruned]) -> Round | None:
    """Tell where a round goes on after these batches; None: it is over."""
    ends = {kind: batch.end for kind, batch in done.items()}
    return None if set(ends.values()) <= {None} else ends


def ends_ms(runtime: Runtime) -> Mapping[str, int]:
    """Tell before which moment, in Unix milliseconds, each kind is older than it is to be kept; absent: for ever."""
    now_ms, kept = int(runtime.clock() * 1000), runtime.settings.store
    days = {kind: getattr(kept, f"keep_{kind}_days") for kind in BATCHES}
    ends = {kind: now_ms - number * DAY_MS for kind, number in days.items() if number}
    return {**ends, "answers": now_ms - kept.keep_answers_hours * HOUR_MS}


def _look(runtime: Runtime, connection: Connection, asked: Waiting, now_ms: int) -> Found:
    """Look for what there is something of."""
    most = {"now_ms": now_ms, "limit": BATCH_MAX}
    apps, now = runtime.settings.apps, now_ms // 1000
    return Found(
        notifications=inbox.overdue(connection, **most) if asked.notifications else (),
        deliveries=outbox.due(connection, **most) if asked.deliveries else (),
        lapsed=lapses.run_out(connection, apps, now=now, limit=BATCH_MAX) if asked.lapsed else (),
    )


def _hint_notifications(runtime: Runtime, ids: Sequence[str]) -> None:
    try:
        if ids:
            runtime.queue.put_notifications(ids)
    except QueueUnavailable:
        log.warning("queue.unavailable", queue="notifications", waiting=len(ids))


def _mine(connection: Connection, what: str) -> bool:
    return locks.acquire(connection, what, holder=locks.this_process(), lease_ms=int(LEASE_SECONDS * 1000))


def _lapse(
    runtime: Runtime, connection: Connection, run_out: Sequence[Purchase], now_ms: int
) -> tuple[Owners, list[Event]]:
    """Enter the passing of expiry dates into the ledger, as the fold reads no clock; give deliveries and events."""
    entries = {purchase.id: _lapsed(purchase) for purchase in run_out}
    keeper = Bookkeeper(connection, list(entries.values()), now_ms=now_ms)
    guilty: list[str] = []
    for id_, entry in entries.items():
        try:
            keeper.tell([entry], runtime.settings.apps[entry.app])
        except Exception as error:  # noqa: BLE001 - one purchase that breaks our code must not stop every round
            broke = type(error).__name__
            log.error("sweep.failed", entry=entry.id, error=broke)  # noqa: TRY400 - a traceback may quote the entry
            guilty.append(id_)
    written = keeper.write()
    lapses.put_off(connection, guilty, until=now_ms // 1000 + PUT_OFF_SECONDS)
    return written, keeper.events


def _lapsed(purchase: Purchase) -> Entry:
    expires_at_ms = (purchase.expires_at or 0) * 1000
    return Entry(
        id=identify.make("ent", "lapsed", purchase.id, expires_at_ms),
        kind=EntryKind.LAPSED,
        occurred_at_ms=expires_at_ms,
        # Aliases name it too, and while no charge is known only they do.
        subject=Subject(purchase_id=None if purchase.aliases else purchase.purchase_id, aliases=purchase.aliases),
        environment=purchase.environment,
        app=purchase.app,
        platform=purchase.platform,
        source=Source(type="clock"),
        facts=PurchaseFacts(expires_at_ms=expires_at_ms),
    )


def _report(found: Found) -> int:
    if found.notifications:
        log.info("sweep.requeued", count=len(found.notifications))
    if found.deliveries:
        log.info("sweep.redelivering", count=len(found.deliveries))
    if found.lapsed:
        log.info("sweep.lapsed", count=len(found.lapsed))
    return len(found)
