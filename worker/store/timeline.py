"""Read everything that happened to one customer: what platforms said of their purchases, and what we concluded."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, literal, literal_column, select, tuple_, union_all

from schemas.entry import Entry
from schemas.resources import Event, TimelineItem
from worker.store.queries import After, Filters, equal
from worker.store.tables import entries, events, purchases

AnyRow = Row[*tuple[Any, ...]]


def list_timeline(
    connection: Connection, filters: Filters, *, after: After, limit: int
) -> list[tuple[int, TimelineItem]]:
    """List what happened, newest first.

    Args:
        connection: a transaction.
        filters: values of `user_id`, and perhaps `app` and `environment`.
        after: time in Unix milliseconds and id of the last item that was seen.
        limit: how many at most.

    Returns:
        Items with the milliseconds they are sorted by.
    """
    both = union_all(_entries(filters), _events(filters)).subquery()
    statement = select(both).order_by(both.c.at_ms.desc(), both.c.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(both.c.at_ms, both.c.id) < after)
    rows = connection.execute(statement).all()
    ours = _purchases_of(connection, {row.lineage for row in rows if row.lineage})
    return [(row.at_ms, _item(row, ours)) for row in rows]


def _entries(filters: Filters) -> Select[Any]:
    """Select the entries of every lineage in which the customer has a purchase."""
    c = entries.c
    own = select(purchases.c.lineage).where(*equal(purchases, filters)).distinct()
    return select(literal("entry").label("source"), c.occurred_at_ms.label("at_ms"), c.id, c.lineage, c.document).where(
        c.lineage.in_(own)
    )


def _events(filters: Filters) -> Select[Any]:
    c = events.c
    return select(
        literal("event").label("source"),
        c.timestamp_ms.label("at_ms"),
        c.id,
        literal_column("''").label("lineage"),
        c.document,
    ).where(and_(*equal(events, filters)))


def _purchases_of(connection: Connection, lineages: set[str]) -> Mapping[str, Sequence[AnyRow]]:
    """Find what an entry's purchase is called here, and whether it was a test."""
    c = purchases.c
    statement = select(c.lineage, c.id, c.purchase_id, c.environment).where(c.lineage.in_(sorted(lineages)))
    found: dict[str, list[AnyRow]] = {lineage: [] for lineage in lineages}
    for row in connection.execute(statement):
        found[row.lineage].append(row)
    return found


def _item(row: AnyRow, ours: Mapping[str, Sequence[AnyRow]]) -> TimelineItem:
    if row.source == "event":
        return _from_event(Event.model_validate_json(row.document), row.at_ms)
    return _from_entry(Entry.model_validate_json(row.document), ours[row.lineage])


def _from_entry(entry: Entry, ours: Sequence[AnyRow]) -> TimelineItem:
    """Show what was said. Its subject stays inside: it may hold a purchase token."""
    dumped = entry.model_dump(mode="json", exclude_defaults=True, include={"facts", "refund", "reason"})
    return TimelineItem(
        id=entry.id,
        type=f"ledger.{entry.kind.value}",
        occurred_at=entry.occurred_at_ms // 1000,
        app=entry.app,
        environment=entry.environment or _first(row.environment for row in ours) or "production",
        platform=entry.platform,
        purchase=_first(row.id for row in ours if row.purchase_id == entry.subject.purchase_id),
        source=entry.source.type,
        details=dumped,
    )


def _from_event(event: Event, at_ms: int) -> TimelineItem:
    cause = event.data.cause
    return TimelineItem(
        id=event.id,
        type=event.type,
        occurred_at=at_ms // 1000,
        app=event.app,
        environment=event.environment,
        platform=cause.platform,
        purchase=event.data.purchase.id if event.data.purchase else None,
        source=cause.type or ("clock" if cause.rule == "lapsed" else "api"),
        rule=cause.rule,
        details=event.data.model_dump(mode="json", exclude={"cause", "purchase"}, exclude_none=True),
    )


def _first(values: Iterable[Any]) -> Any:
    return next(iter(values), None)
