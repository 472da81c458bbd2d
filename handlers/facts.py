"""Merge what different sources say of one purchase into one set of facts, whoever spoke first.

The platform's own word wins over the app's, its latest word over its earlier ones; of the app's calls the first that
fills a gap stays (`POST /v1/purchases`: later calls fill in what was unknown). A user taken from a Stripe customer id
is a guess, and gives way to everything else.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from config.products import ProductKind
from handlers.clusters import in_platform_order
from schemas.base import trusted
from schemas.entry import Authority, Entry, EntryKind, PurchaseFacts

_merged = trusted(PurchaseFacts)

RENEWAL_LEAD_MS = 24 * 3600 * 1000
"""Stores charge for the next period up to a day before it begins
(App Store: "Auto-renewable subscriptions renew within 24 hours before the subscription expires")."""

_TOLD = EntryKind.TOLD
_MOVES_THE_END = (EntryKind.RENEWED, EntryKind.RESCHEDULED)
"""Even without a new date, these say that the old one no longer counts."""
_NO_END = frozenset({EntryKind.LAPSED})
_NO_END_OF_ITS_OWN = frozenset({EntryKind.LAPSED, EntryKind.RESCHEDULED})
"""What gives the newest period no end, and what gives none to one before it."""

Users = Mapping[Authority, str]
"""Whose it is, by who says so."""


def merge(
    own: Sequence[Entry], whole_lineage: Sequence[Entry], lineage_users: Users, *, newest: bool = True
) -> PurchaseFacts:
    """Merge facts.

    Args:
        own: entries that name this purchase, in platform order.
        whole_lineage: entries about every purchase of its lineage that concern this one, in platform order.
        lineage_users: what `users` finds in every entry of the lineage.
        newest: no later period of its lineage is known.
    """
    words = _by_weight(own)
    best = _best(words)
    price, currency = _price(words)
    ends = who_says_the_end(own, whole_lineage, newest=newest)
    of_all = _best(_by_weight(whole_lineage)) if whole_lineage else _NOTHING
    return _merged(
        product_id=best.product_id or of_all.product_id,
        kind=best.kind or of_all.kind,
        user_id=_user(users(own), lineage_users),
        quantity=best.quantity,
        quantity_left=best.quantity_left,
        amount=price,
        currency=currency,
        purchased_at_ms=best.purchased_at_ms,
        expires_at_ms=ends.facts.expires_at_ms if ends else None,
    )


def purchased_at_ms(own: Sequence[Entry]) -> int | None:
    """Find when a purchase was bought."""
    for entry in _by_weight(own):
        if (bought := entry.facts.purchased_at_ms) is not None:
            return bought
    return None


def users(entries: Iterable[Entry]) -> Users:
    """Find whose these are, by who says so: the platform's last word, the app's first.

    Args:
        entries: in platform order.
    """
    found: dict[Authority, str] = {}
    for entry in entries:
        said = entry.facts
        if said.user_id and not (said.user_authority == "app" and "app" in found):
            found[said.user_authority] = said.user_id
    return found


class _Best(NamedTuple):
    """The words that count, each on one fact."""

    product_id: str | None = None
    kind: ProductKind | None = None
    quantity: int | None = None
    quantity_left: int | None = None
    purchased_at_ms: int | None = None


_NOTHING = _Best()


def _by_weight(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Sort by whose word counts: first the platform's, its last before its earlier ones; then the app's as they came.

    Args:
        entries: in platform order.
    """
    if len(entries) < 2:
        return entries
    by_platform = [entry for entry in reversed(entries) if entry.kind is not _TOLD]
    if len(by_platform) < len(entries):
        by_platform += [entry for entry in entries if entry.kind is _TOLD]
    return by_platform


def _best(words: Iterable[Entry]) -> _Best:
    """Find the word that counts on each fact, in one pass: the first that is not silent.

    A platform's own number for a product is a guess, the last to count: the app is configured by its own names.
    """
    product_id = guess = kind = quantity = left = bought = None
    for entry in words:
        said = entry.facts
        guess = said.product_id if guess is None else guess
        if product_id is None and said.product_authority != "guess":
            product_id = said.product_id
        kind = said.kind if kind is None else kind
        quantity = said.quantity if quantity is None else quantity
        left = said.quantity_left if left is None else left
        bought = said.purchased_at_ms if bought is None else bought
    return _Best(product_id or guess, kind, quantity, left, bought)


def _price(words: Sequence[Entry]) -> tuple[int | None, str | None]:
    """Find what was paid, in the currency of whoever says it, as one source's euros are not another's dollars.

    Of the platform's own sums in one currency the highest: several payments of one invoice each tell their part of it.
    """
    priced = [entry for entry in words if entry.facts.amount is not None]
    if not priced:
        return None, _currency(words)
    amount, currency = priced[0].facts.amount, priced[0].facts.currency
    if len(priced) > 1 and priced[0].kind is not _TOLD:
        sums = [e.facts for e in priced if e.kind is not _TOLD and e.facts.currency == currency]
        amount = max(said.amount for said in sums if said.amount is not None)
    return amount, currency or _currency(words)


def _currency(words: Iterable[Entry]) -> str | None:
    for entry in words:
        if (currency := entry.facts.currency) is not None:
            return currency
    return None


def _user(own: Users, lineage: Users) -> str | None:
    """Find whose it is: said of this purchase, else of another period of it; a guess comes last."""
    sure = own.get("platform") or own.get("app") or lineage.get("platform") or lineage.get("app")
    return sure or own.get("guess") or lineage.get("guess")


def who_says_the_end(own: Sequence[Entry], whole_lineage: Sequence[Entry], *, newest: bool) -> Entry | None:
    """Find the entry whose date is the end of a purchase; None: nobody says when it ends.

    What a renewal or a grace period without a date has outdated no longer counts, and a date that was given to the
    whole lineage before this was bought is another period's. More time without a payment is given to the subscription,
    and not to the period that was its last one then: where a later one is known, only what was paid for counts.
    """
    passed_over = _NO_END if newest else _NO_END_OF_ITS_OWN
    if whole_lineage:
        bought_ms = purchased_at_ms(own) or 0
        since = [entry for entry in whole_lineage if entry.occurred_at_ms >= bought_ms]
        own = in_platform_order((*own, *since)) if since else own
    dated, undated = [], []
    for entry in own:
        if entry.kind not in passed_over:
            if entry.facts.expires_at_ms is not None:
                dated.append(entry)
            elif entry.kind in _MOVES_THE_END:
                undated.append(entry.occurred_at_ms)
    renewed_until = max(undated) + RENEWAL_LEAD_MS if undated else 0
    for entry in _by_weight(dated):
        if (entry.facts.expires_at_ms or 0) > renewed_until:
            return entry
    return None
