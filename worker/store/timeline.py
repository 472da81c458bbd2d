"""Read everything that happened to one customer: what platforms said of their purchases, and what we concluded.

An item of the ledger is history, and so is the rule beside it: the one that decided on it when it was recorded, told
by the events of that very step. Where nothing followed from it, no rule decided, and none is named.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    Select,
    and_,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)

from schemas.entry import Entry
from schemas.resources import Event, TimelineItem
from worker.store.queries import After, Filters, equal
from worker.store.tables import entries, events, purchases, refs

AnyRow = Row[*tuple[Any, ...]]
Step = tuple[int, str | None]
"""One decision: when it was made, and our id of the notification behind it. None: an app's backend, or the clock."""
Decided = Sequence[tuple[str, str, str]]
"""The rules that decided in one step: lineage, our id of the purchase as it was then, rule."""


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
    # What one step tells, it tells within one millisecond: its events are in the order in which they were numbered,
    # and stand after everything that was said.
    order = (both.c.at_ms, both.c.position, both.c.id)
    statement = select(both).order_by(*(column.desc() for column in order)).limit(limit)
    if after is not None:
        at_ms, id_ = after
        statement = statement.where(tuple_(*order) < (at_ms, _position_of(connection, id_), id_))
    rows = connection.execute(statement).all()
    said = [row for row in rows if row.source == "entry"]
    ours = _purchases_of(connection, {row.lineage for row in said})
    rules = _rules_of(connection, filters["user_id"], said)
    return [(row.at_ms, _item(row, ours, rules)) for row in rows]


def _position_of(connection: Connection, id_: str) -> int:
    """Find where the item with that id stands among the events; 0: it is none."""
    found: int | None = connection.execute(select(events.c.position).where(events.c.id == id_)).scalar()
    return found or 0


def _entries(filters: Filters) -> Select[Any]:
    """Select the entries of every lineage in which the customer has a purchase."""
    c = entries.c
    own = select(purchases.c.lineage).where(*equal(purchases, filters)).distinct()
    return select(
        literal("entry").label("source"),
        c.occurred_at_ms.label("at_ms"),
        literal(0, BigInteger).label("position"),
        c.id,
        c.lineage,
        c.recorded_at_ms,
        c.notification,
        c.document,
    ).where(c.lineage.in_(own))


def _events(filters: Filters) -> Select[Any]:
    c = events.c
    return select(
        literal("event").label("source"),
        c.timestamp_ms.label("at_ms"),
        c.position,
        c.id,
        literal_column("''").label("lineage"),
        c.timestamp_ms.label("recorded_at_ms"),
        c.notification,
        c.document,
    ).where(and_(*equal(events, filters)))


def _purchases_of(connection: Connection, lineages: set[str]) -> Mapping[str, Sequence[AnyRow]]:
    """Find what an entry's purchase is called here, and whether it was a test."""
    c = purchases.c
    statement = select(c.lineage, c.id, c.purchase_id, c.aliases, c.environment)
    found: dict[str, list[AnyRow]] = {lineage: [] for lineage in lineages}
    for row in connection.execute(statement.where(c.lineage.in_(sorted(lineages)))):
        found[row.lineage].append(row)
    return found


def _rules_of(connection: Connection, user_id: str, said: Sequence[AnyRow]) -> Mapping[Step, Decided]:
    """Find the events of the steps in which these entries were recorded: one statement, whatever their number.

    An entry and the events that follow from it are written in one transaction, with one clock reading.
    """
    c = events.c
    by_notification = c.notification.in_(sorted({row.notification for row in said if row.notification}))
    moments = sorted({row.recorded_at_ms for row in said if not row.notification})
    by_others = and_(c.user_id == user_id, c.notification.is_(None), c.timestamp_ms.in_(moments))
    statement = select(c.timestamp_ms, c.notification, c.document).where(or_(by_notification, by_others))
    told: list[tuple[Step, str, str]] = []
    for row in connection.execute(statement.order_by(c.position)):
        data = json.loads(row.document)["data"]
        if data["purchase"] and data["cause"]["rule"]:
            told.append(((row.timestamp_ms, row.notification), data["purchase"]["id"], data["cause"]["rule"]))
    homes = _homes_of(connection, {purchase for _, purchase, _ in told})
    found: dict[Step, list[tuple[str, str, str]]] = defaultdict(list)
    for step, purchase, rule in told:
        found[step].append((homes.get(purchase, ""), purchase, rule))
    return found


def _homes_of(connection: Connection, decided_on: set[str]) -> Mapping[str, str]:
    """Find the lineages of purchases by the ids they had when they were decided on; a better one may be known now."""
    c = refs.c
    found = connection.execute(select(c.purchase, c.lineage).where(c.purchase.in_(sorted(decided_on))))
    return {row.purchase: row.lineage for row in found}


def _item(row: AnyRow, ours: Mapping[str, Sequence[AnyRow]], rules: Mapping[Step, Decided]) -> TimelineItem:
    if row.source == "event":
        return _from_event(Event.model_validate_json(row.document), row.at_ms)
    entry, own = Entry.model_validate_json(row.document), ours[row.lineage]
    purchase = _first(each.id for each in own if _names(entry, each))
    ids = {each.id for each in own}
    step = rules.get((row.recorded_at_ms, row.notification), ())
    decided = [each for each in step if each[0] == row.lineage or each[1] in ids]
    return _from_entry(entry, own, purchase, _rule(purchase, ids, decided))


def _from_entry(entry: Entry, ours: Sequence[AnyRow], purchase: str | None, rule: str | None) -> TimelineItem:
    """Show what was said. Its subject stays inside: it may hold a purchase token."""
    dumped = entry.model_dump(mode="json", exclude_defaults=True, include={"facts", "refund", "reason"})
    return TimelineItem(
        id=entry.id,
        type=f"ledger.{entry.kind.value}",
        occurred_at=entry.occurred_at_ms // 1000,
        app=entry.app,
        environment=entry.environment or _first(row.environment for row in ours) or "production",
        platform=entry.platform,
        purchase=purchase,
        source=entry.source.type,
        rule=rule,
        details=dumped,
    )


def _names(entry: Entry, purchase: AnyRow) -> bool:
    """Tell whether an entry names this purchase, by its own id or another."""
    own: bool = purchase.purchase_id == entry.subject.purchase_id
    aliases = entry.subject.aliases
    return own or bool(aliases and not set(aliases).isdisjoint(json.loads(purchase.aliases)))


def _rule(purchase: str | None, ours: Collection[str], decided: Decided) -> str | None:
    """Choose among the rules of one step: that of the entry's purchase, or any if it names the whole lineage.

    An id that no purchase of the lineage has today was an earlier one of them: the entry gave it a better one.
    """
    wanted = [rule for _, decided_on, rule in decided if purchase in (None, decided_on)]
    earlier = [rule for _, decided_on, rule in decided if decided_on not in ours]
    return next(iter((*wanted, *earlier)), None)


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
