"""Make one POST to a subscriber, within bounds that the subscriber cannot move, and say in one value how it went.

TLS is verified, no redirect is followed, no proxy or cookie is used, nothing is decompressed, and of the answer only
its status and its beginning are read. Whatever goes wrong ends as a name, never as an exception.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import aiohttp

from worker.addresses import AddressRefused, Resolver, make_connector

EXCERPT_CHARACTERS_MAX = 2048
EXCERPT_SECONDS_MAX = 2.0
"""The status is the answer. Its text is for people, and not worth waiting for."""

# From the most to the least particular: the first that fits names the error.
_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "timeout"),
    (AddressRefused, "address_refused"),
    (aiohttp.ClientConnectorDNSError, "name_not_resolved"),
    (aiohttp.ClientSSLError, "tls_failed"),
    (aiohttp.ClientConnectorError, "not_connected"),
    (aiohttp.InvalidURL, "invalid_url"),
    (aiohttp.NonHttpUrlClientError, "invalid_url"),
    (aiohttp.ClientConnectionError, "disconnected"),
    (aiohttp.ClientError, "not_http"),
    (OSError, "not_connected"),
)

# What OpenSSL found wrong (x509_vfy.h). Of the rest, as of what nobody vouches for, no more is said than that.
_CERTIFICATE_ERRORS = {
    10: "certificate_expired",
    62: "certificate_of_another_host",
    64: "certificate_of_another_host",  # of another IP address
}


@dataclass(frozen=True, slots=True)
class Answer:
    """How one POST went.

    Attributes:
        status_code: None: there was no answer.
        error: a snake_case name of what went wrong; None for 2xx.
        response: the beginning of the answer's body.
        retry_after: the header, as it came.
    """

    duration_ms: float = 0.0
    status_code: int | None = None
    error: str | None = None
    response: str | None = field(default=None, repr=False)
    retry_after: str | None = None


class Poster:
    """Keep the connections of one process, in two pools: what may go to private addresses never shares one.

    It belongs to the event loop that first posts with it.
    """

    def __init__(self) -> None:
        self._resolver = Resolver()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool, timeout_seconds: float
    ) -> Answer:
        """Post `body`, and wait for the answer no longer than `timeout_seconds` in all."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            session = self._session(allow_private=allow_private)
            answered = await _exchange(session, url, body, headers, timeout_seconds)
        except (aiohttp.ClientError, OSError) as error:
            answered = {"error": _name(error)}
        return Answer(duration_ms=round((loop.time() - started) * 1000, 3), **answered)

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()
        await self._resolver.close()

    def _session(self, *, allow_private: bool) -> aiohttp.ClientSession:
        if allow_private not in self._sessions:
            self._sessions[allow_private] = aiohttp.ClientSession(
                connector=make_connector(allow_private=allow_private, resolver=self._resolver),
                headers={"User-Agent": f"Clawback/{_version()}", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._sessions[allow_private]


async def _exchange(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float
) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with session.post(url, data=body, headers=headers, allow_redirects=False, timeout=timeout) as response:
        return {
            "status_code": response.status,
            "error": _name_status(response.status),
            "retry_after": response.headers.get("Retry-After"),
            "response": await _excerpt(response),
        }


async def _excerpt(response: aiohttp.ClientResponse) -> str:
    """Read the beginning of the body as text that every store can hold; drop a connection that has more to say."""
    read = bytearray()
    missing = bytes_max = 4 * EXCERPT_CHARACTERS_MAX  # a character of UTF-8 has up to four bytes
    with suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(EXCERPT_SECONDS_MAX):
            while missing > 0 and (chunk := await response.content.read(missing)):
                read += chunk
                missing = bytes_max - len(read)
    if not response.content.at_eof():
        response.close()
    return read.decode(errors="replace").replace("\x00", "")[:EXCERPT_CHARACTERS_MAX]


def _name_status(status_code: int) -> str | None:
    if 200 <= status_code < 300:
        return None
    return "redirected" if 300 <= status_code < 400 else "not_2xx"


def _name(error: aiohttp.ClientError | OSError) -> str:
    """Name what went wrong; the exception's own words may hold addresses and stay out of the record."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = error.certificate_error
        code = reason.verify_code if isinstance(reason, ssl.SSLCertVerificationError) else 0
        return _CERTIFICATE_ERRORS.get(code, "certificate_refused")
    causes = (error, getattr(error, "os_error", None))
    return next(name for kind, name in _ERRORS if any(isinstance(cause, kind) for cause in causes))


def _version() -> str:
    try:
        return metadata.version("clawback")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
