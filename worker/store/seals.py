"""Find out which notifications are sealed with what, and store them sealed anew: a bounded stretch at a time."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, case, func, select, update

from worker.bodies import PREFIX_BYTES, VERSION
from worker.store.tables import notifications

_c = notifications.c
_begins = func.substr(_c.body, 1, PREFIX_BYTES)
_is_sealed = func.substr(_c.body, 1, len(VERSION)) == VERSION


class Begins(NamedTuple):
    """How one stored body begins; empty: it was erased."""

    id: str
    prefix: bytes


class Kept(NamedTuple):
    """What is stored of one notification, and may be sealed."""

    id: str
    body: bytes
    headers: str


def count_by_prefix(connection: Connection) -> dict[bytes, int]:
    """Count the bodies that begin alike; those that lie open under no bytes at all, and those erased not."""
    prefix = case((_is_sealed, _begins), else_=b"").label("prefix")
    counted = select(prefix, func.count()).where(func.length(_c.body) > 0).group_by(prefix)
    return {bytes(row.prefix): row[1] for row in connection.execute(counted)}


def count_notifications(connection: Connection) -> int:
    """Count what there is to look through."""
    return connection.execute(select(func.count()).select_from(notifications)).scalar_one()


def stretch(connection: Connection, *, after: str, limit: int) -> list[Begins]:
    """Read how the next bodies begin, in the order of their ids."""
    statement = select(_c.id, _begins).where(_c.id > after).order_by(_c.id).limit(limit)
    return [Begins(id_, bytes(prefix)) for id_, prefix in connection.execute(statement)]


def hold(connection: Connection, ids: Sequence[str]) -> list[Kept]:
    """Read what is stored of these, and let nobody change it before the transaction ends."""
    statement = select(_c.id, _c.body, _c.headers).where(_c.id.in_(ids)).order_by(_c.id).with_for_update()
    return [Kept(*row) for row in connection.execute(statement)]


def replace(connection: Connection, kept: Sequence[Kept]) -> None:
    """Store these instead."""
    for id_, body, headers in kept:
        connection.execute(update(notifications).where(_c.id == id_).values(body=body, headers=headers))
