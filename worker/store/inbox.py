"""The inbox table: what a platform was told 200 for, and how far it got."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, Integer, and_, bindparam, exists, select, update

from schemas.base import PlatformName
from schemas.entry import Entry
from schemas.resources import NotificationStatus
from worker.store import bulk
from worker.store.tables import ACCEPTED, notifications
from worker.tracing import TRACEPARENT

LOOKING_UP = "looking_up:"
"""How the reason of an accepted notification begins that has taken effect, and may say more once it is looked up."""

REPLAYED = "replayed"
"""The station of a notification that an operator had accepted once more: it came long ago, and is late for nobody."""
ERASED = "erased"
"""The reason of a notification whose body was destroyed with a person's data: there is nothing to read any more."""

# Each is looked up by its id and judged then: the empty text keeps the planner from the index of what is accepted, in
# which statistics expect next to nothing, and a storm has put everything.
_ACCEPTED = "status || '' = 'accepted'"
Stations = Mapping[str, float | str]
"""Station → milliseconds from the receipt; and under `TRACEPARENT`, which is none, where a trace goes on."""

_STORED = f"""
    SELECT id, app, platform, notification_id, type, body, headers, received_at_ms, attempts, stations
    FROM notifications WHERE id IN ? AND {_ACCEPTED} ORDER BY received_at_ms, id"""  # noqa: S608 - texts of our own
_CLAIMED = f"{_STORED} FOR UPDATE SKIP LOCKED"
_UNTOUCHED = f"SELECT id FROM notifications WHERE id IN ? AND {_ACCEPTED} AND attempts = 0"  # noqa: S608 - as above
_STATUSES = "SELECT id, status FROM notifications WHERE id IN ?"
_SAID = "SELECT notification, document FROM entries WHERE notification IN ?"
_REOPENED_COLUMNS = ("id", "status", "reason", "detail", "attempts", "finished_at_ms", "retry_at_ms", "stations")
_FINISHED_COLUMNS = ("id", "status", "reason", "detail", "attempts", "stations", "retry_at_ms", "finished_at_ms")


class Stored(NamedTuple):
    """A notification as the inbox holds it."""

    id: str
    app: str
    platform: PlatformName
    notification_id: str
    type: str
    body: bytes
    headers: Mapping[str, str]
    received_at_ms: int
    attempts: int
    stations: Stations

    @property
    def traceparent(self) -> str | None:
        """Tell where its trace goes on; None: none was told where it was accepted."""
        found = self.stations.get(TRACEPARENT)
        return found if isinstance(found, str) else None


class Outcome(NamedTuple):
    """What became of a notification. `accepted` with a `retry_at_ms`: it is tried again then."""

    id: str
    status: NotificationStatus
    reason: str | None
    attempts: int
    stations: Stations
    retry_at_ms: int = 0
    detail: str | None = None


_overdue = and_(notifications.c.status == ACCEPTED, notifications.c.retry_at_ms <= bindparam("now_ms"))
ANY_OVERDUE: Final = exists().where(_overdue)
"""Whether `overdue` would find anything at `now_ms`: a part of a statement."""
_longest_overdue = (
    select(notifications.c.id)
    .where(_overdue)
    .order_by(notifications.c.retry_at_ms)
    .limit(bindparam("most", type_=Integer))
)
# Ids are given to a statement that is there, and not made part of a new one: those are circles, which would keep a
# thousand ids of each sweep until Python looks for garbage.
_still_overdue = select(notifications.c.id).where(notifications.c.id.in_(bindparam("ids", expanding=True)), _overdue)
_put_off = (
    update(notifications)
    .where(notifications.c.id.in_(_still_overdue.with_for_update(skip_locked=True)))
    .values(retry_at_ms=bindparam("until_ms"))
)


