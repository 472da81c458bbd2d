"""Decide what follows from what was said: place it in the ledger, fold again, compare, and say what changed."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from config.settings import App
from handlers import ids
from handlers.announce import Change, balance_changes, entitlement_change, purchase_behind, refund_changes
from handlers.brief import brief
from handlers.causes import by_money
from handlers.clusters import in_platform_order
from handlers.entitlements import standing
from handlers.ledger import fold
from handlers.placing import Placed, place
from handlers.refunds import TAKING
from schemas.base import Access, Environment, trusted
from schemas.book import Book, Changes, Decision, Held, Holder, Lineage
from schemas.entry import Entry, Source
from schemas.resources import Balance, Cause, Customer, Entitlement, Event, EventData, Purchase, Refund

_event_of, _data, _customer, _cause_of = trusted(Event), trusted(EventData), trusted(Customer), trusted(Cause)

REASSIGNED: Final = "reassigned"
"""Why an entitlement ended whose every purchase turned out to be somebody else's. There is none left to show."""


def decide(book: Book, entries: Sequence[Entry], *, app: App, now_ms: int) -> Decision:
    """Decide about everything that one notification says.

    Args:
        book: the ledger as far as these entries concern it.
        entries: what was said, of one app. What the book already holds adds nothing and changes nothing.
        app: the app's products and policy.
        now_ms: Unix milliseconds, the time at which events are told and expiry dates are looked at.

    Returns:
        What it changes, and one event per change: refunds first, then what they did to balances and access.
    """
    return _conclude(place(book, entries), entries[0], app=app, now_ms=now_ms)


def rebuild(book: Book, key: str, *, app: App, now_ms: int) -> Decision:
    """Fold one lineage again, as it must be after products or policy changed; what changes is told like anything else.

    Args:
        book: the ledger as far as this lineage concerns it.
        key: our id of the lineage.
        app: the app's products and policy as they are now.
        now_ms: Unix milliseconds.
    """
    last = in_platform_order(book.lineages[key].entries)[-1]
    cause = last.model_copy(update={"id": f"{last.id}:{now_ms}", "source": Source(type="rebuild")})
    again = Placed(book, Changes(lineages={key: book.lineages[key]}))
    return _conclude(again, cause, app=app, now_ms=now_ms)


def _conclude(placed: Placed, cause: Entry, *, app: App, now_ms: int) -> Decision:
    """Fold what gained something, compare with what was before, and tell of the difference."""
    book, gained, merged = placed.before, placed.changes.lineages, placed.merged
    if not gained:
        return Decision(book)
    joined = [gone for gone, home in merged.items() if home in gained] if merged else ()
    before = [book.lineages[key] for key in sorted((*gained, *joined)) if key in book.lineages]
    after = {key: _folded(lineage, app) for key, lineage in gained.items()}
    ordered = [after[key] for key in sorted(after)]
    was, purchases = _purchases(before), _purchases(ordered)
    refunds_were, refunds = _refunds(before), _refunds(ordered)
    moved = _refund_news(purchases, refunds_were, refunds)
    told = _Told(cause, purchases, _differing(was, purchases), refunds, [item.refund for item in moved if item.refund])
    holdings = _holdings(book.holdings, was, purchases)
    stands = _standings(told, was, book, holdings, now_ms)
    news = [*moved, *_balance_news(told, was, app), *_entitlement_news(told, book, holdings, stands)]
    events, sequences = _number(news, told.entry, book.sequences, now_ms)
    changes = Changes(
        refs=placed.changes.refs,
        lineages=after,
        holdings=holdings,
        entitlements=stands,
        sequences=sequences,
        merged=merged,
    )
    return Decision(book, changes, events, _contradictions(refunds_were, refunds))


