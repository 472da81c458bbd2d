"""A certificate authority shaped like Apple's: P-384 root and intermediate, a P-256 leaf, and the marker OIDs.

Nothing here is secret or lasting: it exists so that a demo and the tests verify real signatures. Dates are fixed, so
that the same chain can sign at any moment a test likes.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

LEAF_MARKER = x509.ObjectIdentifier("1.2.840.113635.100.6.11.1")
INTERMEDIATE_MARKER = x509.ObjectIdentifier("1.2.840.113635.100.6.2.1")

ROOT_NAME = "Demo Root CA - G3"
INTERMEDIATE_NAME = "Demo Worldwide Developer Relations Certification Authority"
LEAF_NAME = "Demo Mac App Store and iTunes Store Receipt Signing"

_BEGINS = datetime(2014, 4, 30, tzinfo=UTC)
_ENDS = datetime(2049, 4, 30, tzinfo=UTC)
_ASN1_NULL = b"\x05\x00"


@dataclass(frozen=True, slots=True)
class Holder:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Chain:
    """Everything that signs: the leaf with its key, and the certificates it sends along, leaf first."""

    leaf: Holder
    others: tuple[x509.Certificate, ...]

    @property
    def x5c(self) -> list[str]:
        """Write the chain as the JWS header has it: standard base64 of DER."""
        certificates = (self.leaf.certificate, *self.others)
        return [base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in certificates]

    def sent_with(self, *others: x509.Certificate) -> "Chain":
        """Send other certificates along, whoever issued the leaf."""
        return replace(self, others=others)


def make_root(name: str = ROOT_NAME) -> Holder:
    """Make a self-signed root."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = _builder(name, name, key, key.public_key(), _ENDS)
    return Holder(_as_authority(builder, None).sign(key, SHA384()), key)


def make_intermediate(root: Holder) -> Holder:
    """Make the intermediate that may issue leaves and nothing below them."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = _builder(INTERMEDIATE_NAME, _name_of(root), key, root.key.public_key(), _ENDS)
    builder = _as_authority(builder, 0).add_extension(_marker(INTERMEDIATE_MARKER), critical=False)
    return Holder(builder.sign(root.key, SHA384()), key)


def make_leaf(intermediate: Holder, *, ends: datetime = _ENDS) -> Holder:
    """Make the leaf that signs what the store sends."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(LEAF_NAME, _name_of(intermediate), key, intermediate.key.public_key(), ends)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(_marker(LEAF_MARKER), critical=False)
    )
    return Holder(builder.sign(intermediate.key, SHA384()), key)


def make_chain(root: Holder | None = None) -> Chain:
    """Make a complete chain, with a root of its own unless one is given."""
    root = root or make_root()
    intermediate = make_intermediate(root)
    return Chain(make_leaf(intermediate), (intermediate.certificate, root.certificate))


def sign_es256(header: Mapping[str, Any], payload: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> str:
    """Sign a compact JWS the way the store does."""
    signing_input = f"{segment(header)}.{segment(payload)}"
    r, s = decode_dss_signature(key.sign(signing_input.encode(), ec.ECDSA(SHA256())))
    return f"{signing_input}.{_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def sign_as(chain: Chain, payload: Mapping[str, Any]) -> str:
    """Sign with the chain's leaf, and send the chain along."""
    return sign_es256({"alg": "ES256", "x5c": chain.x5c}, payload, chain.leaf.key)


def sign_not_at_all(chain: Chain, payload: Mapping[str, Any]) -> str:
    """Claim that no signature is needed (`alg: none`)."""
    return f"{segment({'alg': 'none', 'x5c': chain.x5c})}.{segment(payload)}."


def sign_with_public_key(chain: Chain, payload: Mapping[str, Any]) -> str:
    """Use the public key, which everybody has, as an HMAC secret (`alg: HS256`)."""
    signing_input = f"{segment({'alg': 'HS256', 'x5c': chain.x5c})}.{segment(payload)}"
    secret = chain.leaf.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{signing_input}.{_base64url(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"


def open_unverified(token: str) -> dict[str, Any]:
    """Read the payload of a JWS of our own making."""
    segment = token.split(".")[1]
    opened: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return opened


def _builder(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePublicKey,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINS)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, path_length: int | None) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    return builder.add_extension(constraints, critical=True).add_extension(
        _usage(key_cert_sign=True, crl_sign=True), critical=True
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _marker(oid: x509.ObjectIdentifier) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(oid, _ASN1_NULL)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Clawback demo"),
        ]
    )


def _name_of(holder: Holder) -> str:
    value = holder.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return value if isinstance(value, str) else value.decode()


def segment(value: Mapping[str, Any]) -> str:
    """Write one part of a compact JWS."""
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
