"""Forget notifications that were finished long ago, a bounded batch at a time. Their entries stay, for ever.

| notification | is kept |
|---|---|
| `accepted`, `quarantined`, `dead` | until it is processed, or somebody discards it |
| `processed`, `ignored` | as long as the configuration says, from when it was finished |
| the newest of an app's platform | always: it tells since when that platform is silent |

Nobody needs the others: the fold and the timeline read entries, and a platform that repeats a notification which is
forgotten has it processed again, to the entries that are there already.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, func, select

from worker.store import bulk
from worker.store.retention import BEGINNING, Pruned
from worker.store.tables import deliveries, events, idempotency, marks, notifications

FORGOTTEN: Final = "notifications.pruned"
"""The mark before which, in Unix milliseconds, finished notifications may be gone."""

_c = notifications.c


def prune_notifications(connection: Connection, *, before_ms: int, limit: int, after: int = BEGINNING) -> Pruned:
    """Forget the oldest of the notifications that were finished before a moment.

    Args:
        connection: a transaction.
        before_ms: Unix milliseconds.
        limit: how many of them are looked at.
        after: when the last one of the batch before was received, Unix milliseconds.
    """
    statement = select(_c.id, _c.app, _c.platform, _c.received_at_ms).where(
        _c.received_at_ms >= after, *_finished(before_ms)
    )
    found = connection.execute(statement.order_by(_c.received_at_ms, _c.id).limit(limit)).all()
    newest = {at: _newest_ms(connection, *at) for at in {(row.app, row.platform) for row in found}}
    gone = [row.id for row in found if row.received_at_ms < newest[row.app, row.platform]]
    if not gone:
        return Pruned()
    # Said before they go: whoever finds something of theirs from before then must not miss them.
    bulk.upsert(connection, marks, ("name", "value"), [(FORGOTTEN, str(max(before_ms, forgotten_ms(connection))))])
    connection.execute(delete(notifications).where(_c.id.in_(gone)))
    return Pruned(notifications=len(gone), end=found[-1].received_at_ms if len(found) == limit else None)


def forgotten_ms(connection: Connection) -> int:
    """Read before which moment finished notifications may be gone; 0: none are."""
    return int(connection.execute(select(marks.c.value).where(marks.c.name == FORGOTTEN)).scalar() or 0)


def count_notifications(connection: Connection, *, before_ms: int) -> int:
    """Count the notifications that were finished before a moment."""
    return connection.execute(select(func.count()).where(*_finished(before_ms))).scalar_one()


def count_events(connection: Connection, *, before_ms: int) -> int:
    """Count the events that were told before a moment; what a pending delivery needs among them stays."""
    return connection.execute(select(func.count()).where(events.c.timestamp_ms < before_ms)).scalar_one()


def count_deliveries(connection: Connection, *, before_ms: int) -> int:
    """Count the deliveries that were finished before a moment."""
    d = deliveries.c
    over = d.status != "pending", d.finished_at_ms < before_ms
    return connection.execute(select(func.count()).where(*over)).scalar_one()


def count_answers(connection: Connection, *, before_ms: int) -> int:
    """Count the answers to keys that came before a moment."""
    return connection.execute(select(func.count()).where(idempotency.c.created_at_ms < before_ms)).scalar_one()


def _finished(before_ms: int) -> Sequence[ColumnElement[bool]]:
    # Whatever was finished before had come before: so the index of when they came is of use.
    return _c.received_at_ms < before_ms, _c.status.in_(("processed", "ignored")), _c.finished_at_ms < before_ms


def _newest_ms(connection: Connection, app: str, platform: str) -> int:
    statement = select(func.max(_c.received_at_ms)).where(_c.app == app, _c.platform == platform)
    return connection.execute(statement).scalar_one() or 0
