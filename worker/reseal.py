"""Seal with the first key what another one sealed, or what lies open, so that the other one can go.

A stretch of the inbox at a time, beside running workers. What no key opens stays as it is, for whoever finds the key.
"""

import json
from collections.abc import Generator
from dataclasses import dataclass

from sqlalchemy import Connection

from worker.bodies import Bodies
from worker.runtime import Runtime
from worker.sealing import NoEncryptionKey, Sealed
from worker.store import seals
from worker.store.seals import Kept

STRETCH = 500


@dataclass(frozen=True, slots=True)
class Resealed:
    """How far it is.

    Attributes:
        looked: through so many notifications.
        sealed: so many of them anew; in a dry run, so many would be.
        closed: so many that no key opens.
    """

    looked: int = 0
    sealed: int = 0
    closed: int = 0


def reseal(runtime: Runtime, *, dry_run: bool = False) -> Generator[Resealed, None, None]:
    """Go through the inbox; tell after each stretch how far that is. To be interrupted at any time, and begun again.

    Raises:
        NoEncryptionKey: there is nothing to seal with.
        StoreUnavailable: nothing of the stretch was changed.
    """
    if runtime.bodies.current is None:
        raise NoEncryptionKey
    so_far, after = Resealed(), ""
    while True:
        with runtime.store.look() as connection:
            found = seals.stretch(connection, after=after, limit=STRETCH)
        if not found:
            return
        stale = [one for one in found if one.prefix and one.prefix != runtime.bodies.current]
        ids = [one.id for one in stale if runtime.bodies.knows(one.prefix)]
        sealed = len(ids) if dry_run else _seal(runtime, ids)
        closed = so_far.closed + len(stale) - sealed
        so_far, after = Resealed(so_far.looked + len(found), so_far.sealed + sealed, closed), found[-1].id
        yield so_far


def _seal(runtime: Runtime, ids: list[str]) -> int:
    def change(connection: Connection) -> int:
        anew = [sealed for kept in seals.hold(connection, ids) if (sealed := _anew(runtime.bodies, kept))]
        seals.replace(connection, anew)
        return len(anew)

    return runtime.store.change(change) if ids else 0


def _anew(bodies: Bodies, kept: Kept) -> Kept | None:
    try:
        return Kept(kept.id, *bodies.put(kept.id, *bodies.take(kept.id, kept.body, json.loads(kept.headers))))
    except Sealed:
        return None
