"""What the platforms post, byte for byte as they would but for the seals, and what it says in our words.

Ann's purchases on four platforms. Each maker gives the body of one POST; `read` and `normalize` of the platform's own
file turn it into entries, as the worker does with a stored notification.
"""

import base64
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from config.platforms import Amazon, Google, Stripe
from handlers import ids
from handlers.platforms import PLATFORMS
from schemas.base import PlatformName
from schemas.entry import Entry, Source
from schemas.meaning import Facts, Lookup, Meaning
from tests.handlers import apple_chains
from tests.handlers.entries import MONTHLY, day
from tests.scenarios.shop import LIFETIME
from tests.worker import stripe_events

ANN: Final = "7e3fb204-2ef5-4d5c-8f2a-6b1f3c7d9e10"
"""The app's own id of Ann: a UUID, as Apple's `appAccountToken` has to be one."""
PLAY_PACKAGE: Final = "com.acme.app"
TOKEN: Final = "kfpjhbgnmcloikjhgdsa.AO-J1OxANN"
TOPIC: Final = "arn:aws:sns:us-east-1:033616359524:LT0XA"

_SETTINGS: Final[Mapping[str, Any]] = {
    "apple": apple_chains.SETTINGS,
    "google": Google(package_name=PLAY_PACKAGE, audience="https://hooks.acme.example/webhooks/google/acme"),
    "stripe": Stripe(webhook_secrets=("whsec_unused",)),
    "amazon": Amazon(package_name=PLAY_PACKAGE, topic_arns=(TOPIC,)),
}


def hear_post(platform: PlatformName, body: bytes, facts: Facts | None = None) -> tuple[Entry, ...]:
    """Say in our words what one POST says."""
    known = PLATFORMS[platform]
    payload = known.read(body, {})
    meaning = known.normalize(payload, facts or {}, settings=_SETTINGS[platform])
    assert isinstance(meaning, Meaning), meaning
    identity = known.identify(payload)
    row = ids.make("ntf", platform, identity.scope, identity.id)
    source = Source(notification=row, notification_id=identity.id, type=identity.type)
    return tuple(
        Entry(**dict(said), id=ids.make("ent", row, position), app="acme", platform=platform, source=source)
        for position, said in enumerate(meaning.said)
    )


# --- Apple: "responseBodyV2DecodedPayload" around "JWSTransactionDecodedPayload".


def apple(
    type_: str, on_day: float, transaction_id: str, *, subtype: str = "", status: int = 1, **more: Any
) -> tuple[Entry, ...]:
    """Post an App Store notification, signed on that day, about one transaction of Ann's monthly plan."""
    signed_ms = day(on_day)
    transaction = apple_chains.transaction(
        **{
            "transactionId": transaction_id,
            "originalTransactionId": "2000000900000001",
            "productId": MONTHLY,
            "appAccountToken": ANN,
            "price": 9990,
            "signedDate": signed_ms,
            "revocationDate": None,
            "revocationReason": None,
        }
        | more
    )
    seal = apple_chains.good().sign
    nested = apple_chains.data(signedTransactionInfo=seal(transaction), status=status)
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{type_}/{subtype}/{transaction_id}/{signed_ms}"))
    said = {"notificationUUID": name, "signedDate": signed_ms, "data": nested, "subtype": subtype or None}
    return hear_post("apple", apple_chains.body(seal(apple_chains.payload(type_, **said))))


def period(begins: float) -> dict[str, Any]:
    """Date a month of the plan."""
    return {"purchaseDate": day(begins), "expiresDate": day(begins + 30)}


def revoked(on_day: float, *, share_millis: int = 100_000, kind: str = "REFUND_FULL") -> dict[str, Any]:
    """Describe a refund as its transaction does."""
    return {
        "revocationDate": day(on_day),
        "revocationReason": 1,
        "revocationType": kind,
        "revocationPercentage": share_millis,
    }


# --- Google Play: a DeveloperNotification in a Pub/Sub push.


