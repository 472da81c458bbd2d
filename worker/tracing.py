"""Name what stations tell of each notification's way as one OpenTelemetry trace; where nobody asked, that is nothing.

A trace goes from the POST of a platform to the answer of each subscriber. Its context (W3C `traceparent`) is kept with
the notification in the inbox and not in a message: hints get lost, name many notifications at once, and whoever finds
one by sweeping goes on with the same trace.

`worker/collector.py` opens what the configuration asks for, and `worker/spans.py` tells it.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

TRACEPARENT: Final = "traceparent"
"""The header of HTTP, and the name under which the inbox keeps it (https://www.w3.org/TR/trace-context/)."""
_WELL_FORMED: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Processed(NamedTuple):
    """What became of one notification of a set: as much of it as a trace tells.

    Attributes:
        began: Unix seconds, when a worker took it.
        traceparent: where its trace goes on; None: none was told where it was accepted.
        error: what of our own code it broke, by its name; None: nothing.
        events: the types of what subscribers are told of it.
    """

    id: str
    app: str
    platform: str
    type: str
    attempt: int
    began: float
    traceparent: str | None
    status: str
    reason: str | None
    error: str | None
    events: Sequence[str]


class Traces(Protocol):
    """What stations need of tracing. Whoever holds more than one notification asks `on` once for all of them."""

    @property
    def on(self) -> bool:
        """Tell whether anybody looks at traces."""
        ...

    def processed(self, done: Sequence[Processed], now: float) -> None:
        """Tell of a set of notifications that was committed just now, in Unix seconds."""
        ...

    def telling(self, post: F) -> F:
        """Give what posts one event to a subscriber, as `worker/signing.py: post_signed` does, and tells of it."""
        ...

    def close(self) -> None:
        """Send what is not sent yet, within a few seconds."""
        ...


class NoTraces:
    """Tell nobody anything."""

    on: Final = False

    def processed(self, done: Sequence[Processed], now: float) -> None:
        """Tell nothing."""

    def telling(self, post: F) -> F:
        """Give it as it is."""
        return post

    def close(self) -> None:
        """Send nothing."""


OFF: Final = NoTraces()


def well_formed(said: str | None) -> str | None:
    """Give a `traceparent` that is one; None: whoever sent it is not followed, and a trace of our own begins.

    What is longer comes from a version that there is not yet, and is not stored for strangers.
    """
    return said if said is not None and _WELL_FORMED.fullmatch(said) else None
