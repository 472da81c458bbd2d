"""Read the key file of a Google service account, and sign with it what is traded for an access token."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from yarl import URL

from handlers import strict_json
from handlers.errors import Malformed
from worker.fetch import may_fetch

FILE_BYTES_MAX = 64 * 1024
ASSERTION_SECONDS = 3600
"""How long an assertion may be traded: an hour is the most that Google allows."""
KEY_BITS_MIN = 2048


class KeyFileError(Exception):
    """The file is no key of a service account. The message says why, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Who asks, and how that is proven.

    Attributes:
        token_uri: where an assertion is traded for a token.
    """

    email: str
    key_id: str
    token_uri: str
    key: RSAPrivateKey = field(repr=False)

    def assertion(self, *, scope: str, now: float) -> str:
        """Sign that we are this account: a JWT with the claims of "Making an authorized API call".

        https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests, RFC 7523.
        """
        header = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        issued_at = int(now)
        claims = {"iss": self.email, "scope": scope, "aud": self.token_uri, "iat": issued_at}
        signed = f"{_encode(header)}.{_encode({**claims, 'exp': issued_at + ASSERTION_SECONDS})}"
        return f"{signed}.{_base64url(self.key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def read_service_account(path: Path, *, api: str) -> ServiceAccount:
    """Read a key file.

    Args:
        path: where it is.
        api: the base address it is for. Only where that is on this machine may tokens come from this machine, too.

    Raises:
        KeyFileError: it cannot be read or is something else.
    """
    said = _read(path)
    if said.get("type") != "service_account":
        raise KeyFileError("is not the JSON key of a service account")
    email, key_id, token_uri = (_text(said, name) for name in ("client_email", "private_key_id", "token_uri"))
    if not may_fetch(token_uri) or (URL(token_uri).scheme == "http" and URL(api).scheme != "http"):
        raise KeyFileError("names a token_uri that is not https://")
    return ServiceAccount(email, key_id, token_uri, _private_key(_text(said, "private_key")))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"cannot be read ({error.strerror})") from None
    if len(raw) > FILE_BYTES_MAX:
        raise KeyFileError("is too large for a key file")
    try:
        return strict_json.parse_object(raw)
    except Malformed:
        raise KeyFileError("is not JSON") from None


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not value:
        raise KeyFileError(f"has no {name}")
    return value


def _private_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError("holds a private_key that cannot be read") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < KEY_BITS_MIN:
        raise KeyFileError(f"holds a private_key that is not RSA of {KEY_BITS_MIN} bits or more")
    return key


def _encode(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
