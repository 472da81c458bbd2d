"""Sign what subscribers are told, and tell which of them asked to hear it.

The signature is Standard Webhooks' symmetric one, `v1`:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["body", "headers", "keys", "matches", "verify"]

_SECRET_PREFIX = "whsec_"  # noqa: S105 - the public prefix of every secret, not a secret


def matches(types: Iterable[str], event_type: str) -> bool:
    """Tell whether any of `types` asks for this event: by name, by family (`refund.*`), or for all (`*`)."""
    return any(_fits(pattern, event_type) for pattern in types)


def body(document: str) -> bytes:
    """Encode an event's stored document: every attempt and every subscriber gets the same bytes."""
    return document.encode()


def keys(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Decode the secrets that can sign: `whsec_` and base64, padded or not; what is neither signs nothing."""
    decoded = (_key(secret) for secret in secrets)
    return tuple(key for key in decoded if key)


def headers(event_id: str, body: bytes, *, keys: Sequence[bytes], now: float) -> dict[str, str]:
    """Make the headers of one attempt: the id stays over all attempts, the timestamp is this attempt's.

    Args:
        event_id: without a dot, since dots separate what is signed.
        body: exactly the bytes that are sent.
        keys: all sign, so that a subscriber may rotate its secret without missing anything. Never empty.
        now: Unix seconds.
    """
    timestamp = str(int(now))
    content = b".".join((event_id.encode(), timestamp.encode(), body))
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_sign(content, key=key) for key in keys),
    }


def verify(
    headers: Mapping[str, str], body: bytes, *, keys: Sequence[bytes], now: float, tolerance_seconds: int
) -> bool:
    """Tell whether these bytes were signed for any of our keys, lately: what a subscriber does with what it gets.

    Args:
        headers: those of the request, names in any case that the mapping finds.
        body: the raw bytes.
        keys: decoded secrets; several while rotating.
        now: Unix seconds.
        tolerance_seconds: how far the attempt's timestamp may be from `now`, to both sides.
    """
    event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (
        len(timestamp) <= 12
        and timestamp.isascii()
        and timestamp.isdecimal()
        and abs(now - int(timestamp)) <= tolerance_seconds
    ):
        return False
    # Servers keep bytes of headers that are no UTF-8 as lone surrogates: a stranger's, so they must not break this.
    content = b".".join((event_id.encode(errors="surrogateescape"), timestamp.encode(), body))
    offered = headers.get("webhook-signature", "").encode(errors="surrogateescape").split(b" ")
    # Every pair is compared, so that the time taken tells nothing about which one fits.
    fits = [hmac.compare_digest(_sign(content, key=key).encode(), one) for key in keys for one in offered]
    return any(fits)


def _fits(pattern: str, event_type: str) -> bool:
    if pattern.endswith(".*"):
        return event_type.startswith(pattern[:-1])
    return pattern in {"*", event_type}


def _key(secret: str) -> bytes:
    """Decode one secret; empty: it is none."""
    text = secret.removeprefix(_SECRET_PREFIX).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _sign(content: bytes, *, key: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
