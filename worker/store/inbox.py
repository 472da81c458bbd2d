"""The inbox table: what a platform was told 200 for, and how far it got."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update

from schemas.entry import Entry
from schemas.resources import NotificationStatus
from worker.store import bulk
from worker.store.tables import entries, notifications

LOOKING_UP = "looking_up:"
"""How the reason of an accepted notification begins that has taken effect, and may say more once it is looked up."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A notification as the inbox holds it."""

    id: str
    app: str
    platform: str
    notification_id: str
    type: str
    body: bytes
    headers: Mapping[str, str]
    received_at_ms: int
    attempts: int
    stations: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a notification. `accepted` with a `retry_at_ms`: it is tried again then."""

    id: str
    status: NotificationStatus
    reason: str | None
    attempts: int
    stations: Mapping[str, float]
    retry_at_ms: int = 0
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """How far a notification is, as of the moment from which nobody else can work on it."""

    attempts: int
    stations: Mapping[str, float]


def insert_absent(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Insert what is not there yet, in one statement.

    Args:
        connection: a transaction.
        rows: values for the columns of `notifications`; `id` is made from the identity.

    Returns:
        The ids that are new. The others were accepted before: a platform repeats itself.
    """
    return set(bulk.insert_absent(connection, notifications, rows))


def load(connection: Connection, ids: Iterable[str]) -> list[Stored]:
    """Read the accepted ones among these, oldest first."""
    statement = (
        select(notifications)
        .where(bulk.among(connection, notifications.c.id, list(ids)), notifications.c.status == "accepted")
        .order_by(notifications.c.received_at_ms, notifications.c.id)
    )
    return [_stored(row) for row in connection.execute(statement)]


def claim(connection: Connection, ids: Iterable[str]) -> dict[str, Claimed]:
    """Lock those among these that are still accepted, for the rest of the transaction.

    What another worker holds is passed over: whoever holds it finishes it, or the sweeper queues it again.
    """
    statement = (
        select(notifications.c.id, notifications.c.attempts, notifications.c.stations)
        .where(bulk.among(connection, notifications.c.id, list(ids)), notifications.c.status == "accepted")
        .order_by(notifications.c.id)
        .with_for_update(skip_locked=True)
    )
    return {row.id: Claimed(row.attempts, json.loads(row.stations)) for row in connection.execute(statement)}


def said_before(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[Entry, ...]]:
    """Read what the ledger holds of these notifications, of every revision; absent: nothing."""
    statement = select(entries.c.notification, entries.c.document).where(
        bulk.among(connection, entries.c.notification, list(ids))
    )
    found: dict[str, tuple[Entry, ...]] = {}
    for row in connection.execute(statement):
        found[row.notification] = (*found.get(row.notification, ()), Entry.model_validate_json(row.document))
    return found


def finish(connection: Connection, outcomes: Sequence[Outcome], *, now_ms: int) -> None:
    """Write what became of notifications."""
    rows = [
        {
            "id": outcome.id,
            "status": outcome.status,
            "reason": outcome.reason,
            "detail": outcome.detail,
            "attempts": outcome.attempts,
            "stations": json.dumps(outcome.stations),
            "retry_at_ms": outcome.retry_at_ms,
            "finished_at_ms": None if outcome.status == "accepted" else now_ms,
        }
        for outcome in outcomes
    ]
    bulk.change(connection, notifications, rows)


def overdue(connection: Connection, *, now_ms: int, limit: int) -> list[str]:
    """List accepted notifications that should have been finished by now, the longest overdue first."""
    statement = (
        select(notifications.c.id)
        .where(notifications.c.status == "accepted", notifications.c.retry_at_ms <= now_ms)
        .order_by(notifications.c.retry_at_ms)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def postpone(connection: Connection, ids: Sequence[str], *, until_ms: int) -> None:
    """Leave these alone until then: they were queued again. What a worker holds is not waited for."""
    if ids:
        free = select(notifications.c.id).where(notifications.c.id.in_(ids)).with_for_update(skip_locked=True)
        connection.execute(update(notifications).where(notifications.c.id.in_(free)).values(retry_at_ms=until_ms))


def reopen(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Make finished notifications accepted again, to be processed anew; returns those that exist."""
    statement = (
        update(notifications)
        .where(notifications.c.id.in_(ids))
        .values(status="accepted", reason=None, detail=None, attempts=0, finished_at_ms=None, retry_at_ms=0)
        .returning(notifications.c.id)
    )
    return list(connection.execute(statement).scalars())


def _stored(row: Row[Any]) -> Stored:
    return Stored(
        id=row.id,
        app=row.app,
        platform=row.platform,
        notification_id=row.notification_id,
        type=row.type,
        body=row.body,
        headers=json.loads(row.headers),
        received_at_ms=row.received_at_ms,
        attempts=row.attempts,
        stations=json.loads(row.stations),
    )
