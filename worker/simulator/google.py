"""Speak as Google Play and Pub/Sub: notifications in real envelopes, pushed with tokens that really verify.

Shapes: developer.android.com/google/play/billing/rtdn-reference, cloud.google.com/pubsub/docs/push and
cloud.google.com/pubsub/docs/authenticate-push-subscriptions.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from config.platforms import Google
from worker.simulator.sale import Sale, Shot, backend_word

__all__ = ["GoogleSimulator", "create", "told"]

KEY_FILE = "google-push-key.pem"
KEY_SET_FILE = "google-jwks.json"
TOKEN_LIFETIME_SECONDS = 3_600
_CHARGEBACK = 7
USER_AGENT = "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)"


def create(directory: Path, *, app: str, public_url: str) -> dict[str, Any]:
    """Make the key of a demo push account in `directory`, and return the section that trusts it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_private(directory / KEY_FILE, private)
    key_set = directory / KEY_SET_FILE
    key_set.write_text(json.dumps({"keys": [_jwk(key.public_key())]}, indent=2), encoding="utf-8")
    return {
        "package_name": f"com.{app}.app",
        "audience": f"{public_url.rstrip('/')}/webhooks/google/{app}",
        "service_account_email": f"play-push@{app}-demo.iam.gserviceaccount.com",
        "subscriptions": [f"projects/{app}-demo/subscriptions/play-rtdn"],
        "jwks": str(key_set.absolute()),
    }


def told(sale: Sale) -> dict[str, Any]:
    """Say what the app's backend knows and a notification does not: who bought, and for how much."""
    return backend_word(sale, platform="google", purchase_token=sale.original_purchase_id)


