"""Let nothing wait for a moment that was chosen while a clock was ahead and has been set back since.

Times in the tables are the clock's of the machine that wrote them. One that was an hour ahead leaves rows behind that
are due in an hour, or claimed for an hour. What tells them from others is that nobody who reads the right time could
have written them. Locks go by the database's clock, and see to it themselves (`worker/store/locks.py`).
"""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, update

from worker.store.outbox import LEASE_MS_MAX
from worker.store.tables import ACCEPTED, PENDING, deliveries, events, notifications, subscribers

LATELY = 1_000
"""So many of the newest events are looked at: more than come between two looks of a busy worker, or in an idle hour."""


def forget_future(connection: Connection, *, now_ms: int) -> int:
    """Make due what would wait in vain, and let nobody rest; return how many rows that were.

    A subscriber's wish to rest is forgotten with its pace: whoever still wants to rest says so again.

    Args:
        connection: a transaction.
        now_ms: Unix milliseconds.
    """
    s = subscribers.c
    awake = update(subscribers).where(s.not_before_ms > now_ms).values(not_before_ms=now_ms)
    return make_due(connection, now_ms=now_ms) + connection.execute(awake).rowcount


def make_due(connection: Connection, *, now_ms: int) -> int:
    """Make due what was put in line, or claimed, at a moment that is not yet; return how many rows that were.

    A retry of what failed keeps its time: it may be that much late, and is as likely to be right.
    """
    d, s = deliveries.c, subscribers.c
    told = d.subscriber.in_(select(s.id))  # what is pending is indexed by its subscriber
    stuck = (
        update(deliveries)
        .where(d.status == PENDING, told, d.next_attempt_ms > now_ms, d.created_at_ms > now_ms)
        .values(next_attempt_ms=now_ms),
        update(deliveries)
        .where(d.status == PENDING, told, d.claimed_until_ms > now_ms + LEASE_MS_MAX)
        .values(claimed_until_ms=now_ms + LEASE_MS_MAX),
    )
    return sum(connection.execute(statement).rowcount for statement in stuck)


def told_in_future(connection: Connection, *, after_ms: int) -> bool:
    """Tell whether of the newest events one is of a later moment than this: a clock was ahead, here or elsewhere."""
    newest = select(events.c.timestamp_ms).order_by(events.c.position.desc()).limit(LATELY).subquery()
    latest_ms = connection.execute(select(func.max(newest.c.timestamp_ms))).scalar()
    return latest_ms is not None and latest_ms > after_ms


def accepted_in_future(connection: Connection, *, after_ms: int, limit: int) -> list[str]:
    """List notifications that nobody worked on and nobody will look after before then, though they came before now.

    Whoever accepted them may be on another machine, whose clock is nobody's business here.
    """
    n = notifications.c
    those = select(n.id).where(n.status == ACCEPTED, n.retry_at_ms > after_ms, n.attempts == 0)
    return list(connection.execute(those.limit(limit)).scalars())


def bring_back(connection: Connection, ids: Sequence[str], *, until_ms: int) -> None:
    """Have these looked after at a moment that comes, as they were hinted at just now."""
    n = notifications.c
    those = update(notifications).where(n.id.in_(ids), n.status == ACCEPTED, n.attempts == 0)
    connection.execute(those.values(retry_at_ms=until_ms))
