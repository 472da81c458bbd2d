"""A platform is four functions, held in one frozen record, in the order in which a notification meets them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.meaning import Facts, Lookup, Normalized
from schemas.received import Identity, Keys, KeyWanted, Received


class Verify(Protocol):
    """Prove that the platform sent this to this app.

    Returns the payload, or the key that is missing to decide. Raises `Malformed`, `Unauthentic`, `WrongApp`, `TooSoon`.
    `settings` is the platform's section of the app's configuration, `now` a clock reading in Unix seconds.
    """

    def __call__(self, received: Received, *, settings: Any, keys: Keys, now: float) -> Any | KeyWanted:
        """Verify one POST."""
        ...


class Read(Protocol):
    """Parse the bytes that `verify` accepted, the same way as it did, without proving anything again.

    Raises `Malformed`. `headers` carry what an unwrapped push keeps outside its body.
    """

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> Any:
        """Read one body."""
        ...


class Normalize(Protocol):
    """Say what a payload means, given what look-ups answered. Total: it returns, or raises `Malformed`."""

    def __call__(self, payload: Any, facts: Facts, *, settings: Any) -> Normalized:
        """Normalize one payload."""
        ...


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform. Nothing else of its module is public."""

    name: str
    verify: Verify
    identify: Callable[[Any], Identity]
    needs: Callable[[Any], tuple[Lookup, ...]]
    normalize: Normalize
    read: Read
    tells_environment: bool = True
    """False: notifications do not say whether they are tests, so both environments share one space of ids."""
    keeps_headers: tuple[str, ...] = ()
    """The headers that `read` needs beside the body. No others are stored: mostly, nothing vouches for them."""
    rereads: Read | None = None
    """A cheaper `read` of what `verify` accepted before (`handlers/accepted.py`). None: `read` is cheap enough."""

    def recall(self, body: bytes, headers: Mapping[str, str]) -> Any:
        """Read what the inbox holds. Nothing gets there but what `verify` accepted, so it says what it said then."""
        return (self.rereads or self.read)(body, headers)


def nothing_needed(_payload: Any) -> tuple[Lookup, ...]:
    """Answer for platforms whose notifications say everything themselves."""
    return ()
