"""Google Play's notifications and the Play Developer API's answers, as tests need them: about one weather app.

The numbers and words are written out as the reference has them
(developer.android.com/google/play/billing/rtdn-reference), so the tables under test are not their own witnesses.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from config.platforms import Google
from handlers import ids
from handlers.google import PLATFORM
from schemas.entry import Entry, PurchaseFacts, RefundFacts, Said, Source, Subject
from schemas.meaning import Lookup, Meaning
from tests.handlers.test_oidc import ACCOUNT, AUDIENCE

PACKAGE = "com.acme.weather"
SUBSCRIPTION = "projects/acme-1/subscriptions/play-rtdn"
SETTINGS = Google(package_name=PACKAGE, audience=AUDIENCE, service_account_email=ACCOUNT, subscriptions=(SUBSCRIPTION,))
TOKEN = "kfpjhbgnmcloikjhgdsa.AO-J1OxEXAMPLE"
ORDER = "GPA.3345-1234-5678-90123..8"
PRODUCT = "com.acme.weather.pro.annual"
COINS_ORDER = "GPA.3345-0000-1111-22222"
COINS = "com.acme.weather.coins"
VOIDED_AT_MS = 1_794_000_123_456
"""2026-11-06, a good nine months after the plan was renewed."""
RENEWED_AT_MS = 1_770_111_002_000
EXPIRES_AT_MS = 1_801_647_002_250

SUBSCRIBED = Lookup("subscriptionsv2", TOKEN)
ORDERED = Lookup("orders", ORDER)
BOUGHT = Lookup("productsv2", TOKEN)
REVIEW_TOKEN = "prt-hush-hush"
MESSAGE_ID = "2070443601311540"

WHOLE = Subject(lineage=(f"token:{TOKEN}",))
PERIOD = Subject(purchase_id=ORDER, lineage=(f"token:{TOKEN}",))
PERSON = PurchaseFacts(user_id="u_4711", user_authority="guess")
PLAN = PERSON.model_copy(update={"kind": "subscription", "product_id": PRODUCT, "expires_at_ms": EXPIRES_AT_MS})
OLD_TOKEN = "oldmonthlyplan.AO-J1OxOLD"


def rtdn(**special: Any) -> dict[str, Any]:
    """Give a notification as Google publishes it; what is None is left out."""
    usual = {"version": "1.0", "packageName": PACKAGE, "eventTimeMillis": str(VOIDED_AT_MS)}
    return {name: value for name, value in (usual | special).items() if value is not None}


def subscription(number: Any, **changes: Any) -> dict[str, Any]:
    """Give a subscription notification without the legacy product field."""
    special = {"version": "1.0", "notificationType": number, "purchaseToken": TOKEN}
    return rtdn(subscriptionNotification=special | changes)


def one_time(number: Any, **changes: Any) -> dict[str, Any]:
    """Give a one-time product notification."""
    special = {"version": "1.0", "notificationType": number, "purchaseToken": TOKEN, "sku": "com.acme.weather.lifetime"}
    return rtdn(oneTimeProductNotification=special | changes)


def voided(**changes: Any) -> dict[str, Any]:
    """Give the void of an annual plan's ninth renewal."""
    special = {"purchaseToken": TOKEN, "orderId": ORDER, "productType": 1, "refundType": 1}
    return rtdn(voidedPurchaseNotification=special | changes)


def review(**changes: Any) -> dict[str, Any]:
    """Give the question that a chargeback makes Google Play ask."""
    special = {
        "version": "1.0",
        "pendingRefundToken": REVIEW_TOKEN,
        "orderId": ORDER,
        "refundReason": 7,
        "obfuscatedAccountId": "u_4711",
    }
    return rtdn(pendingRefundReviewNotification=special | changes)


