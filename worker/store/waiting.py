"""Ask in one statement whether anything at all fell through: most seconds of most days nothing did."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, select

from worker.store import inbox, lapses, outbox
from worker.store.postgresql import walk_in_order


class Waiting(NamedTuple):
    """Of which kind there is something: each is looked for where this says so."""

    notifications: bool
    deliveries: bool
    lapsed: bool


def ask(connection: Connection, apps: Collection[str], *, now_ms: int) -> Waiting:
    """Tell what `inbox.overdue`, `outbox.due` and `lapses.run_out` would find something of."""
    walk_in_order(connection)
    asked = {"now_ms": now_ms, "now": now_ms // 1000, "apps": list(apps)}
    return Waiting(*map(bool, connection.execute(_ANYTHING, asked).one()))


_ANYTHING = select(inbox.ANY_OVERDUE, outbox.ANY_DUE, lapses.ANY_RUN_OUT)
