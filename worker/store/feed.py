"""Read the events that app backends are told of, in the one order in which everybody sees them.

A position is where an event stands in that order. Positions only grow, and are seen in the order in which they were
taken: whoever has read up to one has missed nothing before it. What was pruned (`worker/store/retention.py`) is a
beginning that is cut off, and a mark says how much of it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, or_, select

from handlers.filters import matcher
from schemas.resources import Event
from worker.store import bulk
from worker.store.documents import Documents
from worker.store.postgresql import lock_feed
from worker.store.tables import events, marks

FEED_ID: Final = "feed.id"
PRUNED: Final = "feed.pruned"
"""Names of marks: whose feed this is, and up to which position it has been cut off."""

STRETCH_MAX: Final = 10_000
"""So many events are looked through for one page: a filter that hardly any passes costs no more than others."""
SKEW_MS: Final = 30_000
"""Two transactions may commit in the other order than they read their clocks, and hosts' clocks differ."""

_COLUMNS = ("id", "app", "environment", "type", "user_id", "sequence", "notification", "document")
_fits_types = lru_cache(maxsize=256)(matcher)


class Told(NamedTuple):
    """One event, as far as it matters to who wants it: `document` is the JSON it was written as."""

    position: int
    app: str
    environment: str
    type: str
    user_id: str | None
    document: str


class Wanted(NamedTuple):
    """Which events somebody wants; what is not said leaves nothing out."""

    types: tuple[str, ...] = ()
    app: str | None = None
    environment: str | None = None
    customer: str | None = None

    def fits(self, told: Told) -> bool:
        """Tell whether this is one of them, as the store would."""
        return (
            self.app in (None, told.app)
            and self.environment in (None, told.environment)
            and self.customer in (None, told.user_id)
            and _fits_types(self.types)(told.type)
        )


ALL: Final = Wanted()


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A stretch of the feed.

    Attributes:
        end: the position up to which the feed has been read, matching events or not.
        has_more: there is more to read now; also where nothing matched.
        newest: the position of the newest event there is.
        pruned: the position up to which events are gone.
    """

    events: tuple[Told, ...]
    end: int
    has_more: bool
    newest: int
    pruned: int


def append(connection: Connection, new: Sequence[Event], *, now_ms: int, documents: Documents | None = None) -> None:
    """Add events at the end of the feed: the last thing that a transaction does, as others wait here for its commit."""
    if new:
        write = (documents or Documents()).of_event
        rows = [_row(event, write(event)) for event in new]
        lock_feed(connection)  # nobody waits for our writing
        bulk.insert(connection, events, _COLUMNS, rows, {"timestamp_ms": now_ms})


def read_feed(connection: Connection, *, after: int, wanted: Wanted = ALL, limit: int) -> FeedPage:
    """Read what comes after a position.

    Args:
        connection: a transaction.
        after: a position that was read before, or 0.
        wanted: only these.
        limit: how many at most.
    """
    c = events.c
    # The end is read first: what is committed between two statements is left for the next page, not skipped.
    newest, pruned = newest_position(connection), pruned_position(connection)
    begin = max(after, pruned)
    end = _stretch_end(connection, begin, wanted) or max(newest, begin)
    statement = select(*(c[name] for name in Told._fields)).where(c.position > begin, c.position <= end)
    statement = statement.where(*_conditions(wanted)).order_by(c.position).limit(limit + 1)
    rows = [Told(*row) for row in connection.execute(statement)]
    shown, full = rows[:limit], len(rows) > limit
    return FeedPage(
        events=tuple(shown),
        end=shown[-1].position if full else end,
        has_more=full or end < newest,
        newest=newest,
        pruned=pruned,
    )


def read_new(connection: Connection, *, after: int, limit: int) -> list[Told]:
    """Read the next events after a position, whoever wants them."""
    c = events.c
    statement = select(*(c[name] for name in Told._fields)).where(c.position > after)
    return [Told(*row) for row in connection.execute(statement.order_by(c.position).limit(limit))]


def newest_position(connection: Connection) -> int:
    """Read the position of the newest event; 0: there is none."""
    return connection.execute(select(func.max(events.c.position))).scalar_one() or 0


def pruned_position(connection: Connection) -> int:
    """Read up to which position events are gone; 0: none are."""
    return int(connection.execute(select(marks.c.value).where(marks.c.name == PRUNED)).scalar() or 0)


def position_at(connection: Connection, *, at_ms: int) -> int:
    """Find the position after which everything stands that was told from a moment on, and perhaps a little more."""
    c = events.c
    before, after = pruned_position(connection), newest_position(connection)
    while before < after:
        middle = (before + after) // 2
        found = connection.execute(
            select(c.position, c.timestamp_ms).where(c.position > middle).order_by(c.position).limit(1)
        ).one()
        if found.timestamp_ms < at_ms - SKEW_MS:
            before = found.position
        else:
            after = middle
    return before


def feed_id(connection: Connection) -> str | None:
    """Read whose feed this is; None: nobody has asked yet."""
    found: str | None = connection.execute(select(marks.c.value).where(marks.c.name == FEED_ID)).scalar()
    return found


def name_feed(connection: Connection) -> str:
    """Give the feed an id, unless it has one: cursors carry it, so that those of another database are known as such."""
    bulk.insert_absent(connection, marks, ("name", "value"), [(FEED_ID, secrets.token_hex(4))])()
    return feed_id(connection) or ""


def _stretch_end(connection: Connection, begin: int, wanted: Wanted) -> int | None:
    """Find where the stretch of one page ends; None: with the feed, or wherever the page is full."""
    c = events.c
    if wanted._replace(customer=None) == ALL:
        return None
    candidates = [c.position > begin] + ([c.user_id == wanted.customer] if wanted.customer is not None else [])
    statement = select(c.position).where(*candidates).order_by(c.position).limit(1).offset(STRETCH_MAX - 1)
    found: int | None = connection.execute(statement).scalar()
    return found


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    c = events.c
    columns = ((c.app, wanted.app), (c.environment, wanted.environment), (c.user_id, wanted.customer))
    likes = [c.type.like(_like(pattern), escape="\\") for pattern in wanted.types]
    return [column == value for column, value in columns if value is not None] + ([or_(*likes)] if likes else [])


def _like(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%").replace("*", "%")


def _row(event: Event, document: str) -> tuple[Any, ...]:
    return (
        event.id,
        event.app,
        event.environment,
        event.type,
        event.customer.user_id if event.customer else None,
        event.sequence,
        event.data.cause.notification,
        document,
    )
