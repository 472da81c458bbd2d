"""Sign what subscribers are told, and tell which of them asked to hear it.

The signatures are those of Standard Webhooks, `v1` (HMAC-SHA256) and `v1a` (ed25519): which one, each secret says.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Key", "body", "headers", "keys", "matches", "public_key", "verify"]

Key = bytes | Ed25519PrivateKey
"""What signs: bytes sign as `v1`, a private key as `v1a`."""

_SHARED_PREFIX = "whsec_"
_PRIVATE_PREFIX, _PUBLIC_PREFIX = "whsk_", "whpk_"
_SEED_BYTES = 32  # of an ed25519 key, RFC 8032, 5.1.5


def matches(types: Iterable[str], event_type: str) -> bool:
    """Tell whether any of `types` asks for this event: by name, by family (`refund.*`), or for all (`*`)."""
    return any(_fits(pattern, event_type) for pattern in types)


def body(document: str) -> bytes:
    """Encode an event's stored document: every attempt and every subscriber gets the same bytes."""
    return document.encode()


def keys(secrets: Iterable[str]) -> tuple[Key, ...]:
    """Decode what can sign: `whsec_` or `whsk_` and base64, padded or not. What is neither signs nothing."""
    decoded = (_key(secret) for secret in secrets)
    return tuple(key for key in decoded if key)


def public_key(secret: str) -> str | None:
    """Give what a subscriber verifies `v1a` with, as `whpk_` and base64; None: the secret is not a private key."""
    key = _key(secret)
    if not isinstance(key, Ed25519PrivateKey):
        return None
    return _PUBLIC_PREFIX + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def headers(event_id: str, body: bytes, *, keys: Sequence[Key], now: float) -> dict[str, str]:
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
        "webhook-signature": " ".join(_sign(content, key) for key in keys),
    }


def verify(headers: Mapping[str, str], body: bytes, *, keys: Sequence[Key], now: float, tolerance_seconds: int) -> bool:
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
    fits = [_fitting(content, one, key) for key in keys for one in offered]
    return any(fits)


def _fits(pattern: str, event_type: str) -> bool:
    if pattern.endswith(".*"):
        return event_type.startswith(pattern[:-1])
    return pattern in {"*", event_type}


@lru_cache(maxsize=1024)
def _key(secret: str) -> Key:
    """Decode one secret; empty: it is none."""
    if secret.startswith(_PRIVATE_PREFIX):
        return _private(_bytes(secret.removeprefix(_PRIVATE_PREFIX)))
    return _bytes(secret.removeprefix(_SHARED_PREFIX))


def _private(raw: bytes) -> Key:
    """Read a private key as what it grows from alone, or with its public half behind it, as libsodium writes it."""
    if len(raw) not in (_SEED_BYTES, 2 * _SEED_BYTES):
        return b""
    key = Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES])
    return key if raw[_SEED_BYTES:] in (b"", key.public_key().public_bytes_raw()) else b""


def _bytes(text: str) -> bytes:
    """Decode base64; empty: it is none."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _sign(content: bytes, key: Key) -> str:
    if isinstance(key, bytes):
        return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return "v1a," + base64.b64encode(key.sign(content)).decode()


def _fitting(content: bytes, offered: bytes, key: Key) -> bool:
    """Tell whether what was offered is this key's signature. One of ed25519 is one of several that may be right."""
    if isinstance(key, bytes):
        return hmac.compare_digest(_sign(content, key).encode(), offered)
    version, _, signature = offered.partition(b",")
    try:
        key.public_key().verify(_bytes(signature.decode("ascii", "replace")), content)
    except InvalidSignature:
        return False
    return version == b"v1a"