class _Told(NamedTuple):
    """The step at hand: who said it, what purchases it looked at and changed, and what became of refunds by it."""

    entry: Entry
    purchases: Sequence[Purchase]
    changed: Sequence[Purchase]
    refunds: Sequence[Refund]
    moved: Sequence[Refund]

    def purchase_behind(self, stands: Entitlement, held: Iterable[Purchase]) -> Purchase | None:
        """Find the purchase that a change of an entitlement is about: one that changed itself, if any did."""
        for among in (self.changed, self.purchases, held):
            if purchase := purchase_behind(stands, among):
                return purchase
        return None

    def refund_behind(self, purchase: Purchase) -> Refund | None:
        """Find the refund that is the cause of a change: the one that moved, else the one that took access before."""
        for refund in reversed(self.moved):
            if refund.charge_id == purchase.id:
                return refund
        if purchase.access not in (Access.REVOKED, Access.SUSPENDED) or not by_money(purchase.rule):
            return None
        standing = [r for r in self.refunds if r.charge_id == purchase.id and r.status in TAKING]
        return next((refund for refund in reversed(standing) if not refund.contradiction), None)


class _News(NamedTuple):
    """One change, before it has its number. Without a `type` it is stored and not told."""

    type: str | None
    environment: Environment
    holder: Holder | None
    purchase: Purchase | None
    refund: Refund | None
    entitlement: Entitlement | None = None
    balance: Balance | None = None


def _folded(lineage: Lineage, app: App) -> Lineage:
    view = fold(lineage.entries, policy=app.policy, products=app.products)
    return Lineage(lineage.entries, view.purchases, view.refunds)


def _purchases(lineages: Iterable[Lineage]) -> list[Purchase]:
    found: list[Purchase] = []
    for lineage in lineages:
        found += lineage.purchases
    return found


def _refunds(lineages: Iterable[Lineage]) -> list[Refund]:
    found: list[Refund] = []
    for lineage in lineages:
        found += lineage.refunds
    return found


def _differing(before: Iterable[Purchase], after: Iterable[Purchase]) -> list[Purchase]:
    """List the purchases that are new, or other than they were."""
    known = {purchase.id: purchase for purchase in before}
    return [purchase for purchase in after if known.get(purchase.id) != purchase]


def _holder(purchase: Purchase) -> Holder | None:
    user_id = purchase.user_id
    return Holder(purchase.app, purchase.environment, user_id) if user_id else None


def _holdings(
    holdings: Mapping[Holder, Mapping[str, Purchase]], gone: Iterable[Purchase], come: Iterable[Purchase]
) -> dict[Holder, dict[str, Purchase]]:
    """Give each purchase to the one it belongs to now; list what those hold then whom that concerns."""
    moved: dict[Holder, dict[str, Purchase]] = {}
    for stays, purchases in ((False, gone), (True, come)):
        for purchase in purchases:
            if holder := _holder(purchase):
                if holder not in moved:
                    moved[holder] = dict(holdings.get(holder, ()))
                if stays:
                    moved[holder][purchase.id] = purchase
                else:
                    moved[holder].pop(purchase.id, None)
    return moved


def _refund_news(purchases: Iterable[Purchase], before: Sequence[Refund], after: Sequence[Refund]) -> list[_News]:
    changes = refund_changes(before, after)
    charges = {purchase.id: purchase for purchase in purchases} if changes else {}
    news = []
    for type_, refund in changes:
        charge = charges[refund.charge_id]
        news.append(_News(type_, charge.environment, _holder(charge), charge, refund))
    return news


def _contradictions(before: Iterable[Refund], after: Iterable[Refund]) -> tuple[str, ...]:
    """List the refunds whose money contradicts the price since this step, with both numbers."""
    found = [(refund.id, refund.contradiction) for refund in after if refund.contradiction]
    if not found:
        return ()
    known = {(refund.id, refund.contradiction) for refund in before}
    return tuple([said for refund_id, said in found if (refund_id, said) not in known])


def _balance_news(told: _Told, was: Iterable[Purchase], app: App) -> list[_News]:
    """Tell of units that a customer's balance loses, or gets back, since this step."""
    news = []
    for type_, units, shown in balance_changes(was, told.purchases):
        allow_negative = app.policy.consumable_refund == "allow_negative"
        balance = Balance(product_id=shown.product_id or "", units=units, allow_negative=allow_negative)
        refund = told.refund_behind(shown)
        news.append(_News(type_, shown.environment, _holder(shown), shown, refund, balance=balance))
    return news


