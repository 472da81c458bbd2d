"""Find purchases whose date has passed: `due_at` says when to look, and is forgotten where there is nothing to end.

It is the date on which access ends by itself, in a column of its own: an index over `access` would change with every
refund, and with it, on PostgreSQL, every other index of the table. So what was revoked keeps the date, until it passes.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, and_, bindparam, exists, select, update

from schemas.base import Access
from schemas.resources import Purchase
from worker.store.ledger import purchase_of
from worker.store.tables import purchases

_RUNNING = purchases.c.access.in_((Access.ACTIVE.value, Access.SUSPENDED.value))
_run_out = and_(
    _RUNNING, purchases.c.due_at <= bindparam("now"), purchases.c.app.in_(bindparam("apps", expanding=True))
)
ANY_RUN_OUT: Final = exists().where(_run_out)
"""Whether `run_out` would find anything at `now` of these `apps`: a part of a statement."""


def run_out(connection: Connection, apps: Collection[str], *, now: int, limit: int) -> list[Purchase]:
    """List purchases of these apps that still run and whose date has passed, the earliest first."""
    statement = select(purchases).where(_run_out).order_by(purchases.c.due_at).limit(limit)
    return [purchase_of(row) for row in connection.execute(statement, {"now": now, "apps": list(apps)}).mappings()]


def put_off(connection: Connection, ids: Collection[str], *, until: int) -> None:
    """Look at these purchases again at a moment, in Unix seconds, or when something new is said of them."""
    if ids:
        connection.execute(update(purchases).where(purchases.c.id.in_(ids)).values(due_at=until))


def forget_passed(connection: Connection, *, now: int, limit: int) -> int:
    """Forget dates that passed and ended nothing, as access had ended before; returns how many.

    What a worker is writing is left for another time: nobody is waited for.
    """
    c = purchases.c
    passed = select(c.id).where(~_RUNNING, c.due_at <= now).limit(limit).with_for_update(skip_locked=True)
    return connection.execute(update(purchases).where(c.id.in_(passed)).values(due_at=None)).rowcount
