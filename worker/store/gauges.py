"""Read what is true of the store at one moment: how much waits, how old it is, what needs a person."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, select

from schemas.resources import RefundStatus
from worker.store.inbox import LOOKING_UP, REPLAYED
from worker.store.tables import ACCEPTED, DEAD, PENDING, QUARANTINED, deliveries, notifications, refunds, subscribers

TAKEN_OR_ASKED: Final[tuple[RefundStatus, ...]] = ("to_issue", "pending", "requires_action", "succeeded")
"""Refunds of which somebody should know whose they are: the money is gone, on its way, or asked for."""

BACKLOG_MIN: Final = 10_000
"""Beyond this it is a backlog, and counted without looking at each."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a subscriber stands.

    Attributes:
        disabled_by: the reason why it is told no more; None: it is told.
        failing_since_ms: since when everything that was tried failed; None: the last attempt arrived.
    """

    id: str
    disabled_by: str | None
    failing_since_ms: int | None


@dataclass(frozen=True, slots=True)
class Gauges:
    """One reading of the store.

    Attributes:
        inbox_oldest_ms: when the oldest notification that was never finished came; None: all were.
        looking_up: notifications that took effect, and wait for an answer of a platform's API.
        refunds_unmatched: refunds of purchases of which nobody knows whose they are.
        subscriber_backlog: subscriber → deliveries that have not arrived.
        newest_ms: (app, platform) → when the last authentic notification came; absent: never.
    """

    inbox_pending: int
    inbox_oldest_ms: int | None
    looking_up: int
    quarantined: int
    dead: int
    refunds_unmatched: int
    subscriber_backlog: dict[str, int]
    subscribers: tuple[Standing, ...]
    newest_ms: dict[tuple[str, str], int]


def read_gauges(connection: Connection, sources: Iterable[tuple[str, str]]) -> Gauges:
    """Read every gauge; each comes from an index.

    Args:
        connection: a transaction.
        sources: the pairs of app and platform that are configured.
    """
    pending, oldest, looking_up = _inbox(connection)
    return Gauges(
        inbox_pending=pending,
        inbox_oldest_ms=oldest,
        looking_up=looking_up,
        quarantined=_count(connection, QUARANTINED),
        dead=_count(connection, DEAD),
        refunds_unmatched=_unmatched(connection),
        subscriber_backlog=_backlog(connection),
        subscribers=_standing(connection),
        newest_ms=_newest(connection, sources),
    )


def inbox_oldest_ms(connection: Connection) -> int | None:
    """Read when the oldest notification that was never finished came; None: all were."""
    return _inbox(connection)[1]


def inbox_backlog(connection: Connection) -> tuple[int, int | None]:
    """Count what is pending, and read when the oldest came that nobody tried; None: all was.

    What failed waits for its own time, hours at last: it says nothing of whether the workers keep up.
    """
    pending, oldest, _ = _inbox(connection, tried=False)
    return pending, oldest


def _inbox(connection: Connection, *, tried: bool = True) -> tuple[int, int | None, int]:
    """Count what is pending and what is looked up, and find the oldest of what is pending.

    Args:
        connection: a transaction.
        tried: find it among what failed before, too.

    To tell them apart takes their rows, which of a million takes half a minute, and would tell an operator least when
    most waits. So of a backlog all is counted as pending, and its age is that of what is looked at next.
    """
    c = notifications.c
    accepted = c.status == ACCEPTED
    waiting = connection.execute(select(func.count()).where(accepted)).scalar_one()
    # What waits for an answer of a platform's API has taken effect: it is late for nobody.
    in_effect = c.reason.is_not(None) & c.reason.startswith(LOOKING_UP, autoescape=True)
    # What an operator replays came long ago, and was finished since: it says nothing of how far behind we are.
    replayed = c.stations.contains(f'"{REPLAYED}"', autoescape=True)
    first = (
        select(c.received_at_ms, c.attempts, in_effect.label("in_effect"), replayed.label("replayed"))
        .where(accepted)
        .order_by(c.retry_at_ms)
    )
    found = first.limit(BACKLOG_MIN).subquery()
    waits = ~found.c.in_effect & ~found.c.replayed
    oldest, looking_up = connection.execute(
        select(
            func.min(found.c.received_at_ms).filter(waits if tried else waits & (found.c.attempts == 0)),
            func.count().filter(found.c.in_effect),
        )
    ).one()
    looking_up = 0 if waiting > BACKLOG_MIN else looking_up
    return waiting - looking_up, oldest, looking_up


def _count(connection: Connection, status: ColumnElement[str]) -> int:
    c = notifications.c
    return connection.execute(select(func.count()).where(c.status == status)).scalar_one()


def _unmatched(connection: Connection) -> int:
    c = refunds.c
    statement = select(func.count()).where(c.user_id.is_(None), c.status.in_(TAKEN_OR_ASKED))
    return connection.execute(statement).scalar_one()


def _backlog(connection: Connection) -> dict[str, int]:
    c = deliveries.c
    statement = select(c.subscriber, func.count().label("waiting")).where(c.status == PENDING).group_by(c.subscriber)
    return {row.subscriber: row.waiting for row in connection.execute(statement)}


def _standing(connection: Connection) -> tuple[Standing, ...]:
    c = subscribers.c
    statement = select(c.id, c.state, c.reason, c.failing_since_ms).order_by(c.id)
    return tuple(
        Standing(row.id, (row.reason or "") if row.state == "disabled" else None, row.failing_since_ms)
        for row in connection.execute(statement)
    )


def _newest(connection: Connection, sources: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    c = notifications.c
    found = {}
    for app, platform in sources:
        statement = select(func.max(c.received_at_ms)).where(c.app == app, c.platform == platform)
        newest = connection.execute(statement).scalar_one()
        if newest is not None:
            found[app, platform] = newest
    return found
