"""A compact JWS taken apart strictly: one token text for one meaning, and the two signatures we believe.

RFC 7515 (JWS), RFC 7518 section 3 (algorithms). Nothing here decides whom to trust: the caller finds the key,
and compares the header's `alg` with the one it expects before it looks for that key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from handlers import accepted, strict_json
from handlers.errors import Malformed, Unauthentic

_HALF = 32
"""ES256 signatures are r and s, 32 big-endian bytes each (RFC 7518, 3.4)."""
_CHANGES_MEANING = frozenset({"crit", "b64"})
"""Headers that change how the rest must be read (RFC 7515, 4.1.11; RFC 7797). We speak none of them."""
_ANY = frozenset({"", *"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"})
_LAST = (_ANY, frozenset[str](), frozenset("AQgw"), frozenset("AEIMQUYcgkosw048"))
"""Characters over a multiple of four → how such a text may end: with all bits that encode nothing zero (RFC 4648)."""
_ES256 = ECDSA(SHA256())
KNOWN_HEADERS_MAX = 64
KNOWN_HEADER_CHARS_MAX = 16_384
"""A platform signs for months under one header, and Apple's holds a chain of certificates: the same text is read once.
Nothing of it is believed for that. Longer ones than anybody writes are not kept."""


@dataclass(frozen=True, slots=True)
class Jws:
    """The parts of a compact JWS, decoded, and nothing of it believed yet."""

    header: Mapping[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes


def split(token: str, max_length: int) -> Jws:
    """Take a compact JWS apart, or raise `Malformed`.

    Args:
        token: the text between the quotes, or after `Bearer `.
        max_length: in characters; longer ones are refused before anything is decoded.

    Raises:
        Malformed: too long, not three segments, not canonical base64url, a header that is no strict JSON
            object, or one that asks for extensions (`crit`, `b64`) or has a `kid` that is no text.
    """
    if len(token) > max_length:
        raise Malformed("token_too_long")
    segments = token.split(".")
    if len(segments) != 3:
        raise Malformed("not_a_compact_jws")
    head, body, signature = segments
    header = _known_header(head) if len(head) <= KNOWN_HEADER_CHARS_MAX else _header(head)
    return Jws(header, decode(body), f"{head}.{body}".encode("ascii"), decode(signature))


def _header(head: str) -> Mapping[str, Any]:
    header = strict_json.parse_object(decode(head))
    if not _CHANGES_MEANING.isdisjoint(header) or not isinstance(header.get("kid", ""), str):
        raise Malformed("unsupported_jws_header")
    return MappingProxyType(header)


_known_header = lru_cache(maxsize=KNOWN_HEADERS_MAX)(_header)


def decode(segment: str) -> bytes:
    """Decode base64url without padding, accepting the one spelling that encoding these bytes gives.

    Raises:
        Malformed: another alphabet, padding, white space, or unused trailing bits that are not zero: two
            spellings of one signature would be two accepted bodies.
    """
    if segment[-1:] not in _LAST[len(segment) % 4] or "+" in segment or "/" in segment:
        raise Malformed("not_base64url")
    # It refuses what is in no alphabet and pads elsewhere; pads at the end and idle bits it never gets to see.
    return accepted.decode(segment)


def verify_es256(jws: Jws, key: EllipticCurvePublicKey) -> None:
    """Accept an ECDSA signature over P-256 and SHA-256, raw r and s; else raise `Unauthentic`."""
    if not isinstance(key.curve, SECP256R1) or len(jws.signature) != 2 * _HALF:
        raise Unauthentic("signature")
    r = int.from_bytes(jws.signature[:_HALF], "big")
    s = int.from_bytes(jws.signature[_HALF:], "big")
    try:
        key.verify(encode_dss_signature(r, s), jws.signing_input, _ES256)
    except InvalidSignature:
        raise Unauthentic("signature") from None


def verify_rs256(jws: Jws, key: RSAPublicKey) -> None:
    """Accept an RSASSA-PKCS1-v1_5 signature over SHA-256 by 2048 bits or more; else raise `Unauthentic`."""
    if key.key_size < 2048:
        raise Unauthentic("weak_key")  # RFC 7518, 3.3
    try:
        key.verify(jws.signature, jws.signing_input, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        raise Unauthentic("signature") from None
