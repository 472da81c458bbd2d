"""Read refunds and events for somebody who wants all of them: a stretch at a time, by their keys, oldest first."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, func, select, tuple_

from schemas.resources import Refund
from worker.store import feed
from worker.store.engine import Store
from worker.store.ledger import refund_of
from worker.store.queries import equal, rows
from worker.store.tables import events, refunds

STRETCH = 2_000
"""So much is in memory at a time."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is wanted; what is not said leaves nothing out. Times are Unix milliseconds: from one, to before another."""

    app: str | None = None
    platform: str | None = None
    environment: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def said_of(self, table: Table, *names: str) -> list[ColumnElement[bool]]:
        """Say that columns have these values."""
        return equal(table, {name: getattr(self, name) for name in names})


def count_refunds(connection: Connection, span: Span) -> int:
    """Count the refunds that are wanted."""
    return connection.execute(select(func.count()).where(*_refunds_in(span))).scalar_one()


def read_refunds(store: Store, span: Span, *, stretch: int = STRETCH) -> Iterator[list[Refund]]:
    """Read the refunds that are wanted, by when they were made."""
    place = (refunds.c.created_at, refunds.c.id)
    statement = select(refunds).where(*_refunds_in(span)).order_by(*place).limit(stretch)
    after: tuple[int, str] | None = None
    while True:
        further = statement if after is None else statement.where(tuple_(*place) > after)
        with store.read() as connection:
            found = [refund_of(row) for row in rows(connection, further)]
        if not found:
            return
        yield found
        after = found[-1].created_at, found[-1].id


def feed_bounds(connection: Connection, span: Span) -> tuple[int, int]:
    """Find the positions after and up to which the events stand that are wanted."""
    newest = feed.newest_position(connection)
    oldest = connection.execute(select(func.min(events.c.position))).scalar()
    # Numbers that nobody used, or whose events are gone, are not walked through.
    begin = max(feed.pruned_position(connection), (oldest or 1) - 1)
    if span.since_ms is not None:
        begin = max(begin, feed.position_at(connection, at_ms=span.since_ms))
    if span.until_ms is None:
        return begin, newest
    # What was told a little later may stand a little before: `feed.SKEW_MS`, once as it is found and once as it is.
    beyond = feed.position_at(connection, at_ms=span.until_ms + 2 * feed.SKEW_MS)
    return begin, min(newest, beyond)


def read_events(
    store: Store, span: Span, bounds: tuple[int, int], *, stretch: int = STRETCH
) -> Iterator[tuple[int, list[str]]]:
    """Read the documents of the events that are wanted, in the order of the feed, with how far each stretch went."""
    c = events.c
    at, end = bounds
    wanted = span.said_of(events, "app", "environment")
    if span.since_ms is not None:
        wanted.append(c.timestamp_ms >= span.since_ms)
    if span.until_ms is not None:
        wanted.append(c.timestamp_ms < span.until_ms)
    while at < end:
        upto = min(at + stretch, end)
        statement = select(c.document).where(c.position > at, c.position <= upto, *wanted).order_by(c.position)
        with store.read() as connection:
            found = list(connection.execute(statement).scalars())
        yield upto - at, found
        at = upto


def _refunds_in(span: Span) -> list[ColumnElement[bool]]:
    c = refunds.c
    said = span.said_of(refunds, "app", "platform", "environment")
    if span.since_ms is not None:
        said.append(c.created_at >= -(-span.since_ms // 1000))
    if span.until_ms is not None:
        said.append(c.created_at < -(-span.until_ms // 1000))
    return said
