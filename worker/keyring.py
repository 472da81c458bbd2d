"""Find what a subscriber's deliveries are signed with: in this process's configuration, or sealed in the store.

A subscriber of the configuration is never asked for in the store, so its secrets are in one place only. One of the API
has its secrets in `subscribers.secrets`: each sealed by itself, so that replacing one needs none of the others.
"""

import base64
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.settings import Subscriber
from handlers.outgoing import public_key
from worker.sealing import Sealed, Sealer

SECRET_BYTES = 32
SECRETS_MAX = 8
"""So many sign at once. Each makes the header longer, and nobody rotates so often."""
NOTHING_KEPT = "[]"
"""`subscribers.secrets` of a subscriber of the configuration."""


class Addressee(Protocol):
    """Whoever is told, as far as it matters to the signature: a `Claim`, or a row of `subscribers`."""

    @property
    def app(self) -> str:
        """Name the app."""
        ...

    @property
    def url(self) -> str:
        """Give the address."""
        ...

    @property
    def origin(self) -> str:
        """Tell who made it: `config` or `api`."""
        ...

    @property
    def secrets(self) -> str:
        """Give what the store keeps."""
        ...


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """One secret as it is stored.

    Attributes:
        sealed: what `Sealer.open` makes the secret of.
        ends_at_ms: from when on it signs no more; None: it was not replaced.
        public_key: `whpk_…` of a secret that has one.
    """

    sealed: str
    ends_at_ms: int | None = None
    public_key: str | None = None

    def signs(self, now: float) -> bool:
        """Tell whether it is still to be used."""
        return self.ends_at_ms is None or now * 1000 < self.ends_at_ms


class Keyring:
    """The secrets of everybody whom this process may tell.

    Args:
        configured: the subscribers of the configuration.
        sealer: opens the secrets of the others.
    """

    def __init__(self, configured: Iterable[Subscriber], sealer: Sealer) -> None:
        self._configured = {(one.app, one.url): one.secrets for one in configured}
        self._sealer = sealer

    def knows(self, whose: Addressee) -> bool:
        """Tell whether its secrets are where this process can look for them.

        While a new configuration is rolled out, some processes have a subscriber in theirs and some do not yet.
        """
        return whose.origin != "config" or (whose.app, whose.url) in self._configured

    def secrets(self, whose: Addressee, now: float) -> tuple[str, ...]:
        """Give the secrets that sign now, the newest first; none: this process does not know any.

        Raises:
            Sealed: they are in the store, and a key is missing.
        """
        if whose.origin == "config":
            return self._configured.get((whose.app, whose.url), ())
        return tuple(self._sealer.open(one.sealed) for one in read(whose.secrets) if one.signs(now))


def read(column: str) -> tuple[KeptSecret, ...]:
    """Read `subscribers.secrets`; what an earlier version left there in clear is nothing."""
    return tuple(KeptSecret(**one) for one in json.loads(column) if isinstance(one, dict))


def write(kept: Iterable[KeptSecret]) -> str:
    """Write `subscribers.secrets`."""
    return json.dumps([asdict(one) for one in kept])


def configured(subscribers: Iterable[Subscriber], app: str, url: str) -> tuple[KeptSecret, ...]:
    """Describe the secrets of a subscriber of the configuration, which nobody keeps."""
    own = (one.secrets for one in subscribers if (one.app, one.url) == (app, url))
    return tuple(KeptSecret("", public_key=public_key(secret)) for secret in next(own, ()))


def make_secret(signature: str) -> str:
    """Make a secret for `v1`, or a private key with its public half for `v1a`, as Standard Webhooks writes them."""
    if signature == "v1":
        return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    key = Ed25519PrivateKey.generate()
    return "whsk_" + base64.b64encode(key.private_bytes_raw() + key.public_key().public_bytes_raw()).decode()


def keep(secret: str, sealer: Sealer) -> KeptSecret:
    """Make of a secret what may be stored.

    Raises:
        NoEncryptionKey: there is nothing to seal it with.
    """
    return KeptSecret(sealer.seal(secret), public_key=public_key(secret))


def rotate(kept: Sequence[KeptSecret], new: KeptSecret, *, ends_at_ms: int, now: float) -> tuple[KeptSecret, ...]:
    """Put a new secret first; those before it end at a moment, or earlier as was said before. What ended is dropped."""
    before = (one for one in kept if one.signs(now))
    ending = (replace(one, ends_at_ms=min(ends_at_ms, one.ends_at_ms or ends_at_ms)) for one in before)
    return (new, *(one for one in ending if one.signs(now)))


def sealed_anew(column: str, sealer: Sealer) -> str:
    """Seal with the first key what another one sealed; what no key opens stays as it is."""
    return write(_sealed_anew(one, sealer) for one in read(column))


def _sealed_anew(one: KeptSecret, sealer: Sealer) -> KeptSecret:
    if not sealer or sealer.is_current(one.sealed):
        return one
    try:
        return replace(one, sealed=sealer.seal(sealer.open(one.sealed)))
    except Sealed:
        return one
