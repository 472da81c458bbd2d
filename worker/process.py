"""Process a set of notifications: read, normalize, decide, and commit everything they change in one transaction.

A set is the unit of work, a notification the unit of failure: one that cannot be understood is quarantined, one that
breaks our own code is tried again alone and dies visibly after `work.max_attempts`, and its neighbors never notice.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import structlog
from sqlalchemy import Connection

from schemas.resources import Event
from worker.commit import Bookkeeper
from worker.conclude import CONTRADICTS, MONEY_CONTRADICTS, Decided, Tied, outcome, report, tie
from worker.runtime import QueueUnavailable, Runtime
from worker.store import erasing, inbox
from worker.store.engine import StoreUnavailable
from worker.store.inbox import Stored
from worker.store.outbox import Claim, Owners
from worker.understand import Understood, broken, understand, understand_unasked

log = structlog.get_logger()


class _Done(NamedTuple):
    """What a transaction came to; `asking`: to nothing, as somebody must be asked before these are understood."""

    decided: Sequence[Decided] = ()
    deliveries: Owners = MappingProxyType({})
    claims: Sequence[Claim] = ()
    asking: Sequence[Stored] = ()


def process(runtime: Runtime, ids: Sequence[str]) -> None:
    """Process these notifications, each to its end; what is finished already is left alone.

    Args:
        runtime: the parts of this process.
        ids: our ids of notifications, `ntf_…`.

    Raises:
        StoreUnavailable: nothing was changed; the rows stay accepted and will be queued again.
    """
    understood: Sequence[Understood] = ()
    if runtime.store.writers_queue:
        with runtime.store.look() as connection:
            rows = inbox.load(connection, ids)
        if not rows:
            return  # a second hint at what is finished must not wait for the write lock
        # Nor may all others wait for our thinking.
        understood, ids = understand(runtime, rows), [row.id for row in rows]
    try:
        asking = _commit(runtime, ids, understood)
        if asking:
            understood, ids = understand(runtime, asking), [row.id for row in asking]
            _commit(runtime, ids, understood)
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a row makes the database say, the others must go on
        if len(ids) < 2:
            _commit(runtime, ids, understood, broke=error)
            return
        # The database refused what one of them made. Each alone, and only the guilty one pays.
        for each in ids:
            process(runtime, [each])


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


def _commit(
    runtime: Runtime, ids: Sequence[str], understood: Sequence[Understood] = (), *, broke: Exception | None = None
) -> Sequence[Stored]:
    """Understand what is not yet understood, decide one after the other, and write it all at once; then say so.

    Args:
        runtime: the parts of this process.
        ids: our ids of notifications.
        understood: those of them that are understood already.
        broke: how writing what it says broke, of one that is alone: it says nothing, and counts as a failed attempt.

    Returns:
        Those that cannot be understood before somebody is asked: nothing was done, and none of them is held.
    """
    now = runtime.clock()
    before = {each.row.id: each for each in understood}

    def change(connection: Connection) -> _Done:
        claiming = inbox.claim(connection, ids)
        saying = inbox.said_before(connection, ids)  # both are asked before either is read
        claimed = claiming()
        known = _known(runtime, claimed, before)
        if known is None:
            return _Done(asking=list(claimed.values()))
        # Whoever made another attempt meanwhile knew as much, and wrote it: to decide on the older state would undo it.
        mine = [_of_row(known[id_], row) for id_, row in claimed.items() if known[id_].row.attempts == row.attempts]
        if broke is not None:
            mine = [each._replace(said=(), verdict=broken(each.verdict, broke)) for each in mine]
        held = saying()
        return _decide_all(runtime, connection, [tie(each, held.get(each.row.id, ())) for each in mine], now)

    done = runtime.store.change(change)
    if done.claims:
        runtime.messenger.begin(_traced(done.decided, done.claims) if runtime.traces.on else done.claims)
    hint_deliveries(runtime, done.deliveries)
    report(runtime, done.decided)
    count_changes(runtime, [event for each in done.decided for event in each.events])
    return done.asking


def _of_row(each: Understood, row: Stored) -> Understood:
    """Say the same of the row as it was claimed; mostly that is the one that was read."""
    return each if each.row is row else each._replace(row=row)


def _known(
    runtime: Runtime, claimed: Mapping[str, Stored], before: Mapping[str, Understood]
) -> Mapping[str, Understood] | None:
    """Say what each of these means, as far as nobody did before; None: somebody must be asked."""
    here = understand_unasked(runtime, [row for id_, row in claimed.items() if id_ not in before])
    return None if here is None else {**before, **{each.row.id: each for each in here}}


def _decide_all(runtime: Runtime, connection: Connection, tied: Sequence[Tied], now: float) -> _Done:
    """Decide one after the other, and write it all at once."""
    if not tied:
        return _Done()
    said = [entry for each in tied for entry in each.entries]
    keeper = Bookkeeper(connection, said, now_ms=int(now * 1000), room=runtime.messenger.room)
    decided = [_decide(runtime, keeper, each) for each in tied]
    inbox.finish(connection, [outcome(runtime, each, now) for each in decided], now_ms=int(now * 1000))
    if keeper.erased:
        erasing.empty(connection, keeper.erased)
    return _Done(decided, keeper.write(), keeper.claims)


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
