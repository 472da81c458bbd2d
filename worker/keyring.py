"""Find what a subscriber's deliveries are signed with: in this process's configuration, or sealed in the store.

A subscriber of the configuration is never asked for in the store, so its secrets are in one place only. One of the API
has its secrets in `subscribers.secrets`: each sealed by itself, so that replacing one needs none of the others.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Protocol

from config.settings import Subscriber
from worker.sealing import Sealer

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
