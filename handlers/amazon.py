"""Amazon Appstore Real-Time Notifications: signed by SNS, pinned to the app's topics, read by a table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from config.platforms import Amazon
from config.products import ProductKind
from handlers import sns, strict_json
from handlers.errors import Malformed, Unauthentic, WrongApp
from handlers.platform import Platform
from schemas.base import Environment
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Said, Subject
from schemas.meaning import Confirm, Facts, Ignored, Lookup, Meaning, Normalized, Quarantined
from schemas.platforms.amazon import AmazonPayload, AppstoreNotification, SnsConfirmation
from schemas.received import Identity, Keys, KeyWanted, Received

__all__ = ["PLATFORM"]

FUTURE_TOLERANCE_MS = 300_000


@dataclass(frozen=True, slots=True)
class _Told:
    """What a notification type says of its receipt."""

    kind: EntryKind
    product: ProductKind
    reason: str | None = None


# developer.amazon.com/docs/in-app-purchasing/real-time-notifications.html, "notificationType". An open set.
#
# SUBSCRIPTION_CANCELLED is the end of access, not the wish to renew no more (AUTO_RENEWAL_OFF). Whether
# money went back, only `cancelReason` of the Receipt Verification Service hints at, so no refund is claimed.
# What was bought once is cancelled by returning what was paid for it, in full: a refund.
_MEANING: Mapping[str, _Told] = {
    "SUBSCRIPTION_PURCHASED": _Told(EntryKind.PURCHASED, "subscription"),
    "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID": _Told(EntryKind.RENEWED, "subscription"),
    "SUBSCRIPTION_RENEWED": _Told(EntryKind.RENEWED, "subscription"),
    "SUBSCRIPTION_MODIFIED_IMMEDIATE": _Told(EntryKind.PURCHASED, "subscription"),
    "SUBSCRIPTION_CANCELLED": _Told(EntryKind.REVOKED, "subscription"),
    "SUBSCRIPTION_EXPIRED": _Told(EntryKind.EXPIRED, "subscription"),
    "CONSUMABLE_PURCHASED": _Told(EntryKind.PURCHASED, "consumable"),
    "CONSUMABLE_CANCELLED": _Told(EntryKind.REFUND_SUCCEEDED, "consumable"),
    "ENTITLEMENT_PURCHASED": _Told(EntryKind.PURCHASED, "non_consumable"),
    "ENTITLEMENT_CANCELLED": _Told(EntryKind.REFUND_SUCCEEDED, "non_consumable"),
}

# Known, and nothing that gives or takes access: with renewal off it lasts to the end of the period, in the
# grace period it lasts on, and leaving that is followed by SUBSCRIPTION_RENEWED or SUBSCRIPTION_CANCELLED.
_IGNORED: Mapping[str, str] = {
    "SUBSCRIPTION_AUTO_RENEWAL_OFF": "auto_renewal_off",
    "SUBSCRIPTION_AUTO_RENEWAL_ON": "auto_renewal_on",
    "SUBSCRIPTION_SCHEDULED_TO_END": "scheduled_to_end",
    "SUBSCRIPTION_IN_GRACE_PERIOD": "in_grace_period",
    "SUBSCRIPTION_OUT_OF_GRACE_PERIOD": "out_of_grace_period",
    "SUBSCRIPTION_MODIFIED_DEFERRED": "modified_deferred",
}

_ENDS = (EntryKind.REVOKED, EntryKind.REFUND_SUCCEEDED, EntryKind.EXPIRED)


def verify(received: Received, *, settings: Amazon, keys: Keys, now: float) -> AmazonPayload | KeyWanted:
    """Prove that Amazon sent this for this app: topic first, certificate last.

    Anyone can publish on a topic of their own and have AWS sign it, so nothing is fetched for a topic that
    the operator did not name.
    """
    payload = read(received.body, received.headers)
    if payload.sns.topic_arn not in settings.topic_arns:
        raise WrongApp("topic_not_allowed")
    if payload.notification and payload.notification.app_package_name != settings.package_name:
        raise WrongApp("package_name_mismatch")
    _check_age(payload.sent_at_ms, max_age_seconds=settings.max_age_seconds, now=now)
    topic = sns.parse_topic(payload.sns.topic_arn)
    wanted = sns.authenticate(payload.sns, topic, signed_at_ms=payload.sent_at_ms, keys=keys)
    return wanted or payload


def read(body: bytes, headers: Mapping[str, str]) -> AmazonPayload:
    """Read the envelope and, in a Notification, the JSON in its `Message`.

    A `Message` that is not understood is no reason to refuse: Amazon never repeats what got a 4xx
    (developer.amazon.com/docs/in-app-purchasing/use-rtn.html), and one of its documented samples has a
    trailing comma. It is kept with its flaw.
    """
    del headers  # SNS does not sign them
    envelope = sns.parse(body)
    sent_at_ms = sns.sent_at_ms(envelope)
    if isinstance(envelope, SnsConfirmation):
        return AmazonPayload(sns=envelope, sent_at_ms=sent_at_ms)
    try:
        fields = strict_json.parse_object(envelope.message.encode())
        notification = AppstoreNotification.model_validate(fields)
    except Malformed:
        return AmazonPayload(sns=envelope, sent_at_ms=sent_at_ms, flaw="message_not_json")
    except ValidationError:
        return AmazonPayload(sns=envelope, sent_at_ms=sent_at_ms, flaw="unexpected_shape")
    return AmazonPayload(sns=envelope, sent_at_ms=sent_at_ms, notification=notification)


def identify(payload: AmazonPayload) -> Identity:
    """Name the notification by its SNS MessageId.

    It stays the same when a delivery is retried (docs.aws.amazon.com/sns/latest/dg/http-header.html).
    """
    said = payload.notification
    return Identity(
        id=payload.sns.message_id,
        type=said.notification_type if said else payload.sns.type,
        occurred_at_ms=_occurred_at_ms(payload),
        environment=_environment(payload),
    )


def needs(payload: AmazonPayload) -> tuple[Lookup, ...]:
    """Ask the Receipt Verification Service for what is left out: product, period, `cancelReason`."""
    said = payload.notification
    if said is None or said.notification_type not in _MEANING or not (said.app_user_id and said.receipt_id):
        return ()
    return (Lookup(kind="rvs", key=f"{said.app_user_id}/{said.receipt_id}"),)


def normalize(payload: AmazonPayload, facts: Facts, *, settings: Amazon) -> Normalized:
    """Say what it means for the receipt, or for the subscription to the topic."""
    if isinstance(payload.sns, SnsConfirmation):
        return _confirmation(payload.sns)
    if payload.notification is None:
        return Quarantined(payload.flaw)
    if payload.notification.app_package_name != settings.package_name:
        return Quarantined("package_name_mismatch")
    return _meaning(payload, payload.notification, facts)


def _check_age(sent_at_ms: int, *, max_age_seconds: int, now: float) -> None:
    """Refuse what was signed too long ago or not yet; both edges still pass."""
    if sent_at_ms > now * 1000 + FUTURE_TOLERANCE_MS:
        raise Unauthentic("timestamp_in_the_future")
    if max_age_seconds and sent_at_ms < (now - max_age_seconds) * 1000:
        raise Unauthentic("timestamp_too_old")


def _environment(payload: AmazonPayload) -> Environment | None:
    """Tell tests by `betaProductTransaction`; a confirmation is about a topic, which carries both."""
    if isinstance(payload.sns, SnsConfirmation):
        return None
    beta = payload.notification is not None and payload.notification.beta_product_transaction
    return "sandbox" if beta else "production"


def _occurred_at_ms(payload: AmazonPayload) -> int:
    """Prefer the Appstore's own time to the moment SNS passed it on."""
    said = payload.notification
    return payload.sent_at_ms if said is None or said.timestamp_ms is None else said.timestamp_ms


