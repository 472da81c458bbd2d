"""Process a set of notifications: read, normalize, decide, and commit everything they change in one transaction.

A set is the unit of work, a notification the unit of failure: one that cannot be understood is quarantined, one that
breaks our own code is tried again alone and dies visibly after `work.max_attempts`, and its neighbors never notice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog
from sqlalchemy import Connection

from handlers.revise import Origin, revise
from schemas.entry import Entry
from schemas.resources import Event
from worker.commit import Bookkeeper
from worker.runtime import QueueUnavailable, Runtime
from worker.store import inbox
from worker.store.engine import StoreUnavailable
from worker.store.inbox import Claimed, Outcome
from worker.understand import Understood, broken, understand

ALARMS = frozenset({"unsubscribed"})
"""Reasons of a quarantine after which notifications stop coming until somebody acts."""

LINES = {
    "processed": "process.decided",
    "ignored": "process.decided",
    "looking_up": "process.looking_up",
    "quarantined": "process.quarantined",
    "failed": "process.failed",
}
"""How the canonical line of a notification is called, by what became of it."""

PARTLY = "partly_decided"
"""The station of a notification that took effect while something it needs was not looked up yet. It goes once all is
known: what stays marked may be understood anew, all else was understood for good."""

LOOKED_UP = "looked_up:"
"""How the stations of a notification begin that was told something by its platform's API: `looked_up:orders`."""

MONEY_CONTRADICTS = "money_contradicts"
"""Why a notification is quarantined with which more was refunded than was paid, or in another currency."""

CONTRADICTS = "contradicts"
"""The station of a notification that completed a contradiction of money. While that stands, so does the quarantine,
however often it is replayed; of two that contradict each other, the earlier one is not blamed."""

log = structlog.get_logger()


def process(runtime: Runtime, ids: Sequence[str]) -> None:
    """Process these notifications, each to its end; what is finished already is left alone.

    Args:
        runtime: the parts of this process.
        ids: our ids of notifications, `ntf_…`.

    Raises:
        StoreUnavailable: nothing was changed; the rows stay accepted and will be queued again.
    """
    with runtime.store.read() as connection:
        rows = inbox.load(connection, ids)
    if not rows:
        return  # a second hint at what is finished must not wait for the write lock
    understood = understand(runtime, rows)
    try:
        _commit(runtime, understood)
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a row makes the database say, the others must go on
        if len(understood) < 2:
            _commit(runtime, [broken(each, error) for each in understood])
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


def _commit(runtime: Runtime, understood: Sequence[Understood]) -> None:
    """Decide one after the other, and write it all at once; then say so."""
    now = runtime.clock()

    def change(connection: Connection) -> tuple[list[Understood], list[str]]:
        claimed = inbox.claim(connection, [each.row.id for each in understood])
        # Whoever made another attempt meanwhile knew as much, and wrote it: to decide on the older state would undo it.
        mine = [e for e in understood if e.row.id in claimed and e.row.attempts == claimed[e.row.id].attempts]
        held = inbox.said_before(connection, [each.row.id for each in mine])
        tied = [_tied(each, claimed[each.row.id], held.get(each.row.id, ())) for each in mine]
        keeper = Bookkeeper(connection, [e for each in tied for e in each.entries], now_ms=int(now * 1000))
        decided = [_decide(runtime, keeper, each) for each in tied]
        inbox.finish(connection, [_outcome(runtime, each, now) for each in decided], now_ms=int(now * 1000))
        return decided, keeper.write()

    decided, deliveries = runtime.store.change(change)
    for each in decided:
        _report(runtime, each)
    hint_deliveries(runtime, deliveries)


def _tied(each: Understood, claimed: Claimed, held: Sequence[Entry]) -> Understood:
    """Tie what is said to where it was said: as the first word, as a better one, or as a repetition that adds nothing.

    What was understood for good is not said anew, however often it is replayed: a platform's API answers for the
    present, and tells nothing of a moment that is long past.
    """
    if each.row.stations != claimed.stations:
        each = replace(each, row=replace(each.row, stations=claimed.stations))
    row = each.row
    if each.error or each.status == "quarantined":
        return each
    if held and PARTLY not in claimed.stations:
        done = each if each.status == "ignored" else replace(each, status="processed", reason=None)
        return replace(done, entries=tuple(held), repeated=True, partly=False)
    origin = Origin(row.app, row.platform, row.id, row.notification_id, row.type)
    knew = {station.removeprefix(LOOKED_UP) for station in claimed.stations if station.startswith(LOOKED_UP)}
    # Whoever knows less than the last time has nothing to add.
    better = not held or not each.partly or knew <= each.answered
    entries = revise(each.said, origin, held) if better else ()
    return replace(each, entries=entries or tuple(held), repeated=not entries)


def _decide(runtime: Runtime, keeper: Bookkeeper, each: Understood) -> Understood:
    if not each.entries:
        return each
    try:
        decision = keeper.tell(each.entries, runtime.settings.apps[each.row.app])
    except Exception as error:  # noqa: BLE001 - as in `understand`
        return broken(each, error)
    each = replace(each, events=decision.events)
    standing = keeper.contradictions(each.entries) if CONTRADICTS in each.row.stations else ()
    wrong = tuple(dict.fromkeys((*standing, *decision.contradictions)))
    if not wrong:
        return each
    return replace(each, status="quarantined", reason=MONEY_CONTRADICTS, detail="; ".join(wrong))


def _outcome(runtime: Runtime, each: Understood, now: float) -> Outcome:
    row, settings = each.row, runtime.settings
    attempts = row.attempts + 1
    # What was asked for again and again has not failed so often.
    attempts_max = settings.work.max_attempts + (settings.lookups.max_attempts if PARTLY in row.stations else 0)
    retry_at = each.retry_at or now + settings.work.sweep_after_seconds * 2 ** min(attempts, 10)
    return Outcome(
        id=row.id,
        status="dead" if each.error and attempts >= attempts_max else each.status,
        reason=f"error:{each.error}" if each.error else each.reason,
        detail=each.detail,
        attempts=attempts,
        stations=_stations(runtime, each),
        retry_at_ms=int(retry_at * 1000),
    )


def _stations(runtime: Runtime, each: Understood) -> dict[str, float]:
    """Write down when it came how far, and whether something is left to learn."""
    since = each.row.received_at_ms / 1000
    picked_up, decided = (round((at - since) * 1000, 3) for at in (each.picked_at, runtime.clock()))
    stations = {**each.row.stations, "picked_up": picked_up, "decided": decided}
    if each.error:
        return stations
    learned = {f"{LOOKED_UP}{kind}": decided for kind in sorted(each.answered)}
    known = {**learned, **{name: at for name, at in stations.items() if name not in (PARTLY, CONTRADICTS)}}
    if each.reason == MONEY_CONTRADICTS and each.entries:
        known[CONTRADICTS] = stations.get(CONTRADICTS, decided)
    return {PARTLY: stations.get(PARTLY, decided), **known} if each.partly else known


def _report(runtime: Runtime, each: Understood) -> None:
    """Write the canonical line of one notification, and count it."""
    row, metrics, now = each.row, runtime.metrics, runtime.clock()
    status = "failed" if each.error else "looking_up" if each.status == "accepted" else each.status
    metrics.processed.labels(row.platform, status).inc()
    metrics.process_seconds.labels(row.platform).observe(now - each.picked_at)
    if PARTLY not in row.stations:  # else it took effect long ago
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
