"""Certificate chains with any one thing wrong, and notifications signed by them.

Real keys and real signatures; only the dates are chosen. A chain begins as a good one, shaped like Apple's, and each
certificate can be told to differ.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from config.platforms import Apple
from worker.simulator import apple_pki as pki

Hash = SHA256 | SHA384 | SHA512
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

BUNDLE_ID = "com.acme.app"
APP_APPLE_ID = 1234567890
SIGNED_AT = 1_790_000_000
"""2026-09-21, when everything in these tests is signed."""
SETTINGS = Apple(bundle_id=BUNDLE_ID, app_apple_id=APP_APPLE_ID)

ROOT, INTERMEDIATE, LEAF = "Acme Root CA - G3", "Acme Developer Relations", "Acme Receipt Signing"


@cache
def ec_key(name: str, curve: str = "secp384r1") -> ec.EllipticCurvePrivateKey:
    """Give one key per name and curve, made once."""
    del name
    return ec.generate_private_key({"secp256r1": ec.SECP256R1, "secp384r1": ec.SECP384R1}[curve]())


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Give one RSA key per name."""
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True)
class Cert:
    """What to put into one certificate. None leaves an extension out."""

    subject: str
    key: PrivateKey
    ca: bool | None
    path_length: int | None = None
    ca_critical: bool = True
    usages: tuple[str, ...] | None = ("key_cert_sign", "crl_sign")
    marker: str | None = None
    subject_key_identifier: bool = True
    authority_key_identifier: str | None = "issuer"
    begins: int = SIGNED_AT - 400 * 86400
    ends: int = SIGNED_AT + 400 * 86400
    hash: Hash = field(default_factory=SHA384)
    issuer: str | None = None
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()


GOOD_ROOT = Cert(ROOT, ec_key("root"), ca=True, authority_key_identifier=None)
GOOD_INTERMEDIATE = Cert(
    INTERMEDIATE, ec_key("intermediate"), ca=True, path_length=0, marker="1.2.840.113635.100.6.2.1"
)
GOOD_LEAF = Cert(
    LEAF,
    ec_key("leaf", "secp256r1"),
    ca=False,
    usages=("digital_signature",),
    marker="1.2.840.113635.100.6.11.1",
)


