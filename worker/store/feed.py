"""Read the events that app backends are told of, in the one order in which everybody sees them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from schemas.resources import Event
from worker.store import bulk
from worker.store.postgresql import lock_feed
from worker.store.tables import events

_COLUMNS = ("id", "app", "environment", "type", "user_id", "sequence", "notification", "document")


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A stretch of the feed.

    Attributes:
        documents: events as the JSON they were written as.
        end: the position up to which the feed has been read, matching events or not.
    """

    documents: tuple[str, ...]
    end: int
    has_more: bool


def append(connection: Connection, new: Sequence[Event], *, now_ms: int) -> None:
    """Add events at the end of the feed: the last thing that a transaction does, as others wait here for its commit."""
    if new:
        lock_feed(connection)
        bulk.insert(connection, events, _COLUMNS, list(map(_row, new)), {"timestamp_ms": now_ms})


def read_feed(
    connection: Connection, *, after: int, types: Iterable[str] = (), app: str | None = None, limit: int
) -> FeedPage:
    """Read what comes after a position.

    Args:
        connection: a transaction.
        after: a position that was read before, or 0.
        types: event types, `*` standing for any text; none: all.
        app: only events of this app.
        limit: how many at most.
    """
    # The end is read first: what is committed between the two statements is left for the next page, not skipped.
    end = newest_position(connection)
    c = events.c
    statement = select(c.position, c.document).where(c.position > after, c.position <= end, *_types(types))
    if app is not None:
        statement = statement.where(c.app == app)
    rows = connection.execute(statement.order_by(c.position).limit(limit + 1)).all()
    shown, has_more = rows[:limit], len(rows) > limit
    return FeedPage(
        documents=tuple(row.document for row in shown),
        end=shown[-1].position if has_more else max(end, after),
        has_more=has_more,
    )


def newest_position(connection: Connection) -> int:
    """Read the position of the newest event; 0: there is none."""
    return connection.execute(select(func.max(events.c.position))).scalar_one() or 0


def _types(patterns: Iterable[str]) -> list[ColumnElement[bool]]:
    likes = [events.c.type.like(_like(pattern), escape="\\") for pattern in patterns]
    return [or_(*likes)] if likes else []


def _like(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%").replace("*", "%")


def _row(event: Event) -> tuple[Any, ...]:
    return (
        event.id,
        event.app,
        event.environment,
        event.type,
        event.customer.user_id if event.customer else None,
        event.sequence,
        event.data.cause.notification,
        event.model_dump_json(),
    )
