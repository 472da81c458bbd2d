"""Google Play Real-time Developer Notifications, pushed by Pub/Sub and vouched for by its service account."""

import hashlib
import hmac
import re
from collections.abc import Mapping

from pydantic import ValidationError

from config.platforms import Google
from handlers import rtdn
from handlers.errors import WrongApp
from handlers.oidc import authenticate
from handlers.platform import Platform
from handlers.play_purchases import Learned, learn_product, learn_subscription
from handlers.pubsub import KEPT_HEADERS, unpack
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Said, Subject
from schemas.meaning import Facts, Ignored, Lookup, Meaning, Normalized, Quarantined
from schemas.platforms.google import (
    DeveloperNotification,
    OneTimeProductNotification,
    Push,
    SubscriptionNotification,
    VoidedPurchaseNotification,
)
from schemas.received import Identity, Keys, KeyWanted, Received

__all__ = ["PLATFORM"]

_Event = SubscriptionNotification | OneTimeProductNotification | VoidedPurchaseNotification

# developer.android.com/google/play/billing/rtdn-reference; handlers/rtdn.py makes the words of its numbers.
_MEANING: Mapping[str, EntryKind] = {
    "SUBSCRIPTION_PURCHASED": EntryKind.PURCHASED,
    "SUBSCRIPTION_RENEWED": EntryKind.RENEWED,
    "SUBSCRIPTION_REVOKED": EntryKind.REVOKED,
    "SUBSCRIPTION_EXPIRED": EntryKind.EXPIRED,
    "ONE_TIME_PRODUCT_PURCHASED": EntryKind.PURCHASED,
    "VOIDED_PURCHASE/FULL_REFUND": EntryKind.REFUND_SUCCEEDED,
    "VOIDED_PURCHASE/QUANTITY_BASED_PARTIAL_REFUND": EntryKind.REFUND_SUCCEEDED,
}
# A known word without a meaning is ignored under its own name, except where another says it better: a payment
# that never completed (a refund never comes as CANCELED), and a question, which changes no access.
_IGNORED: Mapping[str, str] = {
    "ONE_TIME_PRODUCT_CANCELED": "pending_purchase_canceled",
    "PENDING_REFUND_REVIEW": "refund_review_pending",
}
_MODELS: Mapping[str, type[_Event]] = {
    rtdn.SUBSCRIPTION: SubscriptionNotification,
    rtdn.ONE_TIME: OneTimeProductNotification,
    rtdn.VOIDED: VoidedPurchaseNotification,
}
_FULL_REFUND = 1
_ONE_TIME_PRODUCT = 2
_YEAR_10000_MS = 253_402_300_800_000


def verify(received: Received, *, settings: Google, keys: Keys, now: float) -> Push | KeyWanted:
    """Prove that the app's own Pub/Sub subscription pushed this, and that it is about this app."""
    wanted = authenticate(
        received.headers.get("authorization"),
        audience=settings.audience,
        email=settings.service_account_email,
        source=settings.jwks,
        keys=keys,
        now=now,
    )
    if wanted is not None:
        return wanted
    push = read(received.body, received.headers)
    if settings.subscriptions and not any(_same(push.subscription, name) for name in settings.subscriptions):
        raise WrongApp("wrong_subscription")
    if not _same(push.notification.package_name, settings.package_name):
        raise WrongApp("wrong_package")
    return push


def read(body: bytes, headers: Mapping[str, str]) -> Push:
    """Parse a push in either of its shapes, wrapped or bare."""
    envelope = unpack(body, headers)
    package = envelope.content.get("packageName")
    return Push(
        notification=DeveloperNotification(
            package_name=package if isinstance(package, str) else "",
            event_time_ms=_millis(envelope.content.get("eventTimeMillis")),
            content={name: value for name, value in envelope.content.items() if value is not None},
        ),
        data_sha256=hashlib.sha256(envelope.data).hexdigest(),
        message_id=envelope.message_id,
        subscription=envelope.subscription,
        publish_time_ms=envelope.publish_time_ms,
    )


def identify(payload: Push) -> Identity:
    """Name a push by its message id, assigned at publication and the same over all redeliveries.

    "This ID is guaranteed to be unique within the topic" (cloud.google.com/pubsub/docs, PubsubMessage).
    """
    notification = payload.notification
    event_type, _, subtype = rtdn.word(notification).partition("/")
    return Identity(
        id=payload.message_id or f"sha256:{payload.data_sha256}",
        scope=payload.subscription,
        type=event_type,
        subtype=subtype,
        occurred_at_ms=notification.event_time_ms or payload.publish_time_ms or 0,
        environment=None,
    )


def needs(payload: Push) -> tuple[Lookup, ...]:
    """Name what the Play Developer API must be asked: a notification says only that something changed."""
    event = _event(payload.notification)
    return () if event is None else _lookups(event)


