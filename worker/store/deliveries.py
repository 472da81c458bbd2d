"""What became of deliveries, and how they are put in line again: one, those of a time, or what was missed.

Whatever is put in line again is pending, with its schedule before it; the attempts so far stay on record. Who may go
first is decided where deliveries are claimed: an older event that is told again holds back its customer's later ones.

That an event was told is known by its delivery alone. So while `missed_after` of a subscriber stands, its deliveries of
events behind it are not forgotten (`worker/store/retention.py`); `settle_missed` ends that once all was made up for.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, literal, select, tuple_, update

from handlers import ids as identify
from handlers.outgoing import matches
from schemas.deliveries import Delivery, DeliveryAttempt, DeliveryStatus
from worker.store import bulk, listening
from worker.store.feed import SKEW_MS, newest_position
from worker.store.tables import PENDING, attempts, deliveries, events, subscribers

BATCH_MAX = 500
SETTLED_MS = 60_000
"""A transaction that began before a subscriber was enabled, and so queued nothing for it, is over after this."""

After = tuple[int, str] | None
"""`created_at_ms` and `id` of the last one seen; None: from the beginning."""

_THERE = "SELECT id FROM deliveries WHERE id IN ?"

_d = deliveries.c
_shown = select(deliveries, events.c.type).join_from(deliveries, events, events.c.id == _d.event_id)


@dataclass(frozen=True, slots=True)
class Batch:
    """A stretch of deliveries that is in line again.

    Attributes:
        ids: what is worth a hint.
        queued: how many of them were not in line before.
        after: where the next batch begins; None: there is none.
    """

    ids: Sequence[str]
    queued: int
    after: After = None


@dataclass(frozen=True, slots=True)
class Missed:
    """A stretch of the feed that a subscriber was not told of and is in line now.

    Attributes:
        has_more: whether the feed goes on.
    """

    ids: Sequence[str] = ()
    queued: int = 0
    has_more: bool = False


def list_deliveries(
    connection: Connection,
    subscriber: str,
    *,
    status: DeliveryStatus | None,
    type_: str | None,
    after: After,
    limit: int,
) -> list[tuple[int, Delivery]]:
    """List deliveries of a subscriber, newest first, each with its attempts and the millisecond it was made in."""
    rows = [
        row
        for part in _parts(status)
        for row in connection.execute(_page(_shown.where(_d.subscriber == subscriber, part), type_, after, limit))
    ]
    newest = sorted(rows, key=lambda row: (row.created_at_ms, row.id), reverse=True)[:limit]
    made = _attempts(connection, [row.id for row in newest])
    return [(row.created_at_ms, _delivery(row, made.get(row.id, ()))) for row in newest]


def find_delivery(connection: Connection, subscriber: str, id_: str) -> Delivery | None:
    """Find one delivery of a subscriber; one whose event is forgotten is, too."""
    row = connection.execute(_shown.where(_d.id == id_, _d.subscriber == subscriber)).one_or_none()
    return None if row is None else _delivery(row, _attempts(connection, [id_]).get(id_, ()))


def retry(connection: Connection, ids: Sequence[str], now_ms: int) -> int:
    """Put deliveries in line again, whatever became of them; one that is being attempted right now is."""
    free = update(deliveries).where(_d.id.in_(ids), _d.claimed_until_ms <= now_ms)
    again = {"status": "pending", "attempts": 0, "next_attempt_ms": now_ms, "finished_at_ms": None}
    return connection.execute(free.values(**again, claimed_until_ms=0, retried_at_ms=now_ms)).rowcount


def retry_range(
    connection: Connection,
    subscriber: str,
    *,
    status: DeliveryStatus,
    since_ms: int,
    until_ms: int,
    after: After,
    now_ms: int,
) -> Batch:
    """Put a batch of the deliveries that were made in a time, and stand so, in line again; newest first."""
    (part,) = _parts(status)
    made_then = and_(_d.created_at_ms >= since_ms, _d.created_at_ms < until_ms)
    found = connection.execute(
        _page(_shown.where(_d.subscriber == subscriber, part, made_then), None, after, BATCH_MAX + 1)
    ).all()
    ids = [row.id for row in found[:BATCH_MAX]]
    queued = retry(connection, ids, now_ms) if ids else 0
    last = found[BATCH_MAX - 1] if len(found) > BATCH_MAX else None
    return Batch(ids, queued, None if last is None else (last.created_at_ms, last.id))


def queue_missed(connection: Connection, subscriber: str, now_ms: int) -> Missed:
    """Put a batch of what a subscriber was not told of in line, oldest first, and move on where it missed from.

    What it was told of is in line or finished already, and stays as it is.
    """
    whom = connection.execute(select(subscribers).where(subscribers.c.id == subscriber)).one()
    if whom.missed_after is None:
        return Missed()
    end = newest_position(connection)
    found = connection.execute(_not_told(whom, end).limit(BATCH_MAX + 1)).all()
    batch, has_more = found[:BATCH_MAX], len(found) > BATCH_MAX
    types = json.loads(whom.types)
    rows = [_new(event, subscriber) for event in batch if matches(types, event.type)]
    queued = listening.put(connection, rows, now_ms)()
    _move_on(connection, whom, batch[-1].position if has_more else end, now_ms, has_more=has_more)
    return Missed([row[0] for row in rows], queued, has_more=has_more)


def settle_missed(connection: Connection, now_ms: int, *, limit: int) -> int:
    """Forget from where on subscribers missed that were told all of it, up to when they were enabled again.

    One that was not asked for stays for as long as it takes, and so does that of a subscriber that is disabled.

    Args:
        connection: a transaction.
        now_ms: Unix milliseconds.
        limit: how many events are looked at for each.

    Returns:
        How many may forget.
    """
    s = subscribers.c
    again = select(subscribers).where(s.missed_after.is_not(None), s.state != "disabled")
    return sum(_settle_one(connection, whom, now_ms, limit) for whom in connection.execute(again).all())


def _settle_one(connection: Connection, whom: Any, now_ms: int, limit: int) -> bool:
    """Go on from where it missed to the first event that it was not told; tell whether there is none."""
    if not _is_settled(whom, now_ms):
        return False
    e = events.c
    since = select(e.position, e.id, e.type, e.app, e.environment, e.timestamp_ms).where(e.position > whom.missed_after)
    found = connection.execute(since.order_by(e.position).limit(limit)).all()
    until_ms = _settled_ms(whom) + SKEW_MS
    doubtful = list(takewhile(lambda event: event.timestamp_ms < until_ms, found))
    types = json.loads(whom.types)
    made = {identify.make("dlv", event.id, whom.id): event.position for event in doubtful if _wants(whom, types, event)}
    for (id_,) in bulk.ask(connection, _THERE, made) if made else ():
        made.pop(id_, None)
    if made:
        told = [event.position for event in doubtful if event.position < min(made.values())]
        if told:
            _set_missed(connection, whom, told[-1])
        return False
    has_more = len(doubtful) == limit
    return _set_missed(connection, whom, doubtful[-1].position if has_more else None) and not has_more


def _wants(whom: Any, types: Sequence[str], event: Any) -> bool:
    here = whom.app == event.app and whom.environment in (None, event.environment)
    return here and matches(types, event.type)


def _not_told(whom: Any, end: int) -> Select[Any]:
    """Ask for the events of its app and environment that came since."""
    e = events.c
    since = select(e.position, e.id, e.type, e.app, e.user_id, e.sequence).where(
        e.position > whom.missed_after, e.position <= end, e.app == whom.app
    )
    return (since if whom.environment is None else since.where(e.environment == whom.environment)).order_by(e.position)


def _new(event: Any, subscriber: str) -> tuple[Any, ...]:
    """Make the delivery that there would have been."""
    id_ = identify.make("dlv", event.id, subscriber)
    return (id_, event.id, subscriber, event.app, event.user_id, event.sequence, 0)


def _move_on(connection: Connection, whom: Any, position: int, now_ms: int, *, has_more: bool) -> None:
    """Remember up to where the feed was made up for; forget it once nothing can be missed any more."""
    may_forget = whom.state != "disabled" and _is_settled(whom, now_ms) and not has_more
    _set_missed(connection, whom, None if may_forget else position)


def _settled_ms(whom: Any) -> int:
    """Tell from when on whatever happens is queued for it, or is not wanted."""
    settled_ms: int = whom.changed_at * 1000 + SETTLED_MS
    return settled_ms


def _is_settled(whom: Any, now_ms: int) -> bool:
    return _settled_ms(whom) <= now_ms


def _set_missed(connection: Connection, whom: Any, position: int | None) -> bool:
    """Remember from where it missed, unless that or its state was changed meanwhile; tell whether it was not."""
    s = subscribers.c
    as_seen = s.missed_after == whom.missed_after, s.state == whom.state, s.changed_at == whom.changed_at
    mine = update(subscribers).where(s.id == whom.id, *as_seen)
    return connection.execute(mine.values(missed_after=position)).rowcount > 0


def _parts(status: DeliveryStatus | None) -> list[ColumnElement[bool]]:
    """Name the parts of the table, by the index that each is found in."""
    finished = _d.status != PENDING
    if status is None:
        return [finished, _d.status == PENDING]
    return [_d.status == PENDING] if status == "pending" else [and_(finished, _d.status == status)]


def _page(statement: Select[Any], type_: str | None, after: After, limit: int) -> Select[Any]:
    if type_ is not None:
        statement = statement.where(events.c.type == type_)
    if after is not None:
        statement = statement.where(tuple_(_d.created_at_ms, _d.id) < tuple_(*map(literal, after)))
    return statement.order_by(_d.created_at_ms.desc(), _d.id.desc()).limit(limit)


def _attempts(connection: Connection, ids: Sequence[str]) -> Mapping[str, list[DeliveryAttempt]]:
    made: dict[str, list[DeliveryAttempt]] = {}
    a = attempts.c
    for row in connection.execute(select(attempts).where(a.delivery.in_(ids)).order_by(a.id)):
        made.setdefault(row.delivery, []).append(_attempt(row))
    return made


def _attempt(row: Any) -> DeliveryAttempt:
    return DeliveryAttempt(
        attempted_at=row.attempted_at_ms // 1000,
        duration_ms=row.duration_ms,
        status_code=row.status_code,
        error=row.error,
        response=row.response,
    )


def _delivery(row: Any, made: Iterable[DeliveryAttempt]) -> Delivery:
    pending = row.status == "pending"
    return Delivery(
        id=row.id,
        subscriber=row.subscriber,
        event=row.event_id,
        type=row.type,
        app=row.app,
        user_id=row.user_id,
        sequence=row.sequence,
        status=row.status,
        attempts=tuple(made),
        next_attempt_at=row.next_attempt_ms // 1000 if pending else None,
        created_at=row.created_at_ms // 1000,
        finished_at=_seconds(row.finished_at_ms),
        retried_at=_seconds(row.retried_at_ms),
    )


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