def _standings(
    told: _Told,
    was: Sequence[Purchase],
    book: Book,
    holdings: Mapping[Holder, Mapping[str, Purchase]],
    now_ms: int,
) -> dict[Held, Entitlement]:
    """Tell how every entitlement stands now that a purchase of this step gives, or gave, if that is another way."""
    # Of many periods most give the same to the same one.
    concerned = {(p.app, p.environment, p.user_id, p.entitlements) for p in (*was, *told.purchases)}
    helds = {Held(Holder(app, where, who), key) for app, where, who, keys in concerned if who for key in keys}
    found = {}
    for held in sorted(helds):
        known = book.entitlements.get(held)
        stands = standing(holdings[held.holder].values(), held.key, now=now_ms / 1000) or _taken(known)
        if stands is not None and stands != known:
            found[held] = stands
    return found


def _entitlement_news(
    told: _Told,
    book: Book,
    holdings: Mapping[Holder, Mapping[str, Purchase]],
    changed: Mapping[Held, Entitlement],
) -> list[_News]:
    """Name each change of an entitlement, with the purchase and the refund behind it."""
    news = []
    for held, stands in changed.items():
        change: Change | None = entitlement_change(book.entitlements.get(held), stands)
        purchase = told.purchase_behind(stands, holdings[held.holder].values())
        refund = told.refund_behind(purchase) if purchase else None
        type_ = f"entitlement.{change}" if change else None
        news.append(_News(type_, stands.environment, held.holder, purchase, refund, stands))
    return news


def _taken(known: Entitlement | None) -> Entitlement | None:
    """Every purchase behind it turned out to be somebody else's: it ends here and starts there."""
    if known is None:
        return None
    return known.model_copy(update={"active": False, "status": "revoked", "reason": REASSIGNED, "purchases": ()})


def _number(
    news: Iterable[_News], entry: Entry, sequences: Mapping[tuple[str, str], int], now_ms: int
) -> tuple[tuple[Event, ...], dict[tuple[str, str], int]]:
    """Give each event its place in the gapless order of its customer."""
    counted: dict[tuple[str, str], int] = {}
    causes: dict[str | None, Cause] = {}
    events = []
    for item in news:
        if item.type is None:
            continue
        number = None
        if item.holder:
            customer = (item.holder.app, item.holder.user_id)
            number = counted[customer] = counted.get(customer, sequences.get(customer, 0)) + 1
        # What a refund takes has mostly the cause that the refund has.
        rule = item.purchase.rule if item.purchase else REASSIGNED
        cause = causes.get(rule) or causes.setdefault(rule, _cause(entry, rule))
        events.append(_event(item.type, item, entry, cause, number, now_ms))
    return tuple(events), counted


def _event(type_: str, news: _News, entry: Entry, cause: Cause, sequence: int | None, now_ms: int) -> Event:
    user_id = news.holder.user_id if news.holder else None
    return _event_of(
        id=ids.make("evt", entry.id, type_, user_id, _subject(news), sequence),
        type=type_,
        timestamp=_iso(now_ms),
        app=entry.app,
        environment=news.environment,
        customer=_customer(user_id=user_id) if user_id else None,
        sequence=sequence,
        data=_data(
            entitlement=news.entitlement and brief(news.entitlement),
            refund=news.refund and brief(news.refund),
            purchase=news.purchase and brief(news.purchase),
            balance=news.balance,
            cause=cause,
        ),
    )


def _subject(news: _News) -> str:
    """Name what an event is about, among everything that one step tells of one customer."""
    if news.balance:
        return news.balance.product_id
    return news.entitlement.key if news.entitlement else news.refund.id if news.refund else ""


def _cause(entry: Entry, rule: str | None) -> Cause:
    source = entry.source
    from_platform = source.notification is not None
    return _cause_of(
        platform=entry.platform if from_platform else None,
        notification_id=source.notification_id,
        notification=source.notification,
        type=source.type if from_platform else None,
        rule=rule,
    )


@lru_cache(maxsize=8)
def _iso(milliseconds: int) -> str:
    """Write a time as events show it. All events of a set have the same one."""
    moment = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
