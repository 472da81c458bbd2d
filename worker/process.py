"""Process a set of notifications: read, normalize, decide, and commit everything they change in one transaction.

A set is the unit of work, a notification the unit of failure: one that cannot be understood is quarantined, one that
breaks our own code is tried again alone and dies visibly after `work.max_attempts`, and its neighbors never notice.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import structlog
from sqlalchemy import Connection

from schemas.resources import Event
from worker.commit import Bookkeeper
from worker.conclude import CONTRADICTS, MONEY_CONTRADICTS, Decided, Tied, outcome, report, tie
from worker.runtime import QueueUnavailable, Runtime
from worker.store import erasing, inbox
from worker.store.engine import StoreUnavailable
from worker.store.outbox import Claim, Owners
from worker.understand import Understood, broken, understand

log = structlog.get_logger()


def process(runtime: Runtime, ids: Sequence[str]) -> None:
    """Process these notifications, each to its end; what is finished already is left alone.

    Args:
        runtime: the parts of this process.
        ids: our ids of notifications, `ntf_…`.

    Raises:
        StoreUnavailable: nothing was changed; the rows stay accepted and will be queued again.
    """
    with runtime.store.look() as connection:
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
            _commit(runtime, [each._replace(said=(), verdict=broken(each.verdict, error)) for each in understood])
            return
        # The database refused what one of them made. Each alone, and only the guilty one pays.
        for each in understood:
            process(runtime, [each.row.id])


def hint_deliveries(runtime: Runtime, deliveries: Collection[str]) -> None:
    """Hint at deliveries, best with their owners; if the broker is away, the sweeper will."""
    try:
        if deliveries:
            runtime.queue.put_deliveries(deliveries)
    except QueueUnavailable:
        log.warning("queue.unavailable", queue="deliveries", waiting=len(deliveries))


def count_changes(runtime: Runtime, events: Iterable[Event]) -> None:
    """Count what changed for users, whoever said so: a platform, an app or the clock."""
    changes = Counter(event.type for event in events if event.type.startswith("entitlement."))
    for name, count in changes.items():
        runtime.metrics.entitlement_changes.labels(name).inc(count)


def _commit(runtime: Runtime, understood: Sequence[Understood]) -> None:
    """Decide one after the other, and write it all at once; then say so."""
    now = runtime.clock()

    def change(connection: Connection) -> tuple[list[Decided], Owners, Sequence[Claim]]:
        ids = [each.row.id for each in understood]
        claiming = inbox.claim(connection, ids)
        saying = inbox.said_before(connection, ids)  # both are asked before either is read
        claimed = claiming()
        # Whoever made another attempt meanwhile knew as much, and wrote it: to decide on the older state would undo it.
        mine = [e for e in understood if e.row.id in claimed and e.row.attempts == claimed[e.row.id].attempts]
        held = saying()
        tied = [tie(each, claimed[each.row.id], held.get(each.row.id, ())) for each in mine]
        said = [entry for each in tied for entry in each.entries]
        keeper = Bookkeeper(connection, said, now_ms=int(now * 1000), room=runtime.messenger.room)
        decided = [_decide(runtime, keeper, each) for each in tied]
        inbox.finish(connection, [outcome(runtime, each, now) for each in decided], now_ms=int(now * 1000))
        if keeper.erased:
            erasing.empty(connection, keeper.erased)
        return decided, keeper.write(), keeper.claims

    decided, deliveries, claims = runtime.store.change(change)
    if claims:
        runtime.messenger.begin(_traced(decided, claims) if runtime.traces.on else claims)
    hint_deliveries(runtime, deliveries)
    report(runtime, decided)
    count_changes(runtime, [event for each in decided for event in each.events])


def _traced(decided: Iterable[Decided], claims: Iterable[Claim]) -> list[Claim]:
    """Have deliveries go on with the trace of the notification that caused their event."""
    causes = {event.id: each.tied.understood.row.traceparent for each in decided for event in each.events}
    return [replace(claim, traceparent=causes[claim.event_id]) for claim in claims]


def _decide(runtime: Runtime, keeper: Bookkeeper, each: Tied) -> Decided:
    if not each.entries:
        return Decided(each, each.verdict)
    try:
        decision = keeper.tell(each.entries, runtime.settings.apps[each.understood.row.app])
    except Exception as error:  # noqa: BLE001 - as in `understand`
        return Decided(each, broken(each.verdict, error))
    standing = keeper.contradictions(each.entries) if CONTRADICTS in each.stations else ()
    wrong = tuple(dict.fromkeys((*standing, *decision.contradictions)))
    if not wrong:
        return Decided(each, each.verdict, decision.events)
    contradicted = each.verdict._replace(status="quarantined", reason=MONEY_CONTRADICTS, detail="; ".join(wrong))
    return Decided(each, contradicted, decision.events)
