"""Ask the store what could contradict itself: a stretch at a time by keys, each from one snapshot."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, func, select, tuple_

from worker.store import bulk
from worker.store.engine import Store
from worker.store.feed import pruned_position
from worker.store.inbox_retention import forgotten_ms
from worker.store.tables import ACCEPTED, customers, deliveries, entries, events, notifications

STRETCH: Final = 5_000
NAMED_MAX: Final = 3
"""So many of what is wrong are named."""

_HEARD = "SELECT notification FROM entries WHERE notification IN ?"
_THERE = "SELECT id FROM notifications WHERE id IN ?"
_EVENTS_THERE = "SELECT id FROM events WHERE id IN ?"
_ARRIVED = "SELECT delivery FROM attempts WHERE delivery IN ? AND status_code BETWEEN 200 AND 299"


@dataclass(slots=True)
class Wrong:
    """What was found wrong: how many, and the first few."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, names: Sequence[str]) -> None:
        """Count these."""
        self.count += len(names)
        self.first += sorted(names)[: NAMED_MAX - len(self.first)]

    def __str__(self) -> str:
        return f"{self.count} ({', '.join(self.first)}{', …' if self.count > len(self.first) else ''})"


def overdue(connection: Connection, *, before_ms: int) -> Wrong:
    """Find accepted notifications that somebody should have looked after before a moment."""
    c = notifications.c
    late = c.status == ACCEPTED, c.retry_at_ms < before_ms
    count = connection.execute(select(func.count()).where(*late)).scalar_one()
    first = connection.execute(select(c.id).where(*late).order_by(c.retry_at_ms).limit(NAMED_MAX)).scalars()
    return Wrong(count, list(first))


def count_inbox(store: Store) -> tuple[Counter[str], Wrong]:
    """Count notifications by status, and find those that are processed and left no entry: all say something."""
    c = notifications.c
    counted: Counter[str] = Counter()
    unheard = Wrong()
    for connection, found in _stretches(store, notifications, (c.received_at_ms, c.id), (c.status,)):
        counted.update(row.status for row in found)
        done = [row.id for row in found if row.status == "processed"]
        heard = {row[0] for row in bulk.ask(connection, _HEARD, done)} if done else set()
        unheard.add([id_ for id_ in done if id_ not in heard])
    return counted, unheard


def lost_causes(store: Store) -> Wrong:
    """Find notifications that entries or events name, and that are not in the inbox and were not forgotten by plan."""
    lost: set[str] = set()
    for table, at in ((entries, entries.c.recorded_at_ms), (events, events.c.timestamp_ms)):
        c = table.c
        last = ""
        while True:
            with store.read() as connection:
                said = c.notification > last, at >= forgotten_ms(connection)
                named = select(c.notification).where(*said).group_by(c.notification).order_by(c.notification)
                found = list(connection.execute(named.limit(STRETCH)).scalars())
                there = {row[0] for row in bulk.ask(connection, _THERE, found)} if found else set()
            lost.update(id_ for id_ in found if id_ not in there)
            if not found:
                break
            last = found[-1]
    wrong = Wrong()
    wrong.add(list(lost))
    return wrong


def broken_sequences(store: Store) -> tuple[int, Wrong]:
    """Count customers that were told something, and find those whose events are not numbered without a gap."""
    c, k = events.c, customers.c
    last, seen, broken = "", 0, Wrong()
    while True:
        with store.read() as connection:
            cut = pruned_position(connection)
            users = select(k.user_id).where(k.user_id > last).group_by(k.user_id).order_by(k.user_id).limit(STRETCH)
            some = list(connection.execute(users).scalars())
            if not some:
                return seen, broken
            span = k.user_id > last, k.user_id <= some[-1]
            numbers = connection.execute(select(customers).where(*span)).all()
            of = select(c.app, c.user_id, func.count(c.sequence), func.min(c.sequence), func.max(c.sequence))
            told = of.where(c.user_id > last, c.user_id <= some[-1], c.position > cut).group_by(c.app, c.user_id)
            found = connection.execute(told).all()
        counted = {(row.app, row.user_id): row.sequence for row in numbers}
        seen += len(counted)
        named = {(app, user) for app, user, *_ in found}
        broken.add([user for app, user, *has in found if not _is_whole(counted.get((app, user)), has, cut=cut)])
        broken.add([user for (app, user), number in counted.items() if number and not cut and (app, user) not in named])
        last = some[-1]


def count_deliveries(store: Store) -> tuple[Counter[str], Wrong, Wrong]:
    """Count deliveries by status; find those that wait without their event, or arrived without an attempt that did."""
    c = deliveries.c
    counted: Counter[str] = Counter()
    orphans, unproved = Wrong(), Wrong()
    for connection, found in _stretches(store, deliveries, (c.id,), (c.event_id, c.status)):
        counted.update(row.status for row in found)
        waiting = {row.event_id: row.id for row in found if row.status == "pending"}
        there = {row[0] for row in bulk.ask(connection, _EVENTS_THERE, list(waiting))} if waiting else set()
        orphans.add([id_ for event, id_ in waiting.items() if event not in there])
        arrived = [row.id for row in found if row.status == "delivered"]
        proved = {row[0] for row in bulk.ask(connection, _ARRIVED, arrived)} if arrived else set()
        unproved.add([id_ for id_ in arrived if id_ not in proved])
    return counted, orphans, unproved


def _is_whole(counted: int | None, has: Sequence[int | None], *, cut: int) -> bool:
    count, first, last = has
    if not count or first is None or last is None:
        return False
    return count == last - first + 1 and last == counted and (cut > 0 or first == 1)


def _stretches(
    store: Store, table: Table, key: tuple[Column[Any], ...], more: tuple[Column[Any], ...]
) -> Iterator[tuple[Connection, Sequence[Any]]]:
    """Walk through a table in the order of a key; what is asked of the same connection is of the same moment."""
    statement = select(*key, *more).select_from(table).order_by(*key).limit(STRETCH)
    after: tuple[Any, ...] | None = None
    while True:
        further = statement if after is None else statement.where(tuple_(*key) > after)
        with store.read() as connection:
            found = connection.execute(further).all()
            if not found:
                return
            yield connection, found
        after = tuple(found[-1])[: len(key)]
