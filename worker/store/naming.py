"""Find purchases by any id they go by: the platform's, an alias, a refund's, or one that was told before a better one.

The ids of everything that was ever said are in the table of refs, each under its kind, so that this is a look-up; which
purchase of a lineage goes by it, the lineage's entries say.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Final

from sqlalchemy import Connection, select

from handlers.clusters import purchase_named
from schemas.book import Lineage
from schemas.entry import Entry
from schemas.resources import Purchase
from worker.store.ledger import load_lineages
from worker.store.tables import purchases, refs

OF_ALL: Final = ("subscription", "token")
"""Kinds of ids that stand for everything of a lineage, and that an app may tell in the place of a purchase's."""

_OF_ONE: Final = ("purchase", "payment_intent", "invoice", "checkout_session", "one_time", "refund")
"""Kinds of ids that name one purchase."""


def purchases_known_as(connection: Connection, name: str) -> set[str]:
    """Find our ids of the purchases that go by this id; of one that stands for a whole lineage, the newest of it."""
    own = connection.execute(select(purchases.c.id).where(purchases.c.purchase_id == name)).scalars()
    wanted = [f"{kind}:{name}" for kind in (*_OF_ONE, *OF_ALL)]
    found = connection.execute(select(refs.c.ref, refs.c.lineage).where(refs.c.ref.in_(wanted))).all()
    homes = load_lineages(connection, {row.lineage for row in found})
    return {
        *own,
        *(id_ for key, home in homes.items() for id_ in _known_as(home, {r.ref for r in found if r.lineage == key})),
    }


def _known_as(home: Lineage, names: AbstractSet[str]) -> Collection[str]:
    """Find the purchases of a lineage that have one of these names; else the newest, if a name stands for it all."""
    saying = [entry for entry in home.entries if not names.isdisjoint(entry.refs)]
    naming = [entry for entry in saying if not names.isdisjoint(_own(entry))]
    named = {purchase.id for entry in naming if (purchase := purchase_of(entry, home))}
    last = newest(home)
    return named or ({last.id} if last and len(naming) < len(saying) else ())


def _own(entry: Entry) -> Collection[str]:
    """List the names of an entry's purchase, without those that it shares with others."""
    return [ref for ref in entry.refs if ref not in entry.subject.lineage]


def newest(home: Lineage) -> Purchase | None:
    """Find the newest purchase of a lineage."""
    return max(home.purchases, key=lambda bought: (bought.purchased_at or 0, bought.id), default=None)


def purchase_of(entry: Entry, home: Lineage) -> Purchase | None:
    """Find the purchase an entry names, which may go by another of its ids; of a whole lineage, the newest."""
    if entry.whole_lineage:
        return newest(home)
    named = purchase_named(entry, home.entries)
    return next((purchase for purchase in home.purchases if purchase.purchase_id == named), None)
