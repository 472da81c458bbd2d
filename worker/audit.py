"""Prove that what is stored equals what its entries say, and make it so where products or policy have changed."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select

from handlers.ledger import fold
from worker.commit import Bookkeeper
from worker.process import hint_deliveries
from worker.runtime import Runtime
from worker.store import ledger, tables
from worker.store.outbox import Owners

BATCH = 500


@dataclass(frozen=True, slots=True)
class Audit:
    """What a comparison found.

    Attributes:
        differing: our ids of the lineages whose stored view is not the fold of their entries.
    """

    lineages: int
    differing: tuple[str, ...]


def check_fold(runtime: Runtime) -> Audit:
    """Compare every lineage of every configured app, a few hundred at a time.

    Raises:
        StoreUnavailable: the comparison could not be made.
    """
    seen, differing = 0, []
    for batch in _batches(runtime):
        seen += len(batch)
        with runtime.store.read() as connection:
            lineages = ledger.load_lineages(connection, set(batch))
        for key, lineage in lineages.items():
            app = runtime.settings.apps.get(lineage.entries[0].app) if lineage.entries else None
            if app is None:
                continue
            view = fold(lineage.entries, policy=app.policy, products=app.products)
            stored = (set(lineage.purchases), set(lineage.refunds))
            if (set(view.purchases), set(view.refunds)) != stored:
                differing.append(key)
    return Audit(seen, tuple(differing))


def rebuild(runtime: Runtime, key: str) -> int:
    """Fold one lineage again and store what it amounts to; subscribers hear of what changes by it.

    Returns:
        How many events that made.

    Raises:
        StoreUnavailable: nothing was changed.
    """
    now_ms = int(runtime.clock() * 1000)

    def change(connection: Connection) -> tuple[int, Owners]:
        entries = ledger.load_lineages(connection, {key})[key].entries
        if not entries:  # it turned out to be another one's, meanwhile
            return 0, {}
        keeper = Bookkeeper(connection, entries, now_ms=now_ms)
        keeper.rebuild(runtime.settings.apps[entries[0].app])
        return len(keeper.events), keeper.write()

    events, deliveries = runtime.store.change(change)
    hint_deliveries(runtime, deliveries)
    return events


def _batches(runtime: Runtime) -> Iterator[list[str]]:
    last = ""
    while True:
        statement = (
            select(tables.entries.c.lineage)
            .where(tables.entries.c.lineage > last)
            .group_by(tables.entries.c.lineage)
            .order_by(tables.entries.c.lineage)
            .limit(BATCH)
        )
        with runtime.store.read() as connection:
            batch = list(connection.execute(statement).scalars())
        if not batch:
            return
        yield batch
        last = batch[-1]
