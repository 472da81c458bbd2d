"""The subscribers table: who is told, in which state, and who decides on that.

| origin | made by | secrets | may be changed by |
|---|---|---|---|
| `config` | every start | in the configuration alone | the configuration; its state by the API too |
| `api` | the API | sealed, in `secrets` | the API |

| state | reason | means | ends by |
|---|---|---|---|
| `enabled` | | is told | |
| `paused` | | deliveries are queued, none is attempted | an operator |
| `disabled` | `by_operator` | nothing is queued | an operator |
| `disabled` | `gone`, `long_failure` | nothing is queued: 410, or days of failure | an operator, or a start |
| `disabled` | `removed_from_configuration` | nothing is queued | the configuration |

Whatever disables also notes in `missed_after` up to where in the feed it was told, unless that is noted already.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, func, or_, select, update

from config.settings import Subscriber as Configured
from handlers import ids as identify
from worker.keyring import NOTHING_KEPT
from worker.store import upsert
from worker.store.queries import After, Filters, equal, newest_first, rows
from worker.store.standing import disabled
from worker.store.tables import PENDING, deliveries, subscribers

ENABLED: Mapping[str, Any] = {"state": "enabled", "reason": None, "failing_since_ms": None, "not_before_ms": 0}
"""What holds of whoever gets another chance."""

_c = subscribers.c
_mended_by_a_start = and_(_c.state == "disabled", _c.reason.in_(("gone", "long_failure", "removed_from_configuration")))


def sync_subscribers(connection: Connection, configured: Sequence[Configured], now: float) -> None:
    """Make the table's configured subscribers equal to the configuration; those that left it are disabled.

    One that was disabled for its failures is enabled again: a new start is how an operator says that it is mended, and
    the first answer decides whether that was true. What an operator paused or disabled stays as it is.
    """
    known = _known(connection, configured)
    wanted = {known.get((one.app, one.url)) or identify.make("sub", one.app, one.url): one for one in configured}
    for id_, one in wanted.items():
        _sync_one(connection, id_, one, now)
    removed = _c.origin == "config", _c.id.not_in(list(wanted))
    connection.execute(update(subscribers).where(*removed, _c.secrets != NOTHING_KEPT).values(secrets=NOTHING_KEPT))
    gone = or_(_c.state != "disabled", _c.reason != "removed_from_configuration")
    connection.execute(
        update(subscribers).where(*removed, gone).values(disabled("removed_from_configuration", int(now * 1000)))
    )


def list_subscribers(connection: Connection, filters: Filters, *, after: After, limit: int) -> Sequence[RowMapping]:
    """List subscribers, newest first."""
    statement = select(subscribers).where(*equal(subscribers, filters))
    return newest_first(connection, statement, _c.created_at, _c.id, after, limit)


def find_subscriber(connection: Connection, id_: str, *, locked: bool = False) -> RowMapping | None:
    """Find one subscriber; `locked`: nobody else changes it before this transaction ends."""
    statement = select(subscribers).where(_c.id == id_)
    return next(iter(rows(connection, statement.with_for_update() if locked else statement)), None)


def find_same(connection: Connection, app: str, url: str) -> RowMapping | None:
    """Find who is told of an app's events at an address already."""
    return next(iter(rows(connection, select(subscribers).where(_c.app == app, _c.url == url))), None)


def count_of(connection: Connection, app: str) -> int:
    """Count the subscribers of an app."""
    return connection.execute(select(func.count()).where(_c.app == app)).scalar_one()


def backlog(connection: Connection, ids: Collection[str]) -> dict[str, int]:
    """Count what has not arrived yet, by subscriber."""
    if not ids:
        return {}
    d = deliveries.c
    waiting = select(d.subscriber, func.count()).where(d.subscriber.in_(ids), d.status == PENDING)
    return {row.subscriber: row[1] for row in connection.execute(waiting.group_by(d.subscriber))}


def add_subscriber(connection: Connection, values: Mapping[str, Any], *, now: float) -> bool:
    """Enter one, who is told from now on; tell whether its address was free."""
    new = {**ENABLED, "created_at": int(now), "changed_at": int(now), **values}
    entering = upsert.insert(connection.dialect.name, subscribers).values(new)
    entered = entering.on_conflict_do_nothing().returning(_c.id)
    return connection.execute(entered).first() is not None


def change_subscriber(connection: Connection, id_: str, values: Mapping[str, Any]) -> None:
    """Change columns of one."""
    if values:
        connection.execute(update(subscribers).where(_c.id == id_).values(dict(values)))


def remove_subscriber(connection: Connection, id_: str) -> int:
    """Delete one and what is on its way to it; tell how much that was. What was attempted stays on record."""
    connection.execute(delete(subscribers).where(_c.id == id_))
    return connection.execute(delete(deliveries).where(_pending_of([id_]))).rowcount


def forget_orphans(connection: Connection) -> int:
    """Delete what was queued while its subscriber was being deleted; tell how much that was."""
    waiting = select(deliveries.c.subscriber).where(deliveries.c.status == PENDING).distinct()
    orphans = sorted({*connection.execute(waiting).scalars()} - {*connection.execute(select(_c.id)).scalars()})
    if not orphans:
        return 0
    return connection.execute(delete(deliveries).where(_pending_of(orphans))).rowcount


def sealed_secrets(connection: Connection) -> dict[str, str]:
    """Give what is kept of the secrets of the API's subscribers, by id."""
    statement = select(_c.id, _c.secrets).where(_c.origin == "api").order_by(_c.id)
    return {row.id: row.secrets for row in connection.execute(statement)}


def replace_secrets(connection: Connection, id_: str, before: str, after: str) -> bool:
    """Write secrets sealed anew, unless somebody has changed them meanwhile."""
    unchanged = _c.secrets == before  # public: the database compares
    statement = update(subscribers).where(_c.id == id_, unchanged).values(secrets=after)
    return connection.execute(statement).rowcount > 0


def _pending_of(ids: Iterable[str]) -> ColumnElement[bool]:
    return and_(deliveries.c.subscriber.in_(list(ids)), deliveries.c.status == PENDING)


def _known(connection: Connection, configured: Iterable[Configured]) -> dict[tuple[str, str], str]:
    """Find those that are there already, whoever made them: an address of an app is told once."""
    apps = {one.app for one in configured}
    found = connection.execute(select(_c.app, _c.url, _c.id).where(_c.app.in_(apps))) if apps else ()
    return {(app, url): id_ for app, url, id_ in found}


def _sync_one(connection: Connection, id_: str, one: Configured, now: float) -> None:
    """Enter one, or change it; it may be there, or come from another process that starts just now."""
    values = _values(one)
    if add_subscriber(connection, {"id": id_, **values}, now=now):
        return
    change_subscriber(connection, id_, values)
    mended = update(subscribers).where(_c.id == id_, _mended_by_a_start)
    connection.execute(mended.values({**ENABLED, "changed_at": int(now)}))


def _values(one: Configured) -> dict[str, Any]:
    return {
        "app": one.app,
        "url": one.url,
        "secrets": NOTHING_KEPT,
        "types": json.dumps(one.types),
        "environment": one.environment or None,
        "order": one.order,
        "rate_per_second": one.rate_per_second or None,
        "timeout_seconds": one.timeout_seconds,
        "allow_private": one.allow_private,
        "origin": "config",
    }