def issue(cert: Cert, issuer: Cert) -> x509.Certificate:
    """Issue `cert` with the name and key of `issuer`."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(cert.subject))
        .issuer_name(_name(cert.issuer or issuer.subject))
        .public_key(cert.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(cert.begins, UTC))
        .not_valid_after(datetime.fromtimestamp(cert.ends, UTC))
    )
    for extension, critical in _extensions(cert, issuer):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, cert.hash)


def _extensions(cert: Cert, issuer: Cert) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = list(cert.more)
    if cert.ca is not None:
        found.append((x509.BasicConstraints(cert.ca, cert.path_length), cert.ca_critical))
    if cert.usages is not None:
        found.append((_usage(cert.usages), True))
    if cert.marker is not None:
        found.append((x509.UnrecognizedExtension(x509.ObjectIdentifier(cert.marker), b"\x05\x00"), False))
    if cert.subject_key_identifier:
        found.append((x509.SubjectKeyIdentifier.from_public_key(cert.key.public_key()), False))
    if cert.authority_key_identifier is not None:
        named = issuer if cert.authority_key_identifier == "issuer" else GOOD_LEAF
        found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(named.key.public_key()), False))
    return found


def _usage(names: tuple[str, ...]) -> x509.KeyUsage:
    known = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in names for name in known})


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


@dataclass(frozen=True)
class Made:
    """Three certificates that belong together, and how they are sent."""

    root: x509.Certificate
    intermediate: x509.Certificate
    leaf: x509.Certificate
    leaf_key: PrivateKey
    x5c: Any

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """Give what a verifier is told to trust."""
        return (self.root,)

    def sending(self, x5c: Any) -> "Made":
        """Send something else as `x5c`."""
        return replace(self, x5c=x5c)

    def trusting(self, root: x509.Certificate) -> "Made":
        """Be judged by another root."""
        return replace(self, root=root)

    def header(self, **changes: Any) -> dict[str, Any]:
        """Write the JWS header, with changes; None takes a field out."""
        said = {"alg": "ES256", "x5c": self.x5c, **changes}
        return {name: value for name, value in said.items() if value is not None}

    def sign(self, payload: Mapping[str, Any], **header: Any) -> str:
        """Sign as this leaf does; a leaf that cannot sign ES256 gets a signature by another key."""
        fits = isinstance(self.leaf_key, ec.EllipticCurvePrivateKey) and self.leaf_key.key_size == 256
        key = self.leaf_key if fits else GOOD_LEAF.key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return pki.sign_es256(self.header(**header), payload, key)


def b64(certificate: x509.Certificate) -> str:
    """Write a certificate as `x5c` has it."""
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def make(
    *,
    root: Mapping[str, Any] | None = None,
    intermediate: Mapping[str, Any] | None = None,
    leaf: Mapping[str, Any] | None = None,
) -> Made:
    """Make a chain, each certificate good but for the named changes."""
    top = replace(GOOD_ROOT, **(root or {}))
    middle = replace(GOOD_INTERMEDIATE, **(intermediate or {}))
    last = replace(GOOD_LEAF, **(leaf or {}))
    made = issue(top, top), issue(middle, top), issue(last, middle)
    return Made(*made, leaf_key=last.key, x5c=[b64(each) for each in reversed(made)])


@cache
def good() -> Made:
    """Give the one good chain."""
    return make()


@cache
def stranger() -> Made:
    """Give a chain just as good, of the same names, with a root that nobody trusts."""
    return make(
        root={"key": ec_key("stranger root")},
        intermediate={"key": ec_key("stranger intermediate")},
        leaf={"key": ec_key("stranger leaf", "secp256r1")},
    )


def transaction(**changes: Any) -> dict[str, Any]:
    """Describe an annual plan refunded after nine months, with changes; None takes a field out."""
    return _with(
        {
            "transactionId": "2000000900000001",
            "originalTransactionId": "2000000900000000",
            "bundleId": BUNDLE_ID,
            "productId": "com.acme.pro.annual",
            "purchaseDate": (SIGNED_AT - 270 * 86400) * 1000,
            "expiresDate": (SIGNED_AT + 95 * 86400) * 1000,
            "quantity": 1,
            "type": "Auto-Renewable Subscription",
            "appAccountToken": "7e3fb204-2ef5-4d5c-8f2a-6b1f3c7d9e10",
            "inAppOwnershipType": "PURCHASED",
            "signedDate": SIGNED_AT * 1000,
            "environment": "Production",
            "price": 49990,
            "currency": "USD",
            "revocationDate": SIGNED_AT * 1000,
            "revocationReason": 1,
        },
        changes,
    )


def renewal(**changes: Any) -> dict[str, Any]:
    """Describe how that plan would have gone on."""
    return _with(
        {
            "originalTransactionId": "2000000900000000",
            "autoRenewProductId": "com.acme.pro.annual",
            "productId": "com.acme.pro.annual",
            "autoRenewStatus": 0,
            "signedDate": SIGNED_AT * 1000,
            "environment": "Production",
        },
        changes,
    )


def data(**changes: Any) -> dict[str, Any]:
    """Describe the app."""
    return _with(
        {"appAppleId": APP_APPLE_ID, "bundleId": BUNDLE_ID, "bundleVersion": "42", "environment": "Production"},
        changes,
    )


def payload(type_: str = "REFUND", **changes: Any) -> dict[str, Any]:
    """Describe a notification."""
    said = {
        "notificationType": type_,
        "notificationUUID": "8c5f6f1a-3c0e-4b55-9d39-0d4f4c3b2a19",
        "version": "2.0",
        "signedDate": SIGNED_AT * 1000,
        "data": data(),
    }
    return _with(said, changes)


def refund(made: Made | None = None, inner: Made | None = None, **changes: Any) -> dict[str, Any]:
    """Describe a refund with its nested JWS, signed by `inner`."""
    signer = inner or made or good()
    nested = data(signedTransactionInfo=signer.sign(transaction()), signedRenewalInfo=signer.sign(renewal()), status=5)
    return payload(**{"data": nested, **changes})


def body(token: str) -> bytes:
    """Put a JWS into the envelope."""
    return json.dumps({"signedPayload": token}, separators=(",", ":")).encode()


def _with(said: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**said, **changes}.items() if value is not None}
