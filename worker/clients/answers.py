"""Read what a platform's API answered: a fact, that there is no such thing, or why it says nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote

from yarl import URL

from handlers import strict_json
from handlers.backoff import parse_retry_after
from handlers.errors import Malformed
from schemas.meaning import Lookup, Missing
from worker.fetch import Fetched, FetchFailed

Outcome = Literal["answered", "missing", "refused", "rejected", "throttled", "failed", "paused"]
"""`refused`: our credentials are not accepted. `rejected`: the question is not. The last three may pass."""

_OUTCOMES: Final[Mapping[int, Outcome]] = MappingProxyType(
    {401: "refused", 403: "refused", 404: "missing", 408: "failed", 410: "missing", 429: "throttled"}
)
"""What a status means wherever a platform says nothing else of it (RFC 9110, section 15.5; RFC 6585 for 429)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one look-up.

    Attributes:
        fact: a JSON object, or `Missing`; None: nothing was learned.
        reason: a snake_case name, safe to log.
        retry_after_seconds: what the platform asked for.
    """

    outcome: Outcome
    fact: Any = field(default=None, repr=False)
    status: int | None = None
    reason: str | None = None
    retry_after_seconds: float | None = None


class Client(Protocol):
    """One platform's API with one app's credentials."""

    async def ask(self, lookup: Lookup) -> Answer:
        """Ask once. Raises `FetchFailed`."""
        ...


class Fetches(Protocol):
    """Fetches within bounds: `HttpFetch`."""

    async def __call__(
        self, url: str | URL, *, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> Fetched:
        """Fetch one document. Raises `FetchFailed`."""
        ...


def judge(fetched: Fetched, *, now: float, but: Mapping[int, Outcome] = MappingProxyType({})) -> Answer:
    """Tell what an HTTP answer amounts to.

    Args:
        fetched: the answer.
        now: Unix seconds, for a Retry-After that is a date.
        but: statuses that mean something else on this platform.
    """
    status = fetched.status
    if status == 200:
        return _read(fetched)
    otherwise: Outcome = "failed" if status >= 500 else "rejected"
    outcome = but.get(status) or _OUTCOMES.get(status, otherwise)
    return Answer(
        outcome,
        fact=Missing(status) if outcome == "missing" else None,
        status=status,
        reason=f"status_{status}",
        retry_after_seconds=parse_retry_after(fetched.retry_after, now=now),
    )


def path_part(text: str) -> str:
    """Write a text as one segment of a path, whatever is in it.

    Raises:
        FetchFailed: it is one of those segments that name another place however they are written (RFC 3986, 6.2.2.3).
    """
    if text in ("", ".", ".."):
        raise FetchFailed("key_not_allowed")
    return quote(text, safe="")


def address(base: str, path: str) -> URL:
    """Join a base address of the configuration and a path that is encoded already."""
    return URL(base.rstrip("/") + path, encoded=True)


def _read(fetched: Fetched) -> Answer:
    """Read the one thing that every API here answers with: an object."""
    try:
        return Answer("answered", strict_json.parse_object(fetched.body), fetched.status)
    except Malformed as refused:
        return Answer("failed", status=fetched.status, reason=refused.reason)
