"""Stripe is believed if one of the endpoint's secrets signed these very bytes within five minutes of now.

What an event then means for purchases is said in `handlers/stripe_meaning.py`.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from config.platforms import Stripe
from handlers.accepted import json_object
from handlers.errors import Malformed, Unauthentic, WrongApp
from handlers.platform import Platform
from handlers.strict_json import parse_object
from handlers.stripe_meaning import lookups_of, meaning_of
from schemas.meaning import Facts, Ignored, Lookup, Normalized, Quarantined
from schemas.platforms.stripe import SnapshotEvent, ThinEvent
from schemas.received import Identity, Keys, Received

__all__ = ["PLATFORM"]

StripeEvent = SnapshotEvent | ThinEvent

HEADER = "stripe-signature"
TOLERANCE_SECONDS = 300
"""The default of Stripe's own libraries, https://docs.stripe.com/webhooks#replay-attacks. They forgive any
time in the future; we do not. Every retry is signed anew, so late retries pass."""
MAX_HEADER_CHARS = 2048
MAX_HEADER_ITEMS = 32
"""A genuine header has a `t`, one `v1` for each active secret, and sometimes a `v0`: under 300 characters."""
PING = "v2.core.event_destination.ping"

_TIME = re.compile(r"[1-9][0-9]{0,11}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_SHAPES: Mapping[str, type[SnapshotEvent] | type[ThinEvent]] = {
    "event": SnapshotEvent,
    "v2.core.event": ThinEvent,
}


def verify(received: Received, *, settings: Stripe, keys: Keys, now: float) -> StripeEvent:  # noqa: ARG001 - Stripe signs with a shared secret, so there is no key to be wanted
    """Believe what a configured secret signed near `now`, in the mode this endpoint serves.

    The rules are those of https://docs.stripe.com/webhooks#verify-manually. Nothing is parsed before the
    signature over the raw bytes is found good.

    Raises:
        Unauthentic: no header, a header nobody would write, too old, too new, or not signed by us two.
        Malformed: well signed, and no event.
        WrongApp: an event of live mode at a test endpoint, or the other way round.
    """
    moment, candidates = _read_header(received.headers.get(HEADER, ""))
    _refuse_far_from(now, moment)
    if not _signed(f"{moment}.".encode() + received.body, candidates, settings.webhook_secrets):
        raise Unauthentic("signature_mismatch")
    event = read(received.body, received.headers)
    if event.livemode is not settings.livemode:
        raise WrongApp("livemode")
    return event


def read(body: bytes, headers: Mapping[str, str]) -> StripeEvent:  # noqa: ARG001 - Stripe says everything in the body
    """Parse an event, or raise `Malformed`: snapshot or thin, told apart by `object`."""
    return _event(parse_object(body))


def identify(payload: StripeEvent) -> Identity:
    """Name the event by its id, by which Stripe advises to tell duplicates: a retry is the same event.

    Source: https://docs.stripe.com/webhooks#handle-duplicate-events.
    """
    return Identity(
        id=payload.id,
        type=payload.type,
        occurred_at_ms=payload.created_ms,
        environment="production" if payload.livemode else "sandbox",
    )


def needs(payload: StripeEvent) -> tuple[Lookup, ...]:
    """Ask for the invoice behind a payment intent, where the event itself cannot name it (since basil)."""
    return lookups_of(payload) if isinstance(payload, SnapshotEvent) else ()


def normalize(payload: StripeEvent, facts: Facts, *, settings: Stripe) -> Normalized:
    """Say what an event means for purchases. Thin events carry no data: they are kept for a person to see.

    So is what happened on a connected account that nobody listed
    (https://docs.stripe.com/connect/webhooks#connect-webhooks): a Connect endpoint's secret signs it too, and whoever
    owns that account sells what he likes and writes any user's id into its metadata. The objects of a listed one need
    no space of their own: Stripe makes the ids of charges, payments, invoices and subscriptions, and an id is of one
    account alone (the same page: objects belong to the account, and are not found from another). Only products may
    be given an id by their seller (https://docs.stripe.com/api/products/create#create_product-id).
    """
    account = payload.connected_account
    if account is not None and account not in settings.connected_accounts:
        return Quarantined("connected_account", payload.type)
    if isinstance(payload, SnapshotEvent):
        return meaning_of(payload, facts, settings)
    if payload.type == PING:
        return Ignored("ping")
    return Quarantined(
        "thin_event", f"{payload.type} says nothing but an id: give this destination the snapshot payload style"
    )


def _event(value: dict[str, Any]) -> StripeEvent:
    kind = value.get("object")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise Malformed("not_an_event")
    try:
        return shape.model_validate(value)
    except ValidationError:
        raise Malformed("unexpected_event_shape") from None


def _read_header(header: str) -> tuple[str, tuple[str, ...]]:
    """Split `t=…,v1=…,v1=…,v0=…` into the time and the candidates for a signature; only scheme v1 counts.

    The time stays text: it is signed as written, so exactly one way of writing it may pass.
    """
    if not header:
        raise Unauthentic("no_signature_header")
    items = [item.partition("=") for item in header[: MAX_HEADER_CHARS + 1].split(",", MAX_HEADER_ITEMS)]
    if len(header) > MAX_HEADER_CHARS or len(items) > MAX_HEADER_ITEMS or not all(sep for _, sep, _ in items):
        raise Unauthentic("bad_signature_header")
    # Of a header that was sent twice and joined, the second time has a space before it: it counts, as one too many.
    times = [value for name, _, value in items if name.strip() == "t"]
    candidates = tuple(value for name, _, value in items if name == "v1" and _SIGNATURE.fullmatch(value))
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        raise Unauthentic("bad_signature_time")
    if not candidates:
        raise Unauthentic("no_v1_signature")
    return times[0], candidates


def _refuse_far_from(now: float, moment: str) -> None:
    """Refuse a time more than the tolerance away, to either side."""
    age_seconds = now - int(moment)
    if age_seconds > TOLERANCE_SECONDS:
        raise Unauthentic("signed_too_long_ago")
    if age_seconds < -TOLERANCE_SECONDS:
        raise Unauthentic("signed_in_the_future")


def _signed(content: bytes, candidates: Iterable[str], secrets: Iterable[str]) -> bool:
    """Tell whether any secret made any candidate, comparing all of them in constant time.

    The key is the whole secret as shown in the dashboard, `whsec_` included; an empty one is no secret.
    """
    found = False
    for secret in filter(str.strip, secrets):
        expected = hmac.digest(secret.encode(), content, "sha256").hex()
        for candidate in candidates:
            found |= hmac.compare_digest(expected, candidate)
    return found


def _reread(body: bytes, headers: Mapping[str, str]) -> StripeEvent:
    del headers  # as in `read`
    return _event(json_object(body))


PLATFORM = Platform(
    name="stripe", verify=verify, identify=identify, needs=needs, normalize=normalize, read=read, rereads=_reread
)
