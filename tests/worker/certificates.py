"""Certificates to trust in tests, made once each."""

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = 1_794_000_000


@cache
def certificate(name="sns.amazonaws.com", kind="rsa"):
    """Make a self-signed certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048) if kind == "rsa" else None
    signer = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime.fromtimestamp(NOW, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(signer.public_key())
        .serial_number(4711)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=365))
        .sign(signer, SHA256())
    )


def pem(*certificates):
    """Write certificates one after the other."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
