"""Process a set of notifications: read, normalize, decide, and commit everything they change in one transaction.

A set is the unit of work, a notification the unit of failure: one that cannot be understood is quarantined, one that
breaks our own code is tried again alone and dies visibly after `work.max_attempts`, and its neighbors never notice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from config.settings import App
from handlers import ids as identify
from handlers.errors import Rejected
from handlers.platforms import PLATFORMS
from schemas.entry import Entry, Said, Source
from schemas.meaning import Confirm, Ignored, Meaning, Normalized, Quarantined
from schemas.resources import Event, NotificationStatus
from worker.commit import Bookkeeper
from worker.runtime import QueueUnavailable, Runtime
from worker.store import inbox
from worker.store.engine import StoreUnavailable
from worker.store.inbox import Outcome, Stored

ALARMS = frozenset({"unsubscribed"})
"""Reasons of a quarantine after which notifications stop coming until somebody acts."""

LINES = {
    "processed": "process.decided",
    "ignored": "process.decided",
    "quarantined": "process.quarantined",
    "failed": "process.failed",
}
"""How the canonical line of a notification is called, by what became of it."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Understood:
    """A notification with what it means.

    Attributes:
        picked_at: Unix seconds at which a worker took it up.
        events: what followed from it, once decided.
        error: the name of what broke, if our own code did.
    """

    row: Stored
    picked_at: float
    status: NotificationStatus = "accepted"
    reason: str | None = None
    entries: tuple[Entry, ...] = ()
    events: tuple[Event, ...] = ()
    error: str | None = None


def process(runtime: Runtime, ids: Sequence[str]) -> None:
    """Process these notifications, each to its end; what is finished already is left alone.

    Args:
        runtime: the parts of this process.
        ids: our ids of notifications, `ntf_…`.

    Raises:
        StoreUnavailable: nothing was changed; the rows stay accepted and will be queued again.
    """
    understood = _understand_all(runtime, ids)
    if not understood:
        return  # a second hint at what is finished must not wait for the write lock
    try:
        _commit(runtime, understood)
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a row makes the database say, the others must go on
        if len(understood) < 2:
            _commit(runtime, [_broken(each, error) for each in understood])
            return
        # The database refused what one of them made. Each alone, and only the guilty one pays.
        for each in understood:
            process(runtime, [each.row.id])


def hint_deliveries(runtime: Runtime, deliveries: Sequence[str]) -> None:
    """Hint at deliveries; if the broker is away, the sweeper will."""
    try:
        if deliveries:
            runtime.queue.put_deliveries(deliveries)
    except QueueUnavailable:
        log.warning("queue.unavailable", queue="deliveries", waiting=len(deliveries))


def count_changes(runtime: Runtime, events: Iterable[Event]) -> None:
    """Count what changed for users, whoever said so: a platform, an app or the clock."""
    for event in events:
        if event.type.startswith("entitlement."):
            runtime.metrics.entitlement_changes.labels(event.type).inc()


def _understand_all(runtime: Runtime, ids: Sequence[str]) -> list[Understood]:
    """Read and normalize outside of any write transaction: nobody waits for our thinking."""
    with runtime.store.read() as connection:
        rows = inbox.load(connection, ids)
    return [_understand(runtime, row) for row in rows]


def _understand(runtime: Runtime, row: Stored) -> Understood:
    blank = Understood(row, picked_at=runtime.clock())
    try:
        meaning = _meaning(row, runtime.settings.apps.get(row.app))
        return _confirmed(runtime, blank, meaning) if isinstance(meaning, Confirm) else _tied(blank, meaning)
    except Rejected as refused:
        return replace(blank, status="quarantined", reason=refused.reason)
    except Exception as error:  # noqa: BLE001 - a row that breaks us is kept, counted and shown, never lost
        return _broken(blank, error)


def _meaning(row: Stored, app: App | None) -> Normalized:
    section = app.platform(row.platform) if app else None
    if section is None:
        return Quarantined("not_configured")
    platform = PLATFORMS[row.platform]
    meaning: Normalized = platform.normalize(platform.read(row.body, row.headers), {}, settings=section)
    return meaning