def _confirmation(envelope: SnsConfirmation) -> Normalized:
    """Hand on a confirmation that is safe to visit; raise the alarm over an unsubscription.

    The SubscribeURL of an UnsubscribeConfirmation subscribes again: a person decides that, never a machine.
    """
    if envelope.type == "UnsubscribeConfirmation":
        return Quarantined("unsubscribed", envelope.topic_arn)
    if not sns.subscribe_url_ok(envelope, sns.parse_topic(envelope.topic_arn)):
        return Quarantined("subscribe_url_refused", envelope.topic_arn)
    return Confirm(url=envelope.subscribe_url, token=envelope.token, topic=envelope.topic_arn)


def _meaning(payload: AmazonPayload, said: AppstoreNotification, facts: Facts) -> Normalized:
    """Look up what the notification's type says."""
    if reason := _IGNORED.get(said.notification_type):
        return Ignored(reason)
    told = _MEANING.get(said.notification_type)
    if told is None:
        return Quarantined("unknown_type", said.notification_type)
    entries = _SPECIAL.get(said.notification_type, _one_entry)(payload, said, told)
    if not entries:
        return Quarantined("unexpected_shape", said.notification_type)
    return Meaning(entries, unlearned=tuple(need for need in needs(payload) if need not in facts))


def _one_entry(payload: AmazonPayload, said: AppstoreNotification, told: _Told) -> tuple[Said, ...]:
    """Say one thing of the receipt that the notification is about."""
    return (_say(payload, said, said.receipt_id, told),) if said.receipt_id else ()


def _replaced(payload: AmazonPayload, said: AppstoreNotification, told: _Told) -> tuple[Said, ...]:
    """End the old receipt and begin the new one: the customer changed to another tier at once."""
    old = (said.related_receipts or {}).get("cancelledReceiptId")
    if not isinstance(old, str) or not said.receipt_id or old in ("", said.receipt_id):
        return ()
    ended = _Told(EntryKind.EXPIRED, told.product, reason="replaced")
    return (_say(payload, said, old, ended), _say(payload, said, said.receipt_id, told))


_SPECIAL: Mapping[str, Callable[[AmazonPayload, AppstoreNotification, _Told], tuple[Said, ...]]] = {
    "SUBSCRIPTION_MODIFIED_IMMEDIATE": _replaced,
}


def _say(payload: AmazonPayload, said: AppstoreNotification, receipt_id: str, told: _Told) -> Said:
    """Put one thing said of one receipt into our words."""
    at_ms = _occurred_at_ms(payload)
    return Said(
        kind=told.kind,
        occurred_at_ms=at_ms,
        subject=Subject(purchase_id=receipt_id),
        environment=_environment(payload),
        facts=PurchaseFacts(
            kind=told.product,
            user_id=said.app_user_id,
            user_authority="guess",  # Amazon's id of the customer; the app may know them by another
            purchased_at_ms=at_ms if told.kind is EntryKind.PURCHASED else None,
        ),
        refund=_refund(said, receipt_id, at_ms) if told.kind is EntryKind.REFUND_SUCCEEDED else None,
        reason=told.reason or (said.notification_type if told.kind in _ENDS else None),
    )


def _refund(said: AppstoreNotification, receipt_id: str, at_ms: int) -> RefundFacts:
    """Describe the return of a one-time purchase: a receipt is refunded once, so it names its refund."""
    return RefundFacts(platform_refund_id=receipt_id, scope="full", reason=said.notification_type, created_at_ms=at_ms)


PLATFORM = Platform(name="amazon", verify=verify, identify=identify, needs=needs, normalize=normalize, read=read)
