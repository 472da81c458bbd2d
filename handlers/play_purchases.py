"""What the Play Developer API says of a purchase token, used only where it leaves no doubt.

The answers describe the present, a notification describes a moment in the past. So they name products, people, orders
and dates here, and never decide what happened. The account id is one that the app was told to obfuscate, so it is a
guess at the app's own: what the app's backend says of its user wins.

Fields: `purchases.subscriptionsv2` and `purchases.productsv2` of
developers.google.com/android-publisher/api-ref/rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from handlers.play_answers import count, listing, rfc3339_ms, section, text
from schemas.base import Environment
from schemas.entry import PurchaseFacts

__all__ = ["Learned", "learn_product", "learn_subscription"]

T = TypeVar("T", str, int)


@dataclass(frozen=True, slots=True)
class Learned:
    """What one answer says. Nothing, if it says nothing that is certain.

    Attributes:
        replaces: the purchase token of the subscription that this one took the place of.
        started_at_ms: when access by this token began.
    """

    order_id: str | None = None
    facts: PurchaseFacts = field(default_factory=PurchaseFacts)
    environment: Environment | None = None
    replaces: str | None = None
    started_at_ms: int | None = None

    @property
    def person(self) -> PurchaseFacts:
        """Give the one thing that is as true of every period as of today's: whose it is."""
        return PurchaseFacts(user_id=self.facts.user_id, user_authority=self.facts.user_authority)


def learn_subscription(answer: object, *, at_ms: int) -> Learned:
    """Read a SubscriptionPurchaseV2 as far as it concerns what was going on at a moment.

    Args:
        answer: any JSON value.
        at_ms: the notification's time.
    """
    if not isinstance(answer, dict):
        return Learned()
    listed = listing(answer, "lineItems")
    items, replaces = _going_on(listed, at_ms), text(answer.get("linkedPurchaseToken"))
    orders = [text(item.get("latestSuccessfulOrderId")) for item in items]
    return Learned(
        order_id=None if replaces and _is_deferred(listed) else _agreed(orders),
        facts=PurchaseFacts(
            kind="subscription",
            product_id=_agreed([text(item.get("productId")) for item in items]),
            user_id=_account(answer),
            user_authority="guess",
            expires_at_ms=_agreed([rfc3339_ms(item.get("expiryTime")) for item in items]),
        ),
        environment="sandbox" if "testPurchase" in answer else "production",
        replaces=replaces,
        started_at_ms=rfc3339_ms(answer.get("startTime")),
    )


def learn_product(answer: object) -> Learned:
    """Read a ProductPurchaseV2."""
    if not isinstance(answer, dict):
        return Learned()
    items = listing(answer, "productLineItem")
    offers = [section(item, "productOfferDetails") for item in items]
    return Learned(
        order_id=text(answer.get("orderId")),
        facts=PurchaseFacts(
            product_id=_agreed([text(item.get("productId")) for item in items]),
            user_id=text(answer.get("obfuscatedExternalAccountId")),
            user_authority="guess",
            quantity=count(offers[0].get("quantity")) if len(offers) == 1 else None,
            quantity_left=count(offers[0].get("refundableQuantity")) if len(offers) == 1 else None,
        ),
        environment="sandbox" if "testPurchaseContext" in answer else "production",
        started_at_ms=rfc3339_ms(answer.get("purchaseCompletionTime")),
    )


def _going_on(items: Sequence[dict[str, Any]], at_ms: int) -> Sequence[dict[str, Any]]:
    """Leave out the plan that was over by then, and the one that nobody has paid for yet.

    After a deferred replacement the old plan and the new one stand side by side, and the new one has no order before
    its first payment (…/purchases.subscriptionsv2#SubscriptionPurchaseLineItem).
    """
    paid = [item for item in items if text(item.get("latestSuccessfulOrderId"))] or items
    return [item for item in paid if (rfc3339_ms(item.get("expiryTime")) or 0) > at_ms] or paid


def _is_deferred(items: Sequence[dict[str, Any]]) -> bool:
    """Tell whether the old plan still runs until the new one is paid for.

    Until then the one order that the new token's answer has is the old token's. Named with both, it would tie the two
    into one lineage, and the end of the old token would end the new plan.
    """
    return any(not text(item.get("latestSuccessfulOrderId")) for item in items)


def _account(answer: dict[str, Any]) -> str | None:
    """Find the app's name for the customer; who subscribes again in the Play Store has only that of the last time.

    `outOfAppPurchaseContext` is there until the purchase is acknowledged
    (…/purchases.subscriptionsv2#OutOfAppPurchaseContext).
    """
    before = section(section(answer, "outOfAppPurchaseContext"), "expiredExternalAccountIdentifiers")
    identifiers = (section(answer, "externalAccountIdentifiers"), before)
    return next((name for ids in identifiers if (name := text(ids.get("obfuscatedExternalAccountId")))), None)


def _agreed(values: Sequence[T | None]) -> T | None:
    """Take what every line item says; with add-ons, no single one is the subscription."""
    return values[0] if len(set(values)) == 1 else None