def wrapped(notification: Any, **changes: Any) -> bytes:
    """Wrap it as Pub/Sub does, twins included; `changes` are those of the message."""
    data = notification if isinstance(notification, bytes) else json.dumps(notification).encode()
    message = {
        "attributes": {},
        "data": base64.b64encode(data).decode(),
        "messageId": MESSAGE_ID,
        "message_id": MESSAGE_ID,
        "publishTime": "2026-11-08T09:22:04.123456789Z",
        "publish_time": "2026-11-08T09:22:04.123456789Z",
    }
    changed = {name: value for name, value in (message | changes).items() if value is not None}
    return json.dumps({"message": changed, "subscription": SUBSCRIPTION}).encode()


def push(notification: Any, headers: Mapping[str, str] | None = None) -> Any:
    """Read a notification out of its envelope."""
    return PLATFORM.read(wrapped(notification), headers or {})


def meaning_of(notification: Any, facts: Any = None) -> Any:
    """Normalize a notification, with the answers that could be had."""
    return PLATFORM.normalize(push(notification), facts or {}, settings=SETTINGS)


def said_by(notification: Any, facts: Any = None) -> Said:
    """Give the one thing that a notification with a meaning says."""
    meaning = meaning_of(notification, facts)
    assert isinstance(meaning, Meaning)
    (said,) = meaning.said
    return said


def refund_by(notification: Any, facts: Any = None) -> RefundFacts:
    """Give what a notification says of the refund that it is about."""
    refund = said_by(notification, facts).refund
    assert refund is not None
    return refund


def item(**changes: Any) -> dict[str, Any]:
    """Give the line item of the annual plan."""
    usual = {"productId": PRODUCT, "expiryTime": "2027-02-03T09:30:02.250Z", "latestSuccessfulOrderId": ORDER}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def subscribed(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Give what `purchases.subscriptionsv2` says of the token: active, whatever may have happened."""
    usual = {
        "subscriptionState": "SUBSCRIPTION_STATE_ACTIVE",
        "startTime": "2018-02-03T09:30:02Z",
        "lineItems": list(items) or [item()],
        "externalAccountIdentifiers": {"obfuscatedExternalAccountId": "u_4711"},
    }
    return usual | changes


def usd(units: Any = None, nanos: Any = None, currency: Any = "USD") -> dict[str, Any]:
    """Give a sum of money as Google writes it: what is zero is left out."""
    said = {"currencyCode": currency, "units": units, "nanos": nanos}
    return {name: value for name, value in said.items() if value is not None}


def ordered(history: Any = None, **changes: Any) -> dict[str, Any]:
    """Give what `orders` says of the ninth renewal, 49.99 dollars."""
    usual = {
        "orderId": ORDER,
        "purchaseToken": TOKEN,
        "state": "PROCESSED",
        "createTime": "2026-02-03T09:30:02Z",
        "lineItems": [{"productId": PRODUCT}],
        "total": usd("49", 990_000_000),
        "orderHistory": history or {},
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def refunded(total: Any, reason: Any = "OTHER") -> dict[str, Any]:
    """Give the history of an order that was refunded in full."""
    return {"refundEvent": {"refundDetails": {"total": total}, "refundReason": reason}}


def bought(quantity: Any = 10, left: Any = 10, **changes: Any) -> dict[str, Any]:
    """Give what `purchases.productsv2` says of ten bags of coins."""
    usual = {
        "orderId": COINS_ORDER,
        "purchaseStateContext": {"purchaseState": "PURCHASED"},
        "purchaseCompletionTime": "2026-02-03T09:30:02Z",
        "productLineItem": [
            {"productId": COINS, "productOfferDetails": {"quantity": quantity, "refundableQuantity": left}}
        ],
        "obfuscatedExternalAccountId": "u_4711",
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def entries_of(notification: Any, facts: Any = None) -> list[Entry]:
    """Give the ledger entries of a notification, as the worker makes them."""
    meaning = meaning_of(notification, facts)
    assert isinstance(meaning, Meaning)
    name = ids.make("ntf", json.dumps(notification))
    source = Source(notification=name, type="google")
    return [
        Entry(**dict(said), id=ids.make("ent", name, position), app="acme", platform="google", source=source)
        for position, said in enumerate(meaning.said)
    ]
