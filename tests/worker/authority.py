"""A certificate authority of our own, and servers with certificates that it signed."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))
ELSEWHERE = x509.DNSName("elsewhere.example")
_PLAIN = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True)
class Authority:
    """Whoever trusts the file `trusted` trusts every certificate of `vouch`, for the host that is in it.

    Attributes:
        home: where files may be written.
    """

    home: Path
    key: EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def found(cls, home: Path) -> "Authority":
        """Make one."""
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("An authority of a test")
        begun = _valid(x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number()))
        constrained = begun.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        sign = x509.KeyUsage(*(use in {5, 6} for use in range(9)))  # keyCertSign and cRLSign
        return cls(home, key, constrained.add_extension(sign, critical=True).sign(key, hashes.SHA256()))

    @property
    def trusted(self) -> Path:
        """Write the file that an operator would trust."""
        file = self.home / "authority.pem"
        file.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return file

    def vouch(self, host: x509.GeneralName, *, days: int = 1) -> ssl.SSLContext:
        """Make a server's context with a certificate for a host, valid until so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = x509.CertificateBuilder(
            self.certificate.subject, _name("A server of a test"), key.public_key(), x509.random_serial_number()
        )
        said = _valid(named, days=days).add_extension(x509.SubjectAlternativeName([host]), critical=False)
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        made = said.add_extension(ours, critical=False).sign(self.key, hashes.SHA256())
        file = self.home / f"{made.serial_number}.pem"
        file.write_bytes(key.private_bytes(*_PLAIN) + made.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _valid(builder: x509.CertificateBuilder, days: int = 1) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return builder.not_valid_before(now - timedelta(days=9)).not_valid_after(now + timedelta(days=days))
