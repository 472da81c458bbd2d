"""Post one event to one subscriber, signed with the secrets of this moment."""

from typing import Protocol

from handlers import outgoing
from worker.keyring import Addressee, Keyring
from worker.post import Answer, Poster
from worker.sealing import Sealed
from worker.tracing import TRACEPARENT


class Receiver(Addressee, Protocol):
    """Whoever is told, as far as it matters to a POST: a `Claim`, or a row of `subscribers`."""

    @property
    def allow_private(self) -> bool:
        """Tell whether it may be at a private address."""
        ...

    @property
    def timeout_seconds(self) -> float:
        """Tell how long it may take."""
        ...


async def post_signed(
    poster: Poster,
    keyring: Keyring,
    whom: Receiver,
    *,
    event_id: str,
    document: str,
    now: float,
    traceparent: str | None = None,
) -> Answer:
    """Make one attempt. Nothing is ever sent unsigned: without a secret it has failed before it began.

    Args:
        poster: has the connections.
        keyring: finds the secrets.
        whom: is told.
        event_id: the `webhook-id`.
        document: the event.
        now: Unix seconds.
        traceparent: the trace that goes on where this arrives; None: none does.
    """
    try:
        keys = outgoing.keys(keyring.secrets(whom, now))
    except Sealed as error:
        return Answer(error=error.code)
    if not keys:
        return Answer(error="no_secret")
    body = outgoing.body(document)
    headers = outgoing.headers(event_id, body, keys=keys, now=now)
    if traceparent is not None:
        headers = {**headers, TRACEPARENT: traceparent}
    return await poster.post(
        whom.url, body, headers, allow_private=whom.allow_private, timeout_seconds=whom.timeout_seconds
    )
