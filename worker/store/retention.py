"""Forget what is older than it is to be kept: a bounded batch at a time, found by keys alone.

Events go from the beginning of the feed on, and a mark says how far: a reader whose cursor is older is told so. What a
pending delivery still needs stays, behind the mark, until it is needed no more. Deliveries that are finished go with
their attempts; they are found by their attempts, which are numbered, as no index knows when a delivery was finished.

Each round begins at the oldest that is there and goes on, batch by batch, where the one before ended: what had to stay
the last time is looked at again, however much of it there is, and hides nothing behind it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from sqlalchemy import Connection, delete, select

from handlers import ids as identify
from worker.store import bulk, upsert
from worker.store.feed import PRUNED, newest_position, pruned_position
from worker.store.tables import attempts, deliveries, events, marks, subscribers

BEGINNING: Final = 0
"""Where the first batch of a round begins."""

# The deliveries of an event have ids that are made of its own, so they are found without an index over events.
_THESE = "SELECT id, event_id, status, finished_at_ms, subscriber FROM deliveries WHERE id IN ?"
_WHERE = "SELECT id, position FROM events WHERE id IN ?"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one batch came to. `end`: where the next batch of the round begins; None: this was the last one."""

    events: int = 0
    deliveries: int = 0
    notifications: int = 0
    end: int | None = None


def prune_events(connection: Connection, *, before_ms: int, limit: int, after: int = BEGINNING) -> Pruned:
    """Forget the oldest events that were told before a moment, and their finished deliveries.

    The newest event always stays: the feed's end is known by it.

    Args:
        connection: a transaction.
        before_ms: Unix milliseconds.
        limit: how many events are looked at.
        after: the position where the batch before ended.
    """
    c, cut, newest = events.c, pruned_position(connection), newest_position(connection)
    oldest = select(c.position, c.id, c.timestamp_ms).where(c.position > after, c.position < newest)
    found = connection.execute(oldest.order_by(c.position).limit(limit))
    old = list(takewhile(lambda row: row.position <= cut or row.timestamp_ms < before_ms, found))
    if not old:
        return Pruned()
    finished, needed = _deliveries_of(connection, [row.id for row in old])
    gone = [row.position for row in old if row.id not in needed]
    forgotten = [delivery for delivery, event in finished if event not in needed]
    _forget_deliveries(connection, forgotten)
    connection.execute(delete(events).where(c.position.in_(gone)))
    _mark(connection, PRUNED, max(cut, old[-1].position))
    return Pruned(len(gone), len(forgotten), end=old[-1].position if len(old) == limit else None)


def prune_deliveries(connection: Connection, *, before_ms: int, limit: int, after: int = BEGINNING) -> Pruned:
    """Forget deliveries that were finished before a moment, with all attempts of them.

    An attempt of what is not finished yet is passed over: there will be a later one, which leads to the same delivery.
    So is that of an event behind `missed_after` of its subscriber: with the delivery gone, it would be told again.

    Args:
        connection: a transaction.
        before_ms: Unix milliseconds.
        limit: how many attempts are looked at.
        after: the attempt where the batch before ended.
    """
    c = attempts.c
    statement = select(c.id, c.delivery, c.attempted_at_ms).where(c.id > after).order_by(c.id).limit(limit)
    old = list(takewhile(lambda row: row.attempted_at_ms < before_ms, connection.execute(statement)))
    if not old:
        return Pruned()
    found = {row[0]: row for row in bulk.ask(connection, _THESE, {row.delivery for row in old})}
    over = [
        (id_, event, whom)
        for id_, event, status, at_ms, whom in found.values()
        if status != "pending" and (at_ms or 0) < before_ms
    ]
    gone = {id_ for id_, *_ in over} - _still_asked_for(connection, over)
    orphans = {row.delivery for row in old} - found.keys()
    _forget_deliveries(connection, [*gone, *orphans])
    return Pruned(0, len(gone), end=old[-1].id if len(old) == limit else None)


def _deliveries_of(connection: Connection, told: Sequence[str]) -> tuple[list[tuple[str, str]], set[str]]:
    """Find the finished deliveries of events, each with its event; and the events that pending ones need."""
    listening = connection.execute(select(subscribers.c.id)).scalars().all()
    made = [identify.make("dlv", event, subscriber) for event in told for subscriber in listening]
    found = [tuple(row) for row in bulk.ask(connection, _THESE, made)] if made else []
    finished = [(id_, event) for id_, event, status, *_ in found if status != "pending"]
    return finished, {event for _, event, status, *_ in found if status == "pending"}


def _still_asked_for(connection: Connection, over: Iterable[tuple[str, str, str]]) -> set[str]:
    """Find the deliveries whose subscriber may yet ask for what it missed, of events behind that place.

    Args:
        connection: a transaction.
        over: finished deliveries, each with its event and its subscriber.
    """
    c = subscribers.c
    missed = connection.execute(select(c.id, c.missed_after).where(c.missed_after.is_not(None)))
    after: dict[str, int] = {row.id: row.missed_after for row in missed}
    theirs = [(id_, event, after[whom]) for id_, event, whom in over if whom in after]
    told = {event for _, event, _ in theirs}
    at: dict[str, int] = dict(bulk.ask(connection, _WHERE, told)) if told else {}
    return {id_ for id_, event, place in theirs if at.get(event, 0) > place}


def _forget_deliveries(connection: Connection, ids: Collection[str]) -> None:
    for some in _portions(list(ids)):
        connection.execute(delete(attempts).where(attempts.c.delivery.in_(some)))
        connection.execute(delete(deliveries).where(deliveries.c.id.in_(some)))


def _portions(ids: list[str], size: int = 1_000) -> Iterable[list[str]]:
    """Cut a list: a statement takes so many parameters and no more."""
    return (ids[at : at + size] for at in range(0, len(ids), size))


def _mark(connection: Connection, name: str, value: int) -> None:
    statement = upsert.insert(connection.dialect.name, marks).values(name=name, value=str(value))
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"value": statement.excluded.value})
    )
