"""How much of an App Store purchase went back: a share of it, some of its seats, or what its items were refunded.

Apple names no refunds: a transaction is refunded under its own id, and a second partial refund raises what the first
one said. Nor does it name sums, but for purchases through its Advanced Commerce API: every other amount is an estimate.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from handlers import money
from handlers.apple_transactions import MILLIUNITS_MAX, opened, paid
from schemas.entry import AmountSource, RefundFacts, RefundScope
from schemas.meaning import Ignored, Quarantined
from schemas.platforms.apple import AdvancedCommerceInfo, ItemRefund, MultiSeatInfo, Transaction

# developer.apple.com/documentation/appstoreserverapi/revocationreason
_REASONS: Final[Mapping[int | None, str]] = {0: "other", 1: "app_issue"}
_REVOCATIONS: Final = frozenset({None, "REFUND_FULL", "REFUND_PRORATED"})
"""What `revocationType` may say of a refund. Notifications before 2025-12-10 have no such field."""
_ITEM_REFUNDS: Final = frozenset({"FULL", "PRORATED", "CUSTOM"})
"""What `refundType` may say of an item (developer.apple.com/documentation/advancedcommerceapi/refundtype)."""
_MODIFIED: Final = "MODIFY_ITEMS_REFUND"
"""The `refundReason` of what goes back because the customer changed the items: as with an upgrade, no refund."""


def refund_of(transaction: Transaction) -> RefundFacts | Ignored | Quarantined:
    """Describe the refund of a transaction, if it says how much of it there was.

    Transactions through the Advanced Commerce API have no `revocationType`; their items have refunds instead (StoreKit,
    `Transaction.revocationType`).
    """
    if transaction.revocation_type not in _REVOCATIONS:
        return Quarantined("unknown_revocation_type", transaction.revocation_type or "")
    if transaction.advanced_commerce_info is not None:
        return _by_item(transaction)
    if transaction.revocation_date is None:
        return Quarantined("refund_without_revocation_date")
    return _by_share(transaction)


def seats_of(transaction: Transaction) -> RefundFacts | Quarantined:
    """Describe a refund of some seats of many: the transaction "remains valid for its remaining seats".

    Apple: `revokedSeatQuantity`. Only when all its seats went back does a transaction get a `revocationDate`.
    """
    if transaction.revocation_date is not None:
        return Quarantined("seats_refunded_yet_revoked")
    info = opened(MultiSeatInfo, transaction.multi_seat_info, "multiSeatInfo")
    if isinstance(info, Quarantined):
        return info
    if not info.revoked_seat_quantity:
        return Quarantined("refund_without_seats")
    facts = _facts(transaction, "quantity", transaction.revocation_percentage)
    return facts.model_copy(update={"seats": info.revoked_seat_quantity})


def _by_share(transaction: Transaction) -> RefundFacts:
    scope, share_millis = _share(transaction)
    facts = _facts(transaction, scope, share_millis)
    return facts.model_copy(update={"quantity": _units(transaction, share_millis)})


def _facts(
    transaction: Transaction, scope: RefundScope, share_millis: int | None, exact: int | None = None
) -> RefundFacts:
    """Describe a refund by its exact amount, or else by the estimate that its share of the price gives."""
    price, currency = paid(transaction)
    share = None if price is None or share_millis is None else money.share_of(price, share_millis)
    source: AmountSource = "estimated" if share is not None else "unknown"
    return RefundFacts(
        platform_refund_id=transaction.transaction_id,
        scope=scope,
        amount=share if exact is None else exact,
        amount_source=source if exact is None else "exact",
        currency=currency,
        share_millis=share_millis,
        reason=_REASONS.get(transaction.revocation_reason),
        created_at_ms=transaction.revocation_date,
    )


def _share(transaction: Transaction) -> tuple[RefundScope, int | None]:
    """Tell how much went back, in words and in thousandths of a percent.

    Until 2025-12-10 Apple said neither; one unit was then refunded whole, and of several nobody can know how many.
    Seats are newer than that: a revoked transaction has none left.
    """
    share, several = transaction.revocation_percentage, (transaction.quantity or 1) > 1
    prorated = transaction.revocation_type == "REFUND_PRORATED"
    if share is None and prorated:
        return "prorated", None
    if share is None and several and transaction.revocation_type is None and transaction.multi_seat_info is None:
        return "unknown", None
    if share is None or share == 100_000:
        return "full", 100_000
    if several and _units(transaction, share) is not None:
        return "quantity", share
    return ("prorated" if prorated else "partial"), share


def _units(transaction: Transaction, share_millis: int | None) -> int | None:
    """Tell how many units of several went back, where the share is that of whole units: 33333 is one of three."""
    quantity = transaction.quantity
    if quantity is None or share_millis is None:
        return None
    units = money.share_of(quantity, share_millis)
    return units if units and abs(units * 100_000 - share_millis * quantity) <= quantity else None


def _by_item(transaction: Transaction) -> RefundFacts | Ignored | Quarantined:
    """Describe the refund of items by the sum of what went back, if every one of them names its amount."""
    info = opened(AdvancedCommerceInfo, transaction.advanced_commerce_info, "advancedCommerceInfo")
    if isinstance(info, Quarantined):
        return info
    listed = [refund for item in info.items or () for refund in item.refunds or ()]
    refunds = [refund for refund in listed if refund.refund_reason != _MODIFIED]
    if listed and not refunds:
        return Ignored("items_modified")
    if unknown := [refund.refund_type or "" for refund in refunds if refund.refund_type not in _ITEM_REFUNDS]:
        return Quarantined("unknown_refund_type", unknown[0])
    price, currency = paid(transaction)
    amount = _sum(refunds, currency)
    if amount is None:
        known = transaction.revocation_date is not None and transaction.revocation_percentage is not None
        return _by_share(transaction) if known else Quarantined("advanced_commerce_refund")
    if price is not None and amount > price:
        return Quarantined("money_contradicts", f"{amount} of {price} {currency}")
    facts = _facts(transaction, _scope_of_items(transaction, info, refunds), None, amount)
    return facts.model_copy(update=_newest(facts, refunds))


def _sum(refunds: Sequence[ItemRefund], currency: str | None) -> int | None:
    """Add up what the items were refunded, in minor units; None as soon as one amount, or the currency, is missing.

    Apple: `refundAmount` is "in milliunits of the currency" (Advanced Commerce API).
    """
    known = [refund.refund_amount for refund in refunds if refund.refund_amount is not None]
    total = sum(known)
    if currency is None or not refunds or len(known) < len(refunds) or total >= MILLIUNITS_MAX:
        return None
    return money.minor_units(total, currency)


def _scope_of_items(transaction: Transaction, info: AdvancedCommerceInfo, refunds: Sequence[ItemRefund]) -> RefundScope:
    """Tell a refund of some items from one of all that was sold.

    Apple: "Turn off service for the subscription and its items as of the revocation date" of the transaction (Revoke
    Subscription); an item's own `revocationDate` is about that item.
    """
    if transaction.revocation_date is None and not all(item.revocation_date for item in info.items or ()):
        return "partial"
    types = {refund.refund_type for refund in refunds}
    if types == {"FULL"}:
        return "full"
    return "prorated" if "PRORATED" in types else "unknown"


def _newest(facts: RefundFacts, refunds: Sequence[ItemRefund]) -> dict[str, str | int | None]:
    """Take time and reason from the newest refund of an item, where the transaction has none of its own."""
    newest = max(refunds, key=lambda refund: refund.refund_date or 0)
    reason = newest.refund_reason.lower() if newest.refund_reason else None
    return {"reason": reason or facts.reason, "created_at_ms": facts.created_at_ms or newest.refund_date}
