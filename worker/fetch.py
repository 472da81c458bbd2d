"""Fetch one small document over HTTPS, within bounds that a hostile server cannot move.

No redirects, no proxy from the environment, no cookies, no compression, a deadline for all of it and a cap on
what is read. Plain HTTP only to this machine, for tests and demos.
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

__all__ = ["Fetch", "FetchFailed", "Fetched", "HttpFetch", "may_fetch"]

TIMEOUT_SECONDS = 5.0
BODY_BYTES_MAX = 256 * 1024
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,9})(?:$|[,\s])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a server answered.

    Attributes:
        max_age_seconds: how long it may still be believed, by `Cache-Control` less `Age`; None: it does not say.
        retry_after: the header, as it came.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    max_age_seconds: int | None = None
    retry_after: str | None = None


class FetchFailed(Exception):
    """No answer within the bounds. `reason` is a snake_case name, safe to log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Fetch = Callable[[str], Awaitable[Fetched]]
"""`await fetch(url)`. Raises `FetchFailed`."""


def may_fetch(url: str | URL) -> bool:
    """Allow HTTPS, and HTTP on this machine; nothing with a user name in it."""
    try:
        parsed = URL(url)
        host, port = parsed.host, parsed.port
    except ValueError:
        return False
    if not host or port == 0 or parsed.user is not None or parsed.password is not None:
        return False
    return parsed.scheme == "https" or (parsed.scheme == "http" and _is_this_machine(host))


class HttpFetch:
    """Fetch for real. Open it with `async with`, once per process.

    Args:
        timeout_seconds: for one fetch, from name resolution to the last byte.
        body_bytes_max: an answer longer than this fails.
    """

    def __init__(self, *, timeout_seconds: float = TIMEOUT_SECONDS, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._timeout_seconds = timeout_seconds
        self._body_bytes_max = body_bytes_max
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
            headers={"Accept-Encoding": "identity", "User-Agent": "clawback"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:  # pragma: no branch - `async with` always opened it
            await session.close()

    async def __call__(
        self, url: str | URL, *, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> Fetched:
        """Fetch `url`, or raise `FetchFailed`. Any status is an answer, a redirect's too.

        Args:
            url: a `URL` is sent as it is written, whatever is percent-encoded in it.
            headers: what to send beside our own.
            form: post these fields instead of asking for what is there.
        """
        if self._session is None:
            raise FetchFailed("not_open")
        if not may_fetch(url):
            raise FetchFailed("address_not_allowed")
        try:
            verb = "GET" if form is None else "POST"
            async with self._session.request(verb, url, headers=headers, data=form, allow_redirects=False) as response:
                body = await self._read(response)
                return Fetched(response.status, body, _max_age_seconds(response), response.headers.get("Retry-After"))
        except TimeoutError:
            raise FetchFailed("timeout") from None
        except (aiohttp.ClientError, OSError):
            raise FetchFailed("unreachable") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """Read up to the cap, whatever the server says of its length."""
        body = bytearray()
        async for chunk in response.content.iter_chunked(16 * 1024):
            body += chunk
            if len(body) > self._body_bytes_max:
                raise FetchFailed("too_large")
        return bytes(body)


def _max_age_seconds(response: aiohttp.ClientResponse) -> int | None:
    """Read how long an answer stays fresh (RFC 9111, sections 5.2.2.1 and 5.1)."""
    found = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
    if found is None:
        return None
    age = response.headers.get("Age", "0")
    return max(0, int(found[1]) - (int(age) if re.fullmatch("[0-9]{1,9}", age) else 0))


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