def normalize(payload: Push, facts: Facts, *, settings: Google) -> Normalized:  # noqa: ARG001 - all platforms' shape
    """Say what a push means for the one order it names, or for everything that shares its purchase token."""
    notification = payload.notification
    word = rtdn.word(notification)
    if word.endswith(rtdn.UNKNOWN):
        return Quarantined("unknown_type", rtdn.describe_unknown(notification))
    if word not in _MEANING:
        return Ignored(_IGNORED.get(word, word.lower()))
    event, at_ms = _event(notification), notification.event_time_ms
    if event is None or at_ms is None:
        return Quarantined("unexpected_shape", word)
    said = _say(event, _MEANING[word], at_ms, _learn(event, facts))
    return Meaning((said,), unlearned=tuple(lookup for lookup in _lookups(event) if lookup not in facts))


def _say(event: _Event, kind: EntryKind, at_ms: int, learned: Learned) -> Said:
    """Say it of all that the token names; a purchase or renewal, of the one order if an answer names that.

    What ends, ends for the whole subscription: the order of an answer may be one that was bought since.
    """
    if isinstance(event, VoidedPurchaseNotification):
        return _say_voided(event, kind, at_ms, learned)
    begins = kind in {EntryKind.PURCHASED, EntryKind.RENEWED}
    return Said(
        kind=kind,
        occurred_at_ms=at_ms,
        subject=Subject(purchase_id=learned.order_id if begins else None, lineage=_lineage(event)),
        environment=learned.environment,
        facts=_bought(event, learned.facts) if begins else PurchaseFacts(),
    )


def _say_voided(event: VoidedPurchaseNotification, kind: EntryKind, at_ms: int, learned: Learned) -> Said:
    """Say that money of one order went back: of one billing period, never of the whole subscription.

    A quantity-based void may repeat within its order, so its time tells it from the next one; the void that
    takes the last unit comes as a full one (…/rtdn-reference#voided-purchase). Of an answer only the person
    is taken: product and expiry are those of today's period, not of the voided one.
    """
    full = event.refund_type == _FULL_REFUND
    return Said(
        kind=kind,
        occurred_at_ms=at_ms,
        subject=Subject(purchase_id=event.order_id, lineage=_lineage(event)),
        environment=learned.environment,
        facts=PurchaseFacts(user_id=learned.facts.user_id, user_authority=learned.facts.user_authority),
        refund=RefundFacts(
            platform_refund_id=event.order_id if full else f"{event.order_id}:{at_ms}",
            type="void",
            scope="full" if full else "quantity",
            created_at_ms=at_ms,
        ),
    )


def _bought(event: SubscriptionNotification | OneTimeProductNotification, learned: PurchaseFacts) -> PurchaseFacts:
    """Say what was bought. Whether a one-time product is consumable, only the app's configuration knows."""
    if isinstance(event, SubscriptionNotification):
        product_id = event.subscription_id or learned.product_id
        return learned.model_copy(update={"kind": "subscription", "product_id": product_id})
    return learned.model_copy(update={"product_id": event.sku or learned.product_id})


def _lineage(event: _Event) -> tuple[str, ...]:
    return (f"token:{event.purchase_token}",)


def _lookups(event: _Event) -> tuple[Lookup, ...]:
    """Name the look-up that tells whose purchase this is, then what else there is to ask."""
    if isinstance(event, SubscriptionNotification):
        return (Lookup("subscriptionsv2", event.purchase_token),)
    if isinstance(event, OneTimeProductNotification):
        return (Lookup("productsv2", event.purchase_token),)
    owner = "productsv2" if event.product_type == _ONE_TIME_PRODUCT else "subscriptionsv2"
    return (Lookup(owner, event.purchase_token), Lookup("orders", event.order_id))


def _learn(event: _Event, facts: Facts) -> Learned:
    owner = _lookups(event)[0]
    learn = learn_product if owner.kind == "productsv2" else learn_subscription
    return learn(facts.get(owner))


def _event(notification: DeveloperNotification) -> _Event | None:
    """Read what is special to a notification with a meaning; None where it has none, or an unknown shape."""
    field = rtdn.field(notification)
    if field is None or rtdn.word(notification) not in _MEANING:
        return None
    try:
        return _MODELS[field].model_validate(notification.content[field])
    except ValidationError:
        return None


def _millis(value: object) -> int | None:
    """Read `eventTimeMillis`: a long in the reference, a string of digits in what Google really sends."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        value = int(value)
    return value if type(value) is int and 0 <= value < _YEAR_10000_MS else None


def _same(told: str, expected: str) -> bool:
    """Compare in constant time. An empty expectation is met by nothing."""
    return bool(expected) and hmac.compare_digest(told.encode(), expected.encode())


PLATFORM = Platform(
    name="google",
    verify=verify,
    identify=identify,
    needs=needs,
    normalize=normalize,
    read=read,
    tells_environment=False,
    keeps_headers=KEPT_HEADERS,
)
