"""Read the inbox as operators see it: notifications with their events, and with what they ask an operator to do."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select

from schemas.resources import Action, Notification
from worker.store.queries import After, Filters, equal, newest_first, rows
from worker.store.tables import events, notifications
from worker.tracing import TRACEPARENT

ActionOf = Callable[[str, str, str, bytes, Mapping[str, str]], Action | None]
"""Our id, app, platform, body and headers as they are stored → what an operator is asked to do."""

_SHOWN = [column for column in notifications.c if column.name not in ("body", "headers")]


def list_notifications(
    connection: Connection, filters: Filters, *, after: After, limit: int, action_of: ActionOf
) -> list[tuple[int, Notification]]:
    """List notifications, newest first, with the milliseconds they are sorted by."""
    c = notifications.c
    statement = select(*_SHOWN).where(*equal(notifications, {**filters, "status": None}))
    if status := filters.get("status"):
        # Written out, so that the index of those that need a person is seen to be meant.
        statement = statement.where(c.status == bindparam(None, status, literal_execute=True))
    page = newest_first(connection, statement, c.received_at_ms, c.id, after, limit)
    shown = _show(connection, page, action_of)
    return [(row["received_at_ms"], notification) for row, notification in zip(page, shown, strict=True)]


def find_notification(connection: Connection, id_: str, *, action_of: ActionOf) -> Notification | None:
    """Find one notification by our id."""
    found = rows(connection, select(*_SHOWN).where(notifications.c.id == id_))
    return next(iter(_show(connection, found, action_of)), None)


def find_notifications(connection: Connection, ids: Sequence[str], *, action_of: ActionOf) -> list[Notification]:
    """Find notifications by our ids, in the order in which they came."""
    c = notifications.c
    found = rows(connection, select(*_SHOWN).where(c.id.in_(ids)).order_by(c.received_at_ms, c.id))
    return _show(connection, found, action_of)


def _show(connection: Connection, found: Sequence[RowMapping], action_of: ActionOf) -> list[Notification]:
    told = _events_of(connection, [row["id"] for row in found])
    asking = [row["id"] for row in found if (row["status"], row["reason"]) == ("quarantined", "confirm_subscription")]
    actions = _actions(connection, asking, action_of)
    return [_notification(row, tuple(told[row["id"]]), actions.get(row["id"])) for row in found]


def _events_of(connection: Connection, ids: Sequence[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    c = events.c
    if ids:
        statement = select(c.notification, c.id).where(c.notification.in_(ids)).order_by(c.position)
        for row in connection.execute(statement):
            found[row.notification].append(row.id)
    return found


def _actions(connection: Connection, ids: Sequence[str], action_of: ActionOf) -> Mapping[str, Action | None]:
    """Read the bodies of the few that ask for something; all others stay where they are."""
    if not ids:
        return {}
    c = notifications.c
    statement = select(c.id, c.app, c.platform, c.body, c.headers).where(c.id.in_(ids))
    return {
        row.id: action_of(row.id, row.app, row.platform, row.body, json.loads(row.headers))
        for row in connection.execute(statement)
    }


def _notification(row: RowMapping, told: Iterable[str], action: Action | None) -> Notification:
    own: dict[str, Any] = {
        name: row[name]
        for name in ("id", "app", "platform", "environment", "notification_id", "type", "subtype", "status")
    }
    return Notification(
        **own,
        occurred_at=row["occurred_at_ms"] // 1000,
        received_at=row["received_at_ms"] // 1000,
        reason=row["reason"],
        detail=row["detail"],
        attempts=row["attempts"],
        events=tuple(told),
        stations={name: ms for name, ms in json.loads(row["stations"]).items() if name != TRACEPARENT},
        action=action,
    )
