"""A backlog of any size: what the real inbox stored of some customers, multiplied within PostgreSQL.

Each copy of a customer has ids of its own, in its rows and in the bodies, so that it is somebody new who bought
something and had the money back. Workers do not prove what the door has proved, so the copies need no signature.
"""

from collections.abc import Sequence
from random import Random
from time import time
from typing import Any

from sqlalchemy import func, select

from config.settings import Broker
from tests.benchmarks.ingest import stored
from tests.e2e.running import SWEEP_AFTER_SECONDS, Installation, till
from worker.broker import make_broker
from worker.queue import BrokerQueue
from worker.simulator.sales import DAY_MS
from worker.store import tables
from worker.store.engine import Store

SEEDS = 20
"""Customers who are multiplied: each is two notifications."""
COPIES_AT_ONCE = 500
OURS = r"\m((?:evt|ch|py|pi|in|re|txn|sub|cus|user|req|il|si|pm)_[A-Za-z0-9]{6,}|user-[a-z0-9]+)\M"
"""Whatever in a body is the id of something; the same becomes the same in every body of a copy."""

_COLUMNS = [column.name for column in tables.notifications.columns]
_CHANGED = {
    "id": "left(seed.id, 4) || left(md5(seed.id || copy), 24)",
    "notification_id": "seed.notification_id || 'x' || copy",
    "body": rf"convert_to(regexp_replace(convert_from(seed.body, 'UTF8'), '{OURS}', '\1x' || copy, 'g'), 'UTF8')",
}
_COPY = (
    f"INSERT INTO notifications ({', '.join(_COLUMNS)}) "  # noqa: S608 - our own names
    f"SELECT {', '.join(_CHANGED.get(name, f'seed.{name}') for name in _COLUMNS)} "
    "FROM generate_series(%(first)s::int, %(last)s::int) AS copy, seed ORDER BY copy, seed.received_at_ms RETURNING id"
)


def pile_up(installation: Installation, store: Store, connection: Any, broker: str, count: int) -> list[str]:
    """Have so many notifications accepted and hinted at, as a door does that nobody works behind; give their ids.

    Args:
        installation: where.
        store: its database.
        connection: another to it, of psycopg's, in autocommit.
        broker: its URL.
        count: about; it is rounded down to a multiple of the seeds.
    """
    ids = _seeds(installation, store)
    each = len(ids)
    connection.execute("CREATE TEMP TABLE seed AS SELECT * FROM notifications")
    for first in range(1, count // each, COPIES_AT_ONCE):
        last = min(first + COPIES_AT_ONCE, count // each) - 1
        ids += [new for (new,) in connection.execute(_COPY, {"first": first, "last": last})]
    connection.execute("VACUUM (ANALYZE) notifications")
    queue = BrokerQueue(make_broker(installation.settings.model_copy(update={"broker": Broker(url=broker)})))
    queue.put_notifications(ids)
    queue.close()
    return ids


def _seeds(installation: Installation, store: Store) -> list[str]:
    """Store what Stripe says of some customers who buy and are refunded."""
    now, random, simulator = time(), Random(7), installation.simulator("stripe")
    shots = []
    for _ in range(SEEDS):
        sale = till("stripe", random).sell(0, bought_ms=int(now * 1000) - 5 * DAY_MS, subscription=False)
        shots += [simulator.purchase(sale, now - 60), simulator.refund(sale, now)]
    return stored(store, "stripe", shots, retry_after_seconds=SWEEP_AFTER_SECONDS)


def outcomes(store: Store) -> dict[str, int]:
    """Count the inbox by what became of it."""
    status = tables.notifications.c.status
    with store.read() as connection:
        return {row[0]: row[1] for row in connection.execute(select(status, func.count()).group_by(status))}


def left(store: Store) -> int:
    """Count what nobody finished."""
    c = tables.notifications.c
    with store.read() as connection:
        statement = select(func.count()).where(c.status == "accepted")
        return int(connection.execute(statement).scalar_one())


def broken(store: Store, ids: Sequence[str]) -> dict[str, int]:
    """Count what should be and is not: each customer has one refund, one purchase without access, two events."""
    customers = len(ids) // 2
    refunds, purchases, events = tables.refunds.c, tables.purchases.c, tables.events.c
    wanted = {
        "refunds": (select(func.count()).where(refunds.status == "succeeded"), customers),
        "purchases": (select(func.count()).where(purchases.access == "revoked"), customers),
        "revocations": (select(func.count()).where(events.type == "entitlement.revoked"), customers),
    }
    with store.read() as connection:
        found = {name: int(connection.execute(asked).scalar_one()) for name, (asked, _) in wanted.items()}
    return {name: found[name] - count for name, (_, count) in wanted.items() if found[name] != count}