class GoogleSimulator:
    """Push what Google Play would publish. Each call makes a new message with a new id.

    Args:
        directory: where `create` put the private key.
        settings: the section that `create` returned.
    """

    def __init__(self, directory: Path, settings: Google) -> None:
        key = load_pem_private_key((directory / KEY_FILE).read_bytes(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{KEY_FILE} holds no RSA key")
        self._key = key
        self._settings = settings

    @cached_property
    def _strange_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def purchase(self, sale: Sale, now: float) -> Shot:
        """Say that a subscription (4) or a one-time product (1) was bought."""
        if sale.subscription:
            return self._subscription("SUBSCRIPTION_PURCHASED", 4, sale, now)
        special = {
            "version": "1.0",
            "notificationType": 1,
            "purchaseToken": sale.original_purchase_id,
            "sku": sale.product_id,
        }
        return self._push("ONE_TIME_PRODUCT_PURCHASED", {"oneTimeProductNotification": special}, now)

    def renew(self, sale: Sale, now: float) -> Shot:
        """Say that another period was paid (2): which order that made, only a look-up would tell."""
        return self._subscription("SUBSCRIPTION_RENEWED", 2, sale, now)

    def refund(self, sale: Sale, now: float) -> Shot:
        """Say that the order was voided in full."""
        return self._void(sale, 1, now)

    def refund_some_units(self, sale: Sale, now: float) -> Shot:
        """Say that some units of a multi-quantity order were voided; how many, only a look-up would tell."""
        return self._void(sale, 2, now)

    def request_refund(self, sale: Sale, now: float) -> Shot:
        """Ask what speaks against giving the money back: a question about one order, which names no purchase token."""
        special = {
            "version": "1.0",
            "pendingRefundToken": secrets.token_urlsafe(32),
            "orderId": sale.purchase_id,
            "refundReason": _CHARGEBACK,
        }
        return self._push("PENDING_REFUND_REVIEW", {"pendingRefundReviewNotification": special}, now)

    def undo_refund(self, sale: Sale, now: float) -> None:  # noqa: ARG002 - every platform is asked
        """Google Play does not take a refund back."""
        return

    def revoke(self, sale: Sale, now: float) -> Shot:
        """Say that the subscription was taken away before its time (12)."""
        return self._subscription("SUBSCRIPTION_REVOKED", 12, sale, now)

    def fail_payment(self, sale: Sale, now: float) -> Shot:
        """Say that a renewal was not paid, and that a grace period began (6): until when, only a look-up would tell."""
        return self._subscription("SUBSCRIPTION_IN_GRACE_PERIOD", 6, sale, now)

    def hold(self, sale: Sale, now: float) -> Shot:
        """Say that a renewal was not paid, and that nothing is granted meanwhile (5)."""
        return self._subscription("SUBSCRIPTION_ON_HOLD", 5, sale, now)

    def recover(self, sale: Sale, now: float) -> Shot:
        """Say that it was paid after all (1)."""
        return self._subscription("SUBSCRIPTION_RECOVERED", 1, sale, now)

    def expire(self, sale: Sale, now: float) -> Shot | None:
        """Say that the subscription ended (13); what was bought once does not end."""
        return self._subscription("SUBSCRIPTION_EXPIRED", 13, sale, now) if sale.subscription else None

    def reseal(self, shot: Shot, now: float) -> Shot:
        """Push it with a new token: Pub/Sub makes one for each delivery, and an old one has expired."""
        return _with_token(shot, self._token(self._claims(now)))

    def test(self, now: float) -> Shot:
        """Do what "Send test message" of the Play Console does."""
        return self._push("TEST", {"testNotification": {"version": "1.0"}}, now)

    def forge(self, shot: Shot, now: float) -> tuple[tuple[str, Shot], ...]:
        """Make every forgery that a weaker verifier has believed somewhere."""
        claims, kid = self._claims(now), key_id(self._key.public_key())
        strange = self._strange_key
        bearers = {
            "another_key_under_the_known_kid": _token({"alg": "RS256", "kid": kid}, claims, strange),
            "unknown_kid": _token({"alg": "RS256", "kid": key_id(strange.public_key())}, claims, strange),
            "another_audience": self._token(claims | {"aud": "https://example.com/"}),
            "a_list_of_audiences": self._token(claims | {"aud": [claims["aud"]]}),
            "email_not_verified": self._token(claims | {"email_verified": False}),
            "email_verified_as_text": self._token(claims | {"email_verified": "true"}),
            "another_account": self._token(claims | {"email": "mallory@mallory-1.iam.gserviceaccount.com"}),
            "another_issuer": self._token(claims | {"iss": "https://accounts.google.com.example.com"}),
            "expired": self._token(claims | {"iat": int(now) - 7_200, "exp": int(now) - 3_600}),
            "alg_none": _unsigned({"alg": "none", "kid": kid}, claims) + ".",
            "hs256_with_the_public_key": self._confused(claims, kid),
        }
        forged = [(name, _with_token(shot, token)) for name, token in bearers.items()]
        nobody = replace(shot, headers={k: v for k, v in shot.headers.items() if k != "Authorization"})
        forged.append(("no_token", nobody))
        forged.append(("another_package", self._of_another_package(now)))
        forged.append(("another_subscription", self._of_another_subscription(shot)))
        return tuple(forged)

    def _subscription(self, word: str, number: int, sale: Sale, now: float) -> Shot:
        special = {
            "version": "1.0",
            "notificationType": number,
            "purchaseToken": sale.original_purchase_id,
            # Still sent in 2025, though the reference no longer has it.
            "subscriptionId": sale.product_id,
        }
        return self._push(word, {"subscriptionNotification": special}, now)

    def _void(self, sale: Sale, refund_type: int, now: float) -> Shot:
        special = {
            "purchaseToken": sale.original_purchase_id,
            "orderId": sale.purchase_id,
            "productType": 1 if sale.subscription else 2,
            "refundType": refund_type,
        }
        return self._push("VOIDED_PURCHASE", {"voidedPurchaseNotification": special}, now)

    def _push(self, word: str, special: Mapping[str, Any], now: float, *, package: str = "") -> Shot:
        notification = {
            "version": "1.0",
            "packageName": package or self._settings.package_name,
            "eventTimeMillis": str(int(now * 1000)),
            **special,
        }
        return Shot(word, self._wrap(json.dumps(notification).encode(), now), self._headers(now))

    def _wrap(self, data: bytes, now: float) -> bytes:
        message_id = str(10**15 + secrets.randbelow(9 * 10**15))
        published = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = {
            "data": base64.b64encode(data).decode(),
            "messageId": message_id,
            "message_id": message_id,
            "publishTime": published,
            "publish_time": published,
        }
        subscription = next(iter(self._settings.subscriptions), "projects/demo/subscriptions/play-rtdn")
        return json.dumps({"message": message, "subscription": subscription}).encode()

    def _headers(self, now: float) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._token(self._claims(now))}",
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
        }

    def _claims(self, now: float) -> dict[str, Any]:
        return {
            "aud": self._settings.audience,
            "azp": "113774264463038321964",
            "email": self._settings.service_account_email,
            "email_verified": True,
            "exp": int(now) + TOKEN_LIFETIME_SECONDS,
            "iat": int(now),
            "iss": "https://accounts.google.com",
            "sub": "113774264463038321964",
        }

    def _token(self, claims: Mapping[str, Any]) -> str:
        header = {"alg": "RS256", "kid": key_id(self._key.public_key()), "typ": "JWT"}
        return _token(header, claims, self._key)

    def _confused(self, claims: Mapping[str, Any], kid: str) -> str:
        """Sign with HMAC and the public key as its secret (RFC 8725, section 2.1)."""
        secret = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        unsigned = _unsigned({"alg": "HS256", "kid": kid}, claims)
        return f"{unsigned}.{_base64url(hmac.digest(secret, unsigned.encode(), 'sha256'))}"

    def _of_another_package(self, now: float) -> Shot:
        test = {"testNotification": {"version": "1.0"}}
        return self._push("TEST", test, now, package="com.mallory.app")

    def _of_another_subscription(self, shot: Shot) -> Shot:
        outer = json.loads(shot.body) | {"subscription": "projects/mallory-1/subscriptions/mine"}
        return replace(shot, body=json.dumps(outer).encode())


def key_id(key: rsa.RSAPublicKey) -> str:
    """Name a key by its own bytes, 40 hexadecimal digits as Google's are."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()[:40]


def _jwk(key: rsa.RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    return {
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": key_id(key),
        "n": _base64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        "e": _base64url(numbers.e.to_bytes(3, "big")),
    }


def _token(header: Mapping[str, Any], claims: Mapping[str, Any], key: rsa.RSAPrivateKey) -> str:
    unsigned = _unsigned(header, claims)
    return f"{unsigned}.{_base64url(key.sign(unsigned.encode(), PKCS1v15(), SHA256()))}"


def _unsigned(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    return ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))


def _with_token(shot: Shot, token: str) -> Shot:
    return replace(shot, headers={**shot.headers, "Authorization": f"Bearer {token}"})


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read, not even for a moment."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