def google(on_day: float, field: str, facts: Mapping[Lookup, Any] | None = None, **special: Any) -> tuple[Entry, ...]:
    """Push a Real-time Developer Notification."""
    notification = {
        "version": "1.0",
        "packageName": PLAY_PACKAGE,
        "eventTimeMillis": str(day(on_day)),
        field: {"purchaseToken": TOKEN, **special},
    }
    data = json.dumps(notification).encode()
    name = str(int.from_bytes(ids.make("", data.hex()).encode()[-6:], "big"))
    published = (
        datetime.fromtimestamp(day(on_day) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    message = {"data": base64.b64encode(data).decode(), "messageId": name, "publishTime": published}
    push = {"message": message, "subscription": "projects/acme/subscriptions/play-rtdn"}
    return hear_post("google", json.dumps(push).encode(), facts)


def voided(
    on_day: float, order_id: str, *, full: bool = True, one_time: bool = False, of: str = "", **units: int
) -> tuple[Entry, ...]:
    """Push the void of one order; or, with `quantity` and how many are `left` of it, of some of its units.

    Args:
        on_day: when.
        order_id: which order.
        full: all of it went back.
        one_time: it was no subscription.
        of: the product, for the answer of the Play Developer API that tells the units.
        units: `quantity` that was bought, and `left` of it.
    """
    offer = {"quantity": units.get("quantity"), "refundableQuantity": units.get("left")}
    line = {"productId": of, "productOfferDetails": offer}
    answer = {Lookup("productsv2", TOKEN): {"orderId": order_id, "productLineItem": [line]}}
    return google(
        on_day,
        "voidedPurchaseNotification",
        answer if units else None,
        orderId=order_id,
        productType=2 if one_time or units else 1,
        refundType=1 if full and not units else 2,
    )


# --- Stripe: an event around a snapshot of one object.


def stripe(kind: str, subject: Mapping[str, Any], on_day: float) -> tuple[Entry, ...]:
    """Post an event about an object, as it was on that day."""
    created = day(on_day) // 1000
    event = {
        "id": ids.make("evt", kind, json.dumps(subject, sort_keys=True), created),
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": created,
        "data": {"object": dict(subject)},
        "livemode": True,
        "type": kind,
    }
    return hear_post("stripe", json.dumps(event).encode())


def charge(sale: str, on_day: float, *, product: str = LIFETIME, amount: int = 12000, **more: Any) -> dict[str, Any]:
    """Describe the charge of one sale to Ann."""
    metadata = {"user_id": ANN, "product_id": product}
    paid = {"created": day(on_day) // 1000, "amount": amount, "amount_captured": amount, "currency": "usd"}
    return stripe_events.charge(sale, **paid | {"metadata": metadata} | more)


def invoice(sale: str, begins: float) -> dict[str, Any]:
    """Describe the paid invoice of a month of Ann's subscription, naming its charge as API versions before basil do."""
    paid = day(begins) // 1000
    ids_of = {
        "charge": f"ch_{sale}",
        "payment_intent": f"pi_{sale}",
        "metadata": {"user_id": ANN, "product_id": MONTHLY},
    }
    bare = stripe_events.invoice(sale, "sub_ann", **ids_of)
    (line,) = bare["lines"]["data"]
    month = {**line, "amount": 999, "period": {"start": paid, "end": paid + 30 * 86_400}}
    return {**bare, "created": paid, "amount_paid": 999, "currency": "usd", "lines": {**bare["lines"], "data": [month]}}


def dispute(sale: str, status: str) -> dict[str, Any]:
    """Describe the dispute of a sale, as it stands."""
    return {**stripe_events.dispute(sale, status), "currency": "usd"}


def refund(sale: str, on_day: float, status: str = "succeeded", **more: Any) -> dict[str, Any]:
    """Describe the refund of all that a sale took, as it stands."""
    said: dict[str, Any] = {"created": day(on_day) // 1000, "status": status, "currency": "usd"}
    return stripe_events.refund(sale, **said | more)


# --- Amazon: an Appstore notification in an SNS envelope.


def amazon(type_: str, on_day: float, receipt_id: str, **more: Any) -> tuple[Entry, ...]:
    """Publish a Real-Time Notification about one receipt."""
    said = {
        "receiptId": receipt_id,
        "relatedReceipts": {},
        "appUserId": "l3HL7XppEMhrOGDnur9-ulvqomrSg6qyODKmah76lJU=",
        "notificationType": type_,
        "appPackageName": PLAY_PACKAGE,
        "timestamp": day(on_day),
        "betaProductTransaction": False,
        **more,
    }
    sent = datetime.fromtimestamp(day(on_day) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    envelope = {
        "Type": "Notification",
        "MessageId": str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(said))),
        "TopicArn": TOPIC,
        "Message": json.dumps(said),
        "Timestamp": sent,
        "SignatureVersion": "2",
        "Signature": "",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
    }
    return hear_post("amazon", json.dumps(envelope).encode())
