"""Amazon Appstore Real-Time Notifications: signed by SNS, pinned to the app's topics, read by a table."""

from collections.abc import Mapping

from pydantic import ValidationError

from config.platforms import Amazon
from handlers import sns, strict_json
from handlers.amazon_meaning import meaning_of, needs_of
from handlers.errors import Malformed, TooSoon, Unauthentic, WrongApp
from handlers.platform import Platform
from schemas.base import Environment
from schemas.meaning import Confirm, Facts, Lookup, Normalized, Quarantined
from schemas.platforms.amazon import AmazonPayload, AppstoreNotification, SnsConfirmation
from schemas.received import Identity, Keys, KeyWanted, Received

__all__ = ["PLATFORM"]

FUTURE_TOLERANCE_MS = 300_000


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
    if wanted is not None:
        return wanted
    _check_clocks(payload.sent_at_ms, now=now)
    return payload


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
    return needs_of(payload.notification)


def normalize(payload: AmazonPayload, facts: Facts, *, settings: Amazon) -> Normalized:
    """Say what it means for the receipt, or for the subscription to the topic."""
    if isinstance(payload.sns, SnsConfirmation):
        return _confirmation(payload.sns)
    if payload.notification is None:
        return Quarantined(payload.flaw)
    if payload.notification.app_package_name != settings.package_name:
        return Quarantined("package_name_mismatch")
    return meaning_of(payload.notification, facts, at_ms=_occurred_at_ms(payload), environment=_environment(payload))


def _check_age(sent_at_ms: int, *, max_age_seconds: int, now: float) -> None:
    """Refuse what was signed too long ago: SNS sends nothing again after an hour, others may. The edge still passes."""
    if max_age_seconds and sent_at_ms < (now - max_age_seconds) * 1000:
        raise Unauthentic("timestamp_too_old")


def _environment(payload: AmazonPayload) -> Environment | None:
    """Tell tests by `betaProductTransaction`; a confirmation is about a topic, which carries both."""
    if isinstance(payload.sns, SnsConfirmation):
        return None
    beta = payload.notification is not None and payload.notification.beta_product_transaction
    return "sandbox" if beta else "production"


def _check_clocks(sent_at_ms: int, *, now: float) -> None:
    """Have what SNS signed in our future sent again; the edge still passes.

    It is proved by now, so a clock is wrong, and an hour of a clock that is behind must not cost an hour of
    notifications: after a 4xx SNS sends none of them again (docs.aws.amazon.com/sns/latest/dg/
    sns-message-delivery-retries.html: it retries server-side errors). The other platforms repeat what got a 401.
    """
    if sent_at_ms > now * 1000 + FUTURE_TOLERANCE_MS:
        raise TooSoon("timestamp_in_the_future")


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


PLATFORM = Platform(name="amazon", verify=verify, identify=identify, needs=needs, normalize=normalize, read=read)
