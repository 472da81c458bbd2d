"""Take an app backend's word about a purchase: one transaction, and earlier refunds of it take effect at once."""

from handlers.clusters import purchase_named
from handlers.placing import refs_of
from handlers.told import entry_of
from schemas.base import Access
from schemas.book import Book
from schemas.entry import Entry
from schemas.resources import Purchase, PurchaseTold
from worker.commit import Bookkeeper
from worker.process import count_changes, hint_deliveries
from worker.runtime import Runtime


def tell(runtime: Runtime, told: PurchaseTold) -> tuple[Purchase, bool]:
    """Store what the app says of a purchase.

    Returns:
        The purchase as it stands now, and whether it was unknown before.

    Raises:
        StoreUnavailable: nothing was changed.
    """
    now_ms = int(runtime.clock() * 1000)
    entry = entry_of(told, now_ms=now_ms)
    with runtime.store.write() as connection:
        keeper = Bookkeeper(connection, [entry], now_ms=now_ms)
        before = _find(keeper.book, entry)
        keeper.tell([entry], runtime.settings.apps[told.app])
        deliveries = keeper.write()
    hint_deliveries(runtime, deliveries)
    count_changes(runtime, keeper.events)
    purchase = _find(keeper.book, entry)
    if purchase is None:
        raise LookupError("what was told is in the book")
    return purchase, before is None or before.access is Access.UNKNOWN


def _find(book: Book, entry: Entry) -> Purchase | None:
    """Find the purchase an entry names: it may go by another of its ids."""
    home = next((book.refs[ref] for ref in refs_of(entry) if ref in book.refs), None)
    if home is None:
        return None
    named = purchase_named(entry, book.lineages[home].entries)
    return next((purchase for purchase in book.lineages[home].purchases if purchase.purchase_id == named), None)
