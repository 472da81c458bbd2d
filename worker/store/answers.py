"""The first answer to each Idempotency-Key: claimed before the work, kept after it, given again from then on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from worker.store import upsert
from worker.store.tables import idempotency

SEALED: Final = "sealed:"
"""How the body of an answer begins that was sealed before it was kept."""
ABANDONED_MS = 120 * 1000
"""A claim without an answer for this long belongs to a process that died."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is known of a key.

    Attributes:
        mine: the caller does the work now.
        fingerprint: of the request that came first.
        since_ms: when that was. Whoever claims the key after it has another one: so it tells whose the key is.
        status: of its answer; None: it is not there yet.
    """

    mine: bool
    fingerprint: str
    since_ms: int
    status: int | None = None
    body: str | None = None


def claim(connection: Connection, key: str, fingerprint: str, *, now_ms: int, kept_ms: int) -> Claimed:
    """Claim a key for one request, or tell who has it.

    Args:
        connection: a transaction.
        key: as it came.
        fingerprint: of the request.
        now_ms: Unix milliseconds.
        kept_ms: how long a key is remembered.
    """
    _forget(connection, key, now_ms, kept_ms)
    row = {"key": key, "fingerprint": fingerprint, "created_at_ms": now_ms}
    claiming = upsert.insert(connection.dialect.name, idempotency).values(row)
    statement = claiming.on_conflict_do_nothing().returning(idempotency.c.key)
    if connection.execute(statement).first() is not None:
        return Claimed(mine=True, fingerprint=fingerprint, since_ms=now_ms)
    known = connection.execute(select(idempotency).where(idempotency.c.key == key)).first()
    if known is None:  # whoever had it gave it back just now
        return claim(connection, key, fingerprint, now_ms=now_ms, kept_ms=kept_ms)
    return Claimed(
        mine=False,
        fingerprint=known.fingerprint,
        since_ms=known.created_at_ms,
        status=known.status,
        body=known.body,
    )


def keep(connection: Connection, key: str, claimed: Claimed, status: int, body: str) -> None:
    """Keep the answer under its key, unless another request has that by now."""
    connection.execute(update(idempotency).where(*_held(key, claimed)).values(status=status, body=body))


def release(connection: Connection, key: str, claimed: Claimed) -> None:
    """Give a claim back, if it still is one: the request failed on our side and may be made again."""
    connection.execute(delete(idempotency).where(*_held(key, claimed)))


def forget_old(connection: Connection, *, before_ms: int) -> int:
    """Delete every answer to a key that came before a moment; returns how many."""
    return connection.execute(delete(idempotency).where(idempotency.c.created_at_ms < before_ms)).rowcount


def _held(key: str, claimed: Claimed) -> Sequence[ColumnElement[bool]]:
    c = idempotency.c
    return c.key == key, c.created_at_ms == claimed.since_ms, c.status.is_(None)


def _forget(connection: Connection, key: str, now_ms: int, kept_ms: int) -> None:
    """Forget this key if its time is over or whoever claimed it died."""
    c = idempotency.c
    abandoned = c.status.is_(None) & (c.created_at_ms < now_ms - ABANDONED_MS)
    connection.execute(delete(idempotency).where(c.key == key, or_(c.created_at_ms < now_ms - kept_ms, abandoned)))
