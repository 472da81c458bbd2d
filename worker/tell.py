"""Take an app backend's word about a purchase: one transaction, and earlier refunds of it take effect at once."""

from typing import Final

from sqlalchemy import Connection

from handlers.ledger import purchase_id_of
from handlers.placing import refs_of
from handlers.told import entry_of
from schemas.base import Access
from schemas.book import Book, Lineage
from schemas.entry import Entry, EntryKind
from schemas.resources import Purchase, PurchaseTold
from worker.commit import Bookkeeper
from worker.process import count_changes, hint_deliveries
from worker.runtime import Runtime
from worker.store.naming import purchase_of
from worker.store.outbox import Owners

NO_PAYMENT_KNOWN: Final = "no_payment_known"
"""Why a subscription that was told of gives nothing yet: no payment of it is known, and only those are purchases."""


def tell(runtime: Runtime, told: PurchaseTold) -> tuple[Purchase, bool]:
    """Store what the app says of a purchase.

    Returns:
        The purchase as it stands now, and whether it was unknown before. Of a subscription: its newest payment; none
        is known yet where the access is unknown for that reason.

    Raises:
        StoreUnavailable: nothing was changed.
    """
    now_ms = int(runtime.clock() * 1000)
    entry = entry_of(told, now_ms=now_ms)

    def change(connection: Connection) -> tuple[Bookkeeper, bool, Owners]:
        keeper = Bookkeeper(connection, [entry], now_ms=now_ms)
        known = _is_known(keeper.book, entry)
        keeper.tell([entry], runtime.settings.apps[told.app])
        return keeper, known, keeper.write()

    keeper, known, deliveries = runtime.store.change(change)
    hint_deliveries(runtime, deliveries)
    count_changes(runtime, keeper.events)
    return _find(keeper.book, entry) or _to_come(told, entry), not known


def _is_known(book: Book, entry: Entry) -> bool:
    """Tell whether somebody, the platform or the app, said before what was bought."""
    if purchase := _find(book, entry):
        return purchase.access is not Access.UNKNOWN
    home = _home(book, entry)
    return entry.whole_lineage and home is not None and any(e.kind is EntryKind.TOLD for e in home.entries)


def _home(book: Book, entry: Entry) -> Lineage | None:
    key = next((book.refs[ref] for ref in refs_of(entry) if ref in book.refs), None)
    return None if key is None else book.lineages[key]


def _find(book: Book, entry: Entry) -> Purchase | None:
    """Find the purchase an entry names, which may go by another of its ids; of a whole lineage, the newest."""
    home = _home(book, entry)
    return None if home is None else purchase_of(entry, home)


def _to_come(told: PurchaseTold, entry: Entry) -> Purchase:
    """Show what was told of a subscription of which no payment is known yet: nothing that gives access."""
    return Purchase(
        id=purchase_id_of(refs_of(entry)[0]),
        app=told.app,
        platform=told.platform,
        environment=told.environment,
        purchase_id=told.purchase_id,
        original_purchase_id=told.purchase_id,
        product_id=told.product_id,
        kind=told.kind,
        user_id=told.user_id,
        access=Access.UNKNOWN,
        access_reason=NO_PAYMENT_KNOWN,
        updated_at=entry.occurred_at_ms // 1000,
    )
