"""Hypothesis strategies for what can be said of purchases, small enough that everything collides."""

from hypothesis import strategies as st

from config.products import Product
from config.settings import App
from handlers import ids
from schemas.entry import Entry, EntryKind, PurchaseFacts, RefundFacts, Source, Subject

NOW_MS = 1_800_000_000_000
"""Later than everything the strategies make."""

APP = App(
    products={"pro.monthly": Product(entitlements=("pro",)), "all.access": Product(entitlements=("pro", "offline"))}
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
    ]
)
_times = st.integers(min_value=1_700_000_000, max_value=1_700_000_009).map(lambda seconds: seconds * 1000)
_amounts = st.none() | st.sampled_from([0, 300, 700, 1000])
_facts = st.builds(
    PurchaseFacts,
    product_id=st.none() | st.sampled_from(sorted(APP.products)),
    user_id=st.none() | st.sampled_from(["ann", "bob"]),
    user_authority=st.sampled_from(["platform", "app", "guess"]),
    amount=_amounts,
    currency=st.none() | st.sampled_from(["usd", "eur"]),
    purchased_at_ms=st.none() | _times,
    expires_at_ms=st.none() | _times,
)
_refunds = st.builds(
    RefundFacts,
    platform_refund_id=st.sampled_from(["refund-a", "refund-b"]),
    scope=st.sampled_from(["full", "partial", "unknown"]),
    amount=_amounts,
    currency=st.sampled_from(["usd", "eur"]),
)
# A sum has a name of its own, as `ch_…:total` is none of the charge's refunds.
_totals = _refunds.map(lambda refund: refund.model_copy(update={"platform_refund_id": "total"}))
_chargebacks = st.builds(
    RefundFacts,
    platform_refund_id=st.just("dispute"),
    type=st.just("chargeback"),
    amount=_amounts,
    currency=st.just("usd"),
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
