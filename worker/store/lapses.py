"""Find purchases whose date has passed: `due_at` says when to look, and is forgotten where there is nothing to end.

It is the date on which access ends by itself, in a column of its own: an index over `access` would change with every
refund, and with it, on PostgreSQL, every other index of the table. So what was revoked keeps the date, until it passes.
"""

from collections.abc import Collection

from sqlalchemy import Connection, select, update

from schemas.base import Access
from schemas.resources import Purchase
from worker.store.ledger import purchase_of
from worker.store.tables import purchases

_RUNNING = purchases.c.access.in_((Access.ACTIVE.value, Access.SUSPENDED.value))


def run_out(connection: Connection, apps: Collection[str], *, now: int, limit: int) -> list[Purchase]:
    """List purchases of these apps that still run and whose date has passed, the earliest first."""
    c = purchases.c
    statement = select(purchases).where(_RUNNING, c.due_at <= now, c.app.in_(list(apps))).order_by(c.due_at)
    return [purchase_of(row) for row in connection.execute(statement.limit(limit)).mappings()]


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
