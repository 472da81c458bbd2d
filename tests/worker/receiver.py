"""Believe a webhook or not: written from the text of Standard Webhooks alone, without any code of ours.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Signature scheme",
"Webhook headers" and "Verifying signatures". A second reader is the project's own library, which knows `v1` only.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

TOLERANCE_SECONDS = 300


class Doubt(Exception):
    """A webhook is not to be believed; the text says why."""


def believe(headers: Mapping[str, str], body: bytes, *, secret: str, now: float) -> Any:
    """Verify one webhook with `whsec_…` (shared) or `whpk_…` (public), and give its payload.

    Raises:
        Doubt: it is not authentic, or not fresh.
    """
    id_, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise Doubt("stale")
    signed = f"{id_}.{timestamp}.".encode() + body
    offered = [token.split(",", 1) for token in headers["webhook-signature"].split(" ")]
    if not any(_fits(secret, signed, version, base64.b64decode(signature)) for version, signature in offered):
        raise Doubt("unsigned")
    return json.loads(body)


def doubts(headers: Mapping[str, str], body: bytes, *, secrets: Iterable[str], now: float) -> list[str]:
    """List which of these secrets find the webhook unbelievable, by either reader."""
    found = []
    for secret in secrets:
        try:
            believe(headers, body, secret=secret, now=now)
        except Doubt as doubt:
            found.append(f"{doubt} for {secret[:9]}")
        if secret.startswith("whsec_") and not _by_the_library(headers, body, secret):
            found.append(f"the library does not believe {secret[:9]}")
    return found


def _fits(secret: str, signed: bytes, version: str, signature: bytes) -> bool:
    kind, _, encoded = secret.partition("_")
    key = base64.b64decode(encoded)
    if (kind, version) == ("whsec", "v1"):
        return hmac.compare_digest(hmac.new(key, signed, hashlib.sha256).digest(), signature)
    if (kind, version) == ("whpk", "v1a"):
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
        except InvalidSignature:
            return False
        return True
    return False


def _by_the_library(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Ask the library; where a test set the clock forward, which it does not know of, for its own signature."""
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    if abs(datetime.now(UTC) - at) > timedelta(seconds=TOLERANCE_SECONDS - 5):
        return Webhook(secret).sign(headers["webhook-id"], at, body.decode()) in headers["webhook-signature"].split(" ")
    try:
        Webhook(secret).verify(body, dict(headers))
    except WebhookVerificationError:
        return False
    return True