def _confirmed(runtime: Runtime, blank: Understood, confirm: Confirm) -> Understood:
    """Confirm a subscription if the app wants that done; else an operator finds token and address in the API."""
    amazon = runtime.settings.apps[blank.row.app].amazon
    if amazon is not None and amazon.auto_confirm and runtime.visit(confirm):
        return replace(blank, status="ignored", reason="subscription_confirmed")
    return replace(blank, status="quarantined", reason="confirm_subscription")


def _tied(blank: Understood, meaning: Meaning | Ignored | Quarantined) -> Understood:
    """Tie what was said to where it was said."""
    match meaning:
        case Meaning(said=said, unlearned=unlearned):
            entries = tuple(_entry(blank.row, one, position) for position, one in enumerate(said))
            missing = ",".join(sorted({lookup.kind for lookup in unlearned}))
            reason = f"not_looked_up:{missing}" if missing else None
            return replace(blank, status="processed", reason=reason, entries=entries)
        case Ignored(reason=reason):
            return replace(blank, status="ignored", reason=reason)
        case Quarantined(reason=reason):
            return replace(blank, status="quarantined", reason=reason)
        case _:
            assert_never(meaning)


def _entry(row: Stored, said: Said, position: int) -> Entry:
    source = Source(notification=row.id, notification_id=row.notification_id, type=row.type)
    entry_id = identify.make("ent", row.id, position)
    return Entry(**dict(said), id=entry_id, app=row.app, platform=row.platform, source=source)


def _commit(runtime: Runtime, understood: Sequence[Understood]) -> None:
    """Decide one after the other, and write it all at once; then say so."""
    now = runtime.clock()
    with runtime.store.write() as connection:
        claimed = inbox.claim(connection, [each.row.id for each in understood])
        mine = [each for each in understood if each.row.id in claimed]
        keeper = Bookkeeper(connection, [e for each in mine for e in each.entries], now_ms=int(now * 1000))
        decided = [_decide(runtime, keeper, each) for each in mine]
        deliveries = keeper.write()
        inbox.finish(connection, [_outcome(runtime, each, now) for each in decided], now_ms=int(now * 1000))
    for each in decided:
        _report(runtime, each)
    hint_deliveries(runtime, deliveries)


def _decide(runtime: Runtime, keeper: Bookkeeper, each: Understood) -> Understood:
    if not each.entries:
        return each
    try:
        return replace(each, events=keeper.tell(each.entries, runtime.settings.apps[each.row.app]))
    except Exception as error:  # noqa: BLE001 - as in `_understand`
        return _broken(each, error)


def _broken(each: Understood, error: Exception) -> Understood:
    """Keep what broke our own code for another try. The error's text may quote the body, so only its name is kept."""
    return replace(each, status="accepted", entries=(), events=(), error=type(error).__name__)


def _outcome(runtime: Runtime, each: Understood, now: float) -> Outcome:
    row = each.row
    attempts = row.attempts + 1
    dead = each.error is not None and attempts >= runtime.settings.work.max_attempts
    since = row.received_at_ms / 1000
    stations = {
        **row.stations,
        "picked_up": round((each.picked_at - since) * 1000, 3),
        "decided": round((runtime.clock() - since) * 1000, 3),
    }
    reason = f"error:{each.error}" if each.error else each.reason
    retry_at = now + runtime.settings.work.sweep_after_seconds * 2 ** min(attempts, 10)
    return Outcome(row.id, "dead" if dead else each.status, reason, attempts, stations, int(retry_at * 1000))


def _report(runtime: Runtime, each: Understood) -> None:
    """Write the canonical line of one notification, and count it."""
    row, metrics, now = each.row, runtime.metrics, runtime.clock()
    status = "failed" if each.error else each.status
    metrics.processed.labels(row.platform, status).inc()
    metrics.process_seconds.labels(row.platform).observe(now - each.picked_at)
    metrics.receive_to_effect_seconds.labels(row.platform).observe(now - row.received_at_ms / 1000)
    count_changes(runtime, each.events)
    alarming = each.error is not None or each.reason in ALARMS
    write = log.error if alarming else log.warning if status == "quarantined" else log.info
    write(
        LINES[status],
        notification=row.id,
        platform=row.platform,
        app=row.app,
        type=row.type,
        status=status,
        reason=f"error:{each.error}" if each.error else each.reason,
        attempt=row.attempts + 1,
        events=[event.type for event in each.events],
        ms=round((now - each.picked_at) * 1000, 2),
    )
