"""Choose notifications as an operator does, and walk through however many there are: batch by batch, by their keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal, select, tuple_, update

from schemas.resources import NotificationStatus
from worker.store import bulk
from worker.store.queries import equal
from worker.store.tables import notifications

Key = tuple[int, str]
"""Where a notification stands in the order in which they came: Unix milliseconds, id."""

FIRST: Final[Key] = (-1, "")
"""Before every notification."""

DISCARDED: Final = "discarded"
"""Why a notification is ignored that an operator gave up."""

_CHOSEN = "SELECT received_at_ms, id, status FROM notifications WHERE id IN ?"
_UNTOUCHED = """
    SELECT id FROM notifications WHERE id IN ? AND status || '' = 'accepted' AND attempts = 0"""


class Chosen(NamedTuple):
    """A notification that an operator means."""

    received_at_ms: int
    id: str
    status: str

    @property
    def key(self) -> Key:
        """Where it stands."""
        return self.received_at_ms, self.id


@dataclass(frozen=True, slots=True)
class Selection:
    """Which notifications an operator means; what is not said leaves nothing out.

    Attributes:
        since_ms: those that came at this moment or later.
        until_ms: those that came before this moment.
    """

    app: str | None = None
    platform: str | None = None
    environment: str | None = None
    type: str | None = None
    statuses: tuple[NotificationStatus, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None


def walk(connection: Connection, selection: Selection, *, after: Key, limit: int) -> list[Chosen]:
    """Read the next notifications of a selection, in the order in which they came.

    A row that changes keeps its place, so whoever goes on after the last key meets each of them once.
    """
    c = notifications.c
    place = (c.received_at_ms, c.id)
    statement = select(*place, c.status).where(*_conditions(selection), tuple_(*place) > after)
    return [Chosen(*row) for row in connection.execute(statement.order_by(*place).limit(limit))]


def newest_ms(connection: Connection) -> int:
    """Read when the newest notification came; 0: there is none."""
    return connection.execute(select(func.max(notifications.c.received_at_ms))).scalar_one() or 0


def find(connection: Connection, ids: Sequence[str]) -> dict[str, Chosen]:
    """Find those of these ids that there are."""
    return {row[1]: Chosen(*row) for row in bulk.ask(connection, _CHOSEN, ids)}


def untouched(connection: Connection, ids: Sequence[str]) -> int:
    """Count those of these that no worker has taken up since they were accepted."""
    return len(list(bulk.ask(connection, _UNTOUCHED, ids)))


def statuses(connection: Connection, ids: Sequence[str], *, locked: bool = False) -> dict[str, str]:
    """Read the statuses of these; `locked`: nobody changes them before this transaction ends."""
    statement = select(notifications.c.id, notifications.c.status).where(notifications.c.id.in_(ids))
    statement = statement.order_by(notifications.c.id)
    return {row.id: row.status for row in connection.execute(statement.with_for_update() if locked else statement)}


def discard(connection: Connection, ids: Sequence[str], *, note: str, now_ms: int) -> None:
    """Have these ignored from now on, by somebody's decision; what they were, and the note, stay on record."""
    c = notifications.c
    was = literal("was ") + c.status + func.coalesce(literal(", ") + c.reason, "")
    detail = was + literal(f"; {note}" if note else "")
    ended = {"status": "ignored", "reason": DISCARDED, "finished_at_ms": now_ms}
    connection.execute(update(notifications).where(c.id.in_(ids)).values(**ended, detail=detail))


def _conditions(selection: Selection) -> list[ColumnElement[bool]]:
    c = notifications.c
    columns = {name: getattr(selection, name) for name in ("app", "platform", "environment", "type")}
    said = equal(notifications, columns)
    if selection.statuses:
        # Written out, so that the index of those that need a person is seen to be meant.
        said.append(c.status.in_([bindparam(None, each, literal_execute=True) for each in selection.statuses]))
    if selection.since_ms is not None:
        said.append(c.received_at_ms >= selection.since_ms)
    if selection.until_ms is not None:
        said.append(c.received_at_ms < selection.until_ms)
    return said