def insert_absent(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Insert what is not there yet, in one statement and in the order of the ids.

    Two that insert the same rows wait for each other row by row; each in its own order, they would do so in a circle.

    Args:
        connection: a transaction.
        rows: values for the same columns of `notifications`; `id` is made from the identity.

    Returns:
        The ids that are new. The others were accepted before: a platform repeats itself.
    """
    if not rows:
        return ()
    names = tuple(rows[0])
    in_order = map(itemgetter(*names), sorted(rows, key=itemgetter("id")))
    return bulk.insert_new(connection, notifications, names, list(in_order))


def load(connection: Connection, ids: Iterable[str]) -> list[Stored]:
    """Read the accepted ones among these, oldest first."""
    return [_stored(row) for row in bulk.ask(connection, _STORED, ids)]


def untouched(connection: Connection, ids: Iterable[str]) -> list[str]:
    """List the accepted ones among these that nobody tried to process; what failed before waits for its own time."""
    return [id_ for (id_,) in bulk.ask(connection, _UNTOUCHED, ids)]


def statuses(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Tell how each of these stands; absent: it is not there."""
    return dict(bulk.ask(connection, _STATUSES, ids))


def claim(connection: Connection, ids: Iterable[str]) -> Callable[[], dict[str, Stored]]:
    """Lock those among these that are still accepted, for the rest of the transaction; call what is returned for them.

    They are as they stand from then on, by their ids, oldest first. What another worker holds is passed over: whoever
    holds it finishes it, or the sweeper queues it again.
    """
    found = bulk.ask(connection, _CLAIMED, ids)
    return lambda: {stored.id: stored for stored in map(_stored, found)}


def said_before(connection: Connection, ids: Iterable[str]) -> Callable[[], dict[str, tuple[Entry, ...]]]:
    """Ask what the ledger holds of these notifications, of every revision; absent from the answer: nothing."""
    rows = bulk.ask(connection, _SAID, ids)

    def held() -> dict[str, tuple[Entry, ...]]:
        found: dict[str, tuple[Entry, ...]] = {}
        for notification, document in rows:
            found[notification] = (*found.get(notification, ()), Entry.model_validate_json(document))
        return found

    return held


def finish(connection: Connection, outcomes: Sequence[Outcome], *, now_ms: int) -> None:
    """Write what became of notifications."""
    rows = [
        (
            outcome.id,
            outcome.status,
            outcome.reason,
            outcome.detail,
            outcome.attempts,
            to_json(outcome.stations).decode(),
            outcome.retry_at_ms,
            None if outcome.status == "accepted" else now_ms,
        )
        for outcome in outcomes
    ]
    bulk.change(connection, notifications, _FINISHED_COLUMNS, rows)


def overdue(connection: Connection, *, now_ms: int, limit: int) -> list[str]:
    """List accepted notifications that should have been finished by now, the longest overdue first."""
    return list(connection.execute(_longest_overdue, {"now_ms": now_ms, "most": limit}).scalars())


def postpone(connection: Connection, ids: Sequence[str], *, now_ms: int, until_ms: int) -> None:
    """Leave these alone until then, as far as they are still overdue: they were queued again.

    What a worker holds is not waited for, and what one has just finished or put off itself stays as it left it.
    """
    if ids:
        connection.execute(_put_off, {"ids": ids, "now_ms": now_ms, "until_ms": until_ms})


def reopen(connection: Connection, ids: Sequence[str], *, now_ms: int, retry_at_ms: int = 0) -> list[str]:
    """Make notifications accepted again, to be processed anew; returns those that exist.

    Args:
        connection: a transaction.
        ids: whatever became of them.
        now_ms: Unix milliseconds, for the station that says so.
        retry_at_ms: when the sweeper shall look after those that nobody finished.
    """
    c = notifications.c
    # In the order of their ids, as workers lock them.
    found = select(c.id, c.received_at_ms, c.stations).where(c.id.in_(ids)).order_by(c.id).with_for_update()
    rows = [
        (row.id, "accepted", None, None, 0, None, retry_at_ms, _replayed(row.stations, now_ms - row.received_at_ms))
        for row in connection.execute(found)
    ]
    bulk.change(connection, notifications, _REOPENED_COLUMNS, rows)
    return [row[0] for row in rows]


def _replayed(stations: str, after_ms: int) -> str:
    return to_json({**from_json(stations, cache_strings="keys"), REPLAYED: after_ms}).decode()


def _stored(row: Iterable[Any]) -> Stored:
    id_, app, platform, notification_id, type_, body, headers, received_at_ms, attempts, stations = row
    said = json.loads(headers) if headers != "{}" else {}  # most platforms say everything in the body
    known = from_json(stations, cache_strings="keys")
    return Stored(id_, app, platform, notification_id, type_, body, said, received_at_ms, attempts, known)
