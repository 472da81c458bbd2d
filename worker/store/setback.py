"""Let nothing wait for a moment that was chosen while a clock was ahead and has been set back since.

Times in the tables are the clock's of the machine that wrote them. One that was an hour ahead leaves rows behind that
are due in an hour, or claimed for an hour. What tells them from others is that nobody who reads the right time could
have written them. Locks go by the database's clock, and see to it themselves (`worker/store/locks.py`).
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from worker.store.outbox import LEASE_MS_MAX
from worker.store.tables import ACCEPTED, PENDING, deliveries, notifications, subscribers


def forget_future(connection: Connection, *, now_ms: int) -> int:
    """Make due what would wait in vain; return how many rows that were.

    A retry of what failed keeps its time: it may be that much late, and is as likely to be right. A subscriber's wish
    to rest is forgotten with its pace: whoever still wants to rest says so again.

    Args:
        connection: a transaction.
        now_ms: Unix milliseconds.
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
        update(subscribers).where(s.not_before_ms > now_ms).values(not_before_ms=now_ms),
    )
    return sum(connection.execute(statement).rowcount for statement in stuck)


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
