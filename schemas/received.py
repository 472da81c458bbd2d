"""What arrives at the door, and what verifying it can answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from schemas.base import Environment

Key = x509.Certificate | RSAPublicKey | EllipticCurvePublicKey
Keys = Mapping[str, Key]
"""Name → key: a root's file name, a JWKS `kid`, a SigningCertURL. A snapshot; it never changes while it is read."""


@dataclass(frozen=True, slots=True)
class Received:
    """One POST as it came: the raw bytes, and the headers with lower-case names."""

    app: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """The one answer of `verify` that is neither yes nor no: fetch this key, then ask again.

    Attributes:
        source: where the key is: an address or a path that the *configuration* or a strict rule vouches for.
        name: which key of that source: a `kid`, or the address itself.
        format: how the source is written.
    """

    source: str
    name: str
    format: str
    """`jwks` or `pem`"""


@dataclass(frozen=True, slots=True)
class Identity:
    """How a verified notification calls itself.

    Attributes:
        id: the platform's own id, stable over its retries.
        scope: what the id is unique within, where it is not the whole platform (a Pub/Sub subscription).
        type: the platform's word for what happened.
        subtype: its second word, or an empty string.
        occurred_at_ms: when the platform says it happened, in Unix milliseconds.
        environment: None where the platform does not say (Google Play).
    """

    id: str
    type: str
    occurred_at_ms: int
    environment: Environment | None
    subtype: str = ""
    scope: str = ""
