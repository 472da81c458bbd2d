"""The `x5c` header of Apple's JWS, proved: leaf, intermediate and root, down to the key that signed.

The rules are RFC 5280's, as strict as OpenSSL's X509_STRICT, which Apple's own server libraries turn on, and
then closed further: exactly three certificates, ECDSA only, and nothing in them that we do not check. The third
certificate proves nothing by being there, anybody can append it. It must carry the key of a root we trust, and
then that trusted root, not the copy that came along, vouches for the intermediate.
"""

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from handlers.errors import Malformed, Unauthentic

LEAF_MARKER = x509.ObjectIdentifier("1.2.840.113635.100.6.11.1")
"""Apple: may sign App Store receipts and server data. Other leaves of the same intermediate may not."""
INTERMEDIATE_MARKER = x509.ObjectIdentifier("1.2.840.113635.100.6.2.1")
"""Apple: Worldwide Developer Relations intermediate. The same root signs quite different ones."""

Roots = tuple[x509.Certificate, ...]

_SIGNATURES = frozenset({SignatureAlgorithmOID.ECDSA_WITH_SHA256, SignatureAlgorithmOID.ECDSA_WITH_SHA384})
_MAY_BE_CRITICAL = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})
"""What we honor. Whatever else calls itself critical must be refused (RFC 5280, 4.2)."""
_NOT_HONORED = frozenset(
    {
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        x509.ObjectIdentifier("1.3.6.1.5.5.7.1.7"),  # IP address blocks, RFC 3779
        x509.ObjectIdentifier("1.3.6.1.5.5.7.1.8"),  # AS numbers, RFC 3779
        x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"),  # proxy certificates, RFC 3820
    },
)
"""Limits we do not compute, so a chain that carries one is refused, critical or not."""
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_CERTIFICATE_CHARACTERS_MAX = 8192
"""Apple's certificates have about 1,400 in base64. Without a bound, a stranger's could hold thousands of extensions."""
_CHAINS_KEPT = 64
"""Distinct chains remembered. Apple uses one or two at a time; only proved ones are kept, and nothing in their
texts is left to a forger: he evicts none."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Chain:
    """A proved chain: its leaf's key, and when all three certificates are valid. When it is asked is not decided."""

    key: EllipticCurvePublicKey
    valid_from_seconds: int
    valid_until_seconds: int


class _This:
    """One certificate, known by being that one: to hash or compare what it says, which `x509` does, is to read it."""

    __slots__ = ("certificate",)

    def __init__(self, certificate: x509.Certificate) -> None:
        self.certificate = certificate

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _This) and self.certificate is other.certificate

    def __hash__(self) -> int:
        return id(self.certificate)


def prove(x5c: Any, *, roots: Roots, at_seconds: int) -> EllipticCurvePublicKey:
    """Return the leaf's key, or raise because this chain does not end at one of `roots`.

    Args:
        x5c: the header as it came.
        roots: the certificates that are trusted, self-signed.
        at_seconds: the moment at which all three must be valid, Unix seconds.

    Raises:
        Malformed: not a list of strings in canonical standard base64.
        Unauthentic: any rule of the chain is broken, or `at_seconds` is outside its validity.
    """
    if not isinstance(x5c, list) or not all(isinstance(text, str) for text in x5c):
        raise Malformed("x5c_missing")
    if len(x5c) != 3:
        raise Unauthentic("x5c_length")
    chain = _prove(x5c[0], x5c[1], _This(_vouching(x5c[2], roots)))
    # OpenSSL before 4.0 calls a certificate expired in the very second of notAfter, RFC 5280 does not: we do.
    if not chain.valid_from_seconds <= at_seconds < chain.valid_until_seconds:
        raise Unauthentic("certificate_not_valid_then")
    return chain.key


@lru_cache(maxsize=_CHAINS_KEPT)
def _prove(leaf_text: str, intermediate_text: str, trusted: _This) -> Chain:
    """Prove everything that does not depend on the time. Failures are raised, and so never remembered.

    One text only stands for a certificate, so texts are as good a key as bytes, and none is decoded twice. The text
    of the third certificate is not part of the key: nothing signs it, so a stranger can write it in a million ways
    behind Apple's own two, and each would be remembered.
    """
    ders, root = (_der(leaf_text), _der(intermediate_text)), trusted.certificate
    try:
        leaf, intermediate = map(x509.load_der_x509_certificate, ders)
        _check_root(root)
        _check_intermediate(intermediate, root)
        return _chain(_check_leaf(leaf, intermediate), (leaf, intermediate, root))
    except InvalidSignature:
        raise Unauthentic("chain_signature") from None
    except _UNREADABLE:
        raise Unauthentic("certificate_unreadable") from None


def _vouching(text: str, roots: Roots) -> x509.Certificate:
    """Find the trusted root that the third certificate stands for. Mostly it is that root, letter by letter."""
    for root in roots:
        if text == _text(_This(root)):
            return root
    der = _der(text)
    try:
        return _trusted(x509.load_der_x509_certificate(der), roots)
    except _UNREADABLE:
        raise Unauthentic("certificate_unreadable") from None


@lru_cache(maxsize=_CHAINS_KEPT)
def _text(root: _This) -> str:
    """Write a trusted root as an `x5c` does."""
    return base64.b64encode(root.certificate.public_bytes(Encoding.DER)).decode("ascii")


