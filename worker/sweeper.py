"""Find what fell through: accepted and not finished, due and not delivered, run out and not noticed.

The queue is a hint and may lose everything. This is what makes that harmless.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from handlers import ids as identify
from schemas.entry import Entry, EntryKind, PurchaseFacts, Source, Subject
from schemas.resources import Event, Purchase
from worker.commit import Bookkeeper
from worker.process import count_changes, hint_deliveries
from worker.runtime import QueueUnavailable, Runtime
from worker.store import answers, inbox, lapses, locks, outbox, setback, subscribers
from worker.store.deliveries import settle_missed
from worker.store.outbox import Owners
from worker.store.postgresql import end_silent
from worker.store.retention import BEGINNING, Pruned, prune_deliveries, prune_events

BATCH_MAX = 500
TIDIED_MAX = 10_000
PRUNED_MAX = 1_000
DAY_MS = 86_400_000
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


@dataclass(frozen=True, slots=True)
class Round:
    """How far one round of forgetting is: after which event and which attempt it goes on; None: nothing is left."""

    events: int | None = BEGINNING
    attempts: int | None = BEGINNING


NEW_ROUND = Round()


def sweep(runtime: Runtime) -> int:
    """Do one round, if no other process is at it; return how many things it found.

    A round that finds nothing writes nothing: an idle system is idle.

    Raises:
        StoreUnavailable: nothing was changed; the next round finds the same.
    """
    with runtime.store.read() as connection:
        if not _look(runtime, connection, int(runtime.clock() * 1000)):
            return 0

    def change(connection: Connection) -> tuple[Found, Owners, list[Event]] | None:
        if not _mine(connection, "sweeper"):
            return None
        # Looked at again: this process may have been stopped for long before it got the lock.
        now_ms = int(runtime.clock() * 1000)
        found = _look(runtime, connection, now_ms)
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


def forget_future(runtime: Runtime) -> int:
    """Make due what waits for a moment that a clock showed before it was set back; return how many things that were.

    Raises:
        StoreUnavailable: nothing was changed.
    """
    now_ms, sweep_after_ms = int(runtime.clock() * 1000), int(runtime.settings.work.sweep_after_seconds * 1000)

    def change(connection: Connection) -> int:
        return setback.forget_future(connection, now_ms=now_ms, sweep_after_ms=sweep_after_ms)

    if found := runtime.store.change(change):
        log.warning("sweep.clock_set_back", count=found)
    return found


def tidy(runtime: Runtime) -> int:
    """Forget what has outlived its purpose; return how many rows that were. Once an hour is often enough."""
    now = runtime.clock()
    with runtime.store.write() as connection:
        forgotten = answers.forget_old(connection, now_ms=int(now * 1000))
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
    now_ms, kept = int(runtime.clock() * 1000), runtime.settings.store
    events_after = so_far.events if kept.keep_events_days else None
    attempts_after = so_far.attempts if kept.keep_deliveries_days else None
    if events_after is None and attempts_after is None:
        return None

    def change(connection: Connection) -> tuple[Pruned, Pruned]:
        if not _mine(connection, "retention"):
            return Pruned(), Pruned()
        return (
            _batch(prune_events, connection, now_ms - kept.keep_events_days * DAY_MS, events_after),
            _batch(prune_deliveries, connection, now_ms - kept.keep_deliveries_days * DAY_MS, attempts_after),
        )

    of_events, of_attempts = runtime.store.change(change)
    events, deliveries = of_events.events, of_events.deliveries + of_attempts.deliveries
    if events or deliveries:
        log.info("sweep.pruned", events=events, deliveries=deliveries)
    further = Round(of_events.end, of_attempts.end)
    return None if further == Round(None, None) else further


def _batch(forget: Callable[..., Pruned], connection: Connection, before_ms: int, after: int | None) -> Pruned:
    return Pruned() if after is None else forget(connection, before_ms=before_ms, limit=PRUNED_MAX, after=after)


def _look(runtime: Runtime, connection: Connection, now_ms: int) -> Found:
    return Found(
        notifications=inbox.overdue(connection, now_ms=now_ms, limit=BATCH_MAX),
        deliveries=outbox.due(connection, now_ms=now_ms, limit=BATCH_MAX),
        lapsed=lapses.run_out(connection, runtime.settings.apps, now=now_ms // 1000, limit=BATCH_MAX),
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
    entries = [_lapsed(purchase) for purchase in run_out]
    keeper = Bookkeeper(connection, entries, now_ms=now_ms)
    for entry in entries:
        try:
            keeper.tell([entry], runtime.settings.apps[entry.app])
        except Exception as error:  # noqa: BLE001 - one purchase that breaks our code must not stop every round
            broke = type(error).__name__
            log.error("sweep.failed", entry=entry.id, error=broke)  # noqa: TRY400 - a traceback may quote the entry
    return keeper.write(), keeper.events


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
