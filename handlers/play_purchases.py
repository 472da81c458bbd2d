"""What the Play Developer API's answers teach about a purchase, used only where they leave no doubt.

The answers describe the present, a notification describes a moment in the past. So they name products,
people and orders here, and never decide what happened. The account id is one that the app was told to
obfuscate, so it is a guess at the app's own: what the app's backend says of its user wins.

Fields: `purchases.subscriptionsv2` and `purchases.productsv2` of
developers.google.com/android-publisher/api-ref/rest.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.base import Environment
from schemas.entry import PurchaseFacts

__all__ = ["Learned", "learn_product", "learn_subscription", "rfc3339_ms"]

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_LENGTH_MAX = 4096


@dataclass(frozen=True, slots=True)
class Learned:
    """What one answer says. Nothing, if it says nothing that is certain."""

    order_id: str | None = None
    facts: PurchaseFacts = field(default_factory=PurchaseFacts)
    environment: Environment | None = None


def learn_subscription(answer: object) -> Learned:
    """Read a SubscriptionPurchaseV2. With several line items (add-ons) no single one is the purchase."""
    if not isinstance(answer, dict):
        return Learned()
    item = _only(answer.get("lineItems"))
    ids = answer.get("externalAccountIdentifiers")
    return Learned(
        order_id=_text(item.get("latestSuccessfulOrderId")),
        facts=PurchaseFacts(
            kind="subscription",
            product_id=_text(item.get("productId")),
            user_id=_text(ids.get("obfuscatedExternalAccountId")) if isinstance(ids, dict) else None,
            user_authority="guess",
            expires_at_ms=rfc3339_ms(item.get("expiryTime")),
        ),
        environment="sandbox" if "testPurchase" in answer else "production",
    )


def learn_product(answer: object) -> Learned:
    """Read a ProductPurchaseV2."""
    if not isinstance(answer, dict):
        return Learned()
    return Learned(
        order_id=_text(answer.get("orderId")),
        facts=PurchaseFacts(
            product_id=_text(_only(answer.get("productLineItem")).get("productId")),
            user_id=_text(answer.get("obfuscatedExternalAccountId")),
            user_authority="guess",
        ),
        environment="sandbox" if "testPurchaseContext" in answer else "production",
    )


def rfc3339_ms(text: object) -> int | None:
    """Read Google's timestamps, up to nanoseconds, as Unix milliseconds; None if it is none since 1970."""
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        return None
    try:
        since = datetime.fromisoformat(text) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return since // timedelta(milliseconds=1) if since >= timedelta() else None


def _only(items: object) -> dict[str, Any]:
    if isinstance(items, list) and len(items) == 1 and isinstance(items[0], dict):
        return items[0]
    return {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _TEXT_LENGTH_MAX else None