def _der(text: str) -> bytes:
    """Decode a certificate: canonical standard base64 with padding, not base64url (RFC 7515, 4.1.6)."""
    if len(text) > _CERTIFICATE_CHARACTERS_MAX:
        raise Malformed("x5c_too_long")
    try:
        der = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("x5c_not_base64") from None
    if base64.b64encode(der).decode("ascii") != text:
        raise Malformed("x5c_not_base64")
    return der


def _chain(key: EllipticCurvePublicKey, certificates: Roots) -> Chain:
    return Chain(
        key=key,
        valid_from_seconds=max(int(each.not_valid_before_utc.timestamp()) for each in certificates),
        valid_until_seconds=min(int(each.not_valid_after_utc.timestamp()) for each in certificates),
    )


def _trusted(claimed: x509.Certificate, roots: Roots) -> x509.Certificate:
    """Find the trusted root whose key and name the third certificate carries. Nothing else of it is used."""
    for root in roots:
        if root == claimed or (root.subject == claimed.subject and _spki(root) == _spki(claimed)):
            return root
    raise Unauthentic("untrusted_root")


def _check_root(root: x509.Certificate) -> None:
    """A trusted root is a self-signed authority with room for one intermediate."""
    _check_profile(root)
    _check_authority(root, authorities_below=1)
    root.verify_directly_issued_by(root)
    identifier = _find(root, x509.AuthorityKeyIdentifier)
    if identifier is not None:
        _check_identifier(identifier.value, root)


def _check_intermediate(intermediate: x509.Certificate, root: x509.Certificate) -> None:
    _check_profile(intermediate)
    _check_authority(intermediate, authorities_below=0)
    _check_issued(intermediate, root)
    _check_marker(intermediate, INTERMEDIATE_MARKER)
    if intermediate.subject == intermediate.issuer:
        raise Unauthentic("self_issued_intermediate")


def _check_leaf(leaf: x509.Certificate, intermediate: x509.Certificate) -> EllipticCurvePublicKey:
    """A leaf signs data and no certificates, with a key that fits ES256."""
    _check_profile(leaf)
    _check_issued(leaf, intermediate)
    _check_marker(leaf, LEAF_MARKER)
    basic, usage = _find(leaf, x509.BasicConstraints), _find(leaf, x509.KeyUsage)
    if basic is not None and basic.value.ca:
        raise Unauthentic("leaf_is_an_authority")
    if usage is not None and (usage.value.key_cert_sign or not usage.value.digital_signature):
        raise Unauthentic("leaf_key_usage")
    key = leaf.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Unauthentic("leaf_key_type")
    return key


def _check_profile(certificate: x509.Certificate) -> None:
    """Hold any certificate of the chain to what all three must be."""
    if certificate.version is not x509.Version.v3:
        raise Unauthentic("certificate_version")
    if certificate.signature_algorithm_oid not in _SIGNATURES:
        raise Unauthentic("certificate_algorithm")
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1 | SECP384R1):
        raise Unauthentic("certificate_key_type")
    # Explicit curve parameters may parse to the same key, and OpenSSL refuses them: the spelling that was signed
    # must be the named curve with an uncompressed point.
    if _spki(certificate) not in certificate.tbs_certificate_bytes:
        raise Unauthentic("certificate_key_type")
    if not certificate.subject.rdns or not certificate.issuer.rdns:
        raise Unauthentic("certificate_name")
    for extension in certificate.extensions:
        if extension.oid in _NOT_HONORED or (extension.critical and extension.oid not in _MAY_BE_CRITICAL):
            raise Unauthentic("certificate_extension")


def _check_authority(certificate: x509.Certificate, *, authorities_below: int) -> None:
    """RFC 5280, 4.2.1.2, 4.2.1.3 and 4.2.1.9: what a certificate must say of itself to sign others."""
    basic, usage = _find(certificate, x509.BasicConstraints), _find(certificate, x509.KeyUsage)
    if basic is None or not basic.critical or not basic.value.ca:
        raise Unauthentic("not_an_authority")
    if usage is None or not usage.value.key_cert_sign:
        raise Unauthentic("authority_key_usage")
    if basic.value.path_length is not None and basic.value.path_length < authorities_below:
        raise Unauthentic("path_length")
    if _find(certificate, x509.SubjectKeyIdentifier) is None:
        raise Unauthentic("subject_key_identifier")


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Check that names chain, that the key identifiers do, and that the issuer's key made the signature."""
    if certificate.issuer != issuer.subject:
        raise Unauthentic("chain_names")
    identifier = _find(certificate, x509.AuthorityKeyIdentifier)
    if identifier is None:
        raise Unauthentic("authority_key_identifier")
    _check_identifier(identifier.value, issuer)
    certificate.verify_directly_issued_by(issuer)


def _check_identifier(identifier: x509.AuthorityKeyIdentifier, issuer: x509.Certificate) -> None:
    """Accept the form that Apple uses: the issuer's key identifier, without its name and serial number."""
    subject = _find(issuer, x509.SubjectKeyIdentifier)
    expected = subject.value.digest if subject else None
    named = identifier.authority_cert_issuer is not None or identifier.authority_cert_serial_number is not None
    if expected is None or identifier.key_identifier != expected or named:
        raise Unauthentic("authority_key_identifier")


def _check_marker(certificate: x509.Certificate, marker: x509.ObjectIdentifier) -> None:
    if all(extension.oid != marker for extension in certificate.extensions):
        raise Unauthentic("marker_missing")


def _find(certificate: x509.Certificate, kind: type[_Extension]) -> x509.Extension[_Extension] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
