"""Google Play Real-time Developer Notifications, pushed by Pub/Sub and vouched for by its service account."""

import hashlib
import hmac
import re
from collections.abc import Mapping

from config.platforms import Google
from handlers import rtdn
from handlers.errors import WrongApp
from handlers.google_meaning import lookups_of, meaning_of
from handlers.oidc import authenticate
from handlers.platform import Platform
from handlers.pubsub import KEPT_HEADERS, unpack
from schemas.meaning import Facts, Lookup, Normalized
from schemas.platforms.google import DeveloperNotification, Push
from schemas.received import Identity, Keys, KeyWanted, Received

__all__ = ["PLATFORM"]

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
    return lookups_of(payload.notification)


def normalize(payload: Push, facts: Facts, *, settings: Google) -> Normalized:  # noqa: ARG001 - all platforms' shape
    """Say what a push means; `handlers/google_meaning.py` holds the table."""
    return meaning_of(payload.notification, facts)


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
