"""Public keys out of the ways in which platforms and operators write them down. Bytes in, keys out."""

import base64
import json
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from schemas.received import Key

__all__ = ["KeyFormatError", "read_certificate", "read_certificates", "read_key_set"]

KEYS_MAX = 64
"""Google publishes two or three; a set beyond this is not a key set."""
KEY_BITS_MIN, KEY_BITS_MAX = 2048, 8192
"""RFC 7518 (3.3) asks for 2048; above 8192 a check costs more than any issuer asks for."""
EXPONENT_MAX = 2**32
_PEM = b"-----BEGIN CERTIFICATE-----"
_UNREADABLE = (ValueError, x509.InvalidVersion)


class KeyFormatError(Exception):
    """The bytes hold no key that can be used. The message says what is wrong, in words for an operator."""


def read_key_set(body: bytes) -> dict[str, Key]:
    """Read RSA signing keys by `kid`, skipping entries of other kinds and for other uses.

    Both of Google's ways of writing them: a JWK Set (RFC 7517; www.googleapis.com/oauth2/v3/certs), and certificates
    by kid (www.googleapis.com/oauth2/v1/certs).

    Raises:
        KeyFormatError: neither of the two, too many, or not one usable key.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise KeyFormatError("is not JSON") from None
    if not isinstance(value, dict):
        raise KeyFormatError("is not a JSON object")
    entries = value.get("keys")
    found = _from_certificates(value) if entries is None else _from_jwks(entries)
    if not found:
        raise KeyFormatError("holds no RSA signing key of 2048 bits or more")
    return found


def read_certificate(body: bytes) -> x509.Certificate:
    """Read exactly one certificate in PEM."""
    found = _load_pem(body)
    if len(found) != 1:
        raise KeyFormatError(f"holds {len(found)} certificates instead of one")
    return found[0]


def read_certificates(body: bytes) -> list[x509.Certificate]:
    """Read one certificate in DER, or any number from one up in PEM."""
    if _PEM in body:
        return _load_pem(body)
    try:
        return [x509.load_der_x509_certificate(body)]
    except _UNREADABLE:
        raise KeyFormatError("is neither a PEM nor a DER certificate") from None


def _load_pem(body: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(body)
    except _UNREADABLE:
        raise KeyFormatError("is not a PEM certificate") from None


def _from_jwks(entries: object) -> dict[str, Key]:
    if not isinstance(entries, list) or len(entries) > KEYS_MAX:
        raise KeyFormatError(f"does not hold a list of at most {KEYS_MAX} keys")
    found: dict[str, Key] = {}
    for entry in entries:
        if _signs_with_rsa(entry) and (key := _rsa_key(entry)) is not None:
            found[entry["kid"]] = key
    return found


def _signs_with_rsa(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("kid"), str)
        and entry.get("kty") == "RSA"
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", "RS256") == "RS256"
    )


def _rsa_key(entry: dict[str, Any]) -> RSAPublicKey | None:
    """Build a key of numbers (RFC 7518, 6.3.1); None for numbers that are none, weak, or costly to check with."""
    modulus, exponent = _number(entry.get("n")), _number(entry.get("e"))
    if modulus is None or exponent is None or exponent > EXPONENT_MAX:
        return None
    if not KEY_BITS_MIN <= modulus.bit_length() <= KEY_BITS_MAX:
        return None
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        return None


def _number(text: object) -> int | None:
    """Read Base64urlUInt."""
    if not isinstance(text, str):
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return int.from_bytes(raw, "big")


def _from_certificates(value: dict[str, Any]) -> dict[str, Key]:
    if len(value) > KEYS_MAX:
        raise KeyFormatError(f"holds more than {KEYS_MAX} keys")
    found: dict[str, Key] = {}
    for kid, pem in value.items():
        if not isinstance(pem, str):
            raise KeyFormatError("is neither a JWK Set nor certificates by kid")
        key = _public_key(read_certificate(pem.encode(errors="replace")))
        if isinstance(key, RSAPublicKey) and KEY_BITS_MIN <= key.key_size <= KEY_BITS_MAX:
            found[kid] = key
    return found


def _public_key(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
