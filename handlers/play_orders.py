"""What the Play Developer API says of an order: what was paid for which product, and what of it went back.

The only place where Google Play names a refunded amount. An order is one billing period, so unlike a purchase token's
answer this one speaks of the period that a void is about.

Fields: `orders` of developers.google.com/android-publisher/api-ref/rest, `Order.total` is what the customer paid,
taxes and discounts included.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from handlers.play_answers import Money, count, listing, money, rfc3339_ms, section, text
from schemas.entry import AmountSource, PurchaseFacts

__all__ = ["Order", "Returned", "learn_order"]

_NEAR_MS = 10 * 60 * 1000
"""How far a refund's time in the order may be from the time of the notification that tells of it: our own bound,
none is documented. Beyond it the amount stays unknown."""
_WORD = re.compile(r"[A-Z][A-Z_]{0,63}")
_UNSPECIFIED = "UNSPECIFIED"


@dataclass(frozen=True, slots=True)
class Returned:
    """What went back by one refund, as far as that is certain."""

    amount: int | None = None
    currency: str | None = None
    amount_source: AmountSource = "unknown"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What one answer says. Nothing, if it says nothing that is certain."""

    token: str | None = None
    facts: PurchaseFacts = field(default_factory=PurchaseFacts)
    history: dict[str, Any] = field(default_factory=dict)

    def refunded_in_full(self) -> Returned:
        """Find what went back by the refund that took the whole order, or all that was left of it."""
        event = section(self.history, "refundEvent")
        reason = _reason(event.get("refundReason"))
        total = _refunded(event)
        if total is None:
            return Returned(reason=reason)
        parts = [_refunded(part) for part in listing(self.history, "partialRefundEvents")]
        price = (self.facts.amount, self.facts.currency)
        return _the_rest(total, parts, reason) if _holds(total, parts, price) else Returned(*total, "exact", reason)

    def refunded_in_part(self, at_ms: int) -> Returned:
        """Find what went back by the refund of some units that a notification of this time tells of."""
        parts = listing(self.history, "partialRefundEvents")
        near = [part for part in parts if abs(_refunded_at_ms(part) - at_ms) <= _NEAR_MS]
        one = parts if len(parts) == 1 else near
        total = _refunded(one[0]) if len(one) == 1 else None
        return Returned(*total, "exact") if total else Returned()


def learn_order(answer: object, *, order_id: str) -> Order:
    """Read an Order, if it is the one that was asked for."""
    if not isinstance(answer, dict) or answer.get("orderId", order_id) != order_id:
        return Order()
    items = listing(answer, "lineItems")
    item = items[0] if len(items) == 1 else {}
    amount, currency = money(answer.get("total")) or (None, None)
    return Order(
        token=text(answer.get("purchaseToken")),
        facts=PurchaseFacts(
            product_id=text(item.get("productId")),
            quantity=count(section(item, "oneTimePurchaseDetails").get("quantity")),
            amount=amount,
            currency=currency,
            purchased_at_ms=rfc3339_ms(answer.get("createTime")),
        ),
        history=section(answer, "orderHistory"),
    )


def _refunded(event: dict[str, Any]) -> Money | None:
    return money(section(event, "refundDetails").get("total"))


def _refunded_at_ms(part: dict[str, Any]) -> int:
    return rfc3339_ms(part.get("processTime")) or rfc3339_ms(part.get("createTime")) or 0


def _holds(total: Money, parts: Sequence[Money | None], price: tuple[int | None, str | None]) -> bool:
    """Tell whether a total has in it what went back before.

    Whether the last of several refunds is told with its own amount or with that of the order, the reference leaves
    open; the customer cannot have got more than was paid. What alone is more than that contradicts its own order, and
    is left to be seen.
    """
    amount, currency = total
    paid = price[0]
    if not parts or paid is None or currency != price[1] or amount > paid:
        return False
    return amount == paid or amount + sum(_before(parts, currency)) > paid


def _before(parts: Sequence[Money | None], currency: str) -> list[int]:
    return [part[0] for part in parts if part is not None and part[1] == currency]


def _the_rest(total: Money, parts: Sequence[Money | None], reason: str | None) -> Returned:
    """Take from a total what had gone back before; unknown, where that does not add up."""
    amount, currency = total
    before = _before(parts, currency)
    if len(before) < len(parts) or sum(before) > amount:
        return Returned(reason=reason)
    return Returned(amount - sum(before), currency, "estimated", reason)


def _reason(word: object) -> str | None:
    """Read the enum, which may gain words (so far OTHER and CHARGEBACK), in lower case."""
    told = isinstance(word, str) and _WORD.fullmatch(word) and not word.endswith(_UNSPECIFIED)
    return str(word).lower() if told else None
