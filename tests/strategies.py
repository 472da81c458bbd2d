"""Hypothesis strategies for what can be said of purchases, small enough that everything collides."""

from collections import ChainMap
from itertools import product
from typing import Any

from hypothesis import strategies as st

from config.products import Product
from config.settings import App
from handlers import ids
from schemas.entry import Entry, EntryKind, PurchaseFacts, RefundFacts, Source, Subject

NOW_MS = 1_800_000_000_000
"""Later than everything the strategies make."""

APP = App(
    products={
        "pro.monthly": Product(entitlements=("pro",)),
        "all.access": Product(entitlements=("pro", "offline")),
        "coins": Product(kind="consumable", units=100),
    }
)

_subjects = st.sampled_from(
    [
        Subject(purchase_id="period-1", lineage=("subscription:s",)),
        Subject(purchase_id="period-2", lineage=("subscription:s",)),
        Subject(purchase_id="period-1"),
        Subject(purchase_id="period-1", aliases=("payment_intent:pi-1",)),
        Subject(aliases=("payment_intent:pi-1",)),
        Subject(aliases=("payment_intent:pi-1", "invoice:in-1"), lineage=("subscription:s",)),
        Subject(lineage=("subscription:s",)),
        Subject(purchase_id="one-time"),
        Subject(purchase_id="period-1", lineage=("subscription:s",), kin=("account:a",)),
        Subject(purchase_id="period-3", lineage=("subscription:t",), kin=("account:a",)),
        Subject(lineage=("subscription:t",)),
        Subject(kin=("account:a",)),
    ]
)
_SECONDS = range(1_700_000_000, 1_700_000_010)
_times = st.sampled_from([second * 1000 for second in _SECONDS])


def _half(*values: Any) -> list[Any]:
    """List values beside as many times nothing: one half of the time it is not said."""
    return [None] * len(values) + list(values)


def _sampled(**choices: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Choose a value for each name with one draw for all of them: a draw costs more than all else that a law does."""
    return st.sampled_from([dict(zip(choices, chosen, strict=True)) for chosen in product(*choices.values())])


_amounts = _half(0, 300, 700, 1000)
_maybe_times = _half(*(second * 1000 for second in _SECONDS))
_facts = st.tuples(
    _sampled(
        product_id=_half(*sorted(APP.products)),
        user_id=_half("ann", "bob"),
        user_authority=["platform", "app", "guess"],
    ),
    _sampled(quantity=_half(1, 3), quantity_left=_half(0, 2)),
    _sampled(amount=_amounts, currency=_half("usd", "eur")),
    _sampled(purchased_at_ms=_maybe_times),
    _sampled(expires_at_ms=_maybe_times),
).map(lambda parts: PurchaseFacts(**ChainMap(*parts)))
_refunds = st.tuples(
    _sampled(
        platform_refund_id=["refund-a", "refund-b"],
        scope=["full", "partial", "quantity", "unknown"],
        currency=["usd", "eur"],
    ),
    _sampled(amount=_amounts, amount_source=["exact", "unknown"]),
    _sampled(quantity=_half(1, 2), seats=_half(1)),
).map(lambda parts: RefundFacts(**ChainMap(*parts)))
# A sum has a name of its own, as `ch_…:total` is none of the charge's refunds.
_totals = _refunds.map(lambda refund: refund.model_copy(update={"platform_refund_id": "total"}))
_chargebacks = _sampled(amount=_amounts).map(
    lambda part: RefundFacts(platform_refund_id="dispute", type="chargeback", currency="usd", **part)
)


def _refund_of(kind: EntryKind) -> st.SearchStrategy[RefundFacts | None]:
    if kind is EntryKind.REFUNDED_TOTAL:
        return _totals
    if kind.name.startswith("REFUND"):
        return _refunds
    if kind.name.startswith(("CHARGEBACK", "INQUIRY")):
        return _chargebacks
    return st.none()


@st.composite
def an_entry(draw: st.DrawFn, kinds: tuple[EntryKind, ...] = tuple(EntryKind)) -> Entry:
    """Draw one entry; equal content has an equal id, as the same notification has."""
    kind = draw(st.sampled_from(kinds))
    at, subject, facts, refund = draw(_times), draw(_subjects), draw(_facts), draw(_refund_of(kind))
    if kind is EntryKind.LAPSED:
        facts = PurchaseFacts(expires_at_ms=at)
    return Entry(
        id=ids.make("ent", kind, at, subject, facts, refund),
        kind=kind,
        occurred_at_ms=at,
        subject=subject,
        environment="production",
        facts=facts,
        refund=refund,
        app="demo",
        platform="stripe",
        source=Source(notification="ntf_1", notification_id="evt_1", type=kind.value),
    )


def some_entries(max_size: int = 8) -> st.SearchStrategy[list[Entry]]:
    """Draw a few entries that may contradict, repeat and overtake each other."""
    return st.lists(an_entry(), min_size=1, max_size=max_size, unique_by=lambda entry: entry.id)
