"""Answer 200 in one piece: of what platforms are told by the thousand, the head differs by its length and its date.

aiohttp makes a head of headers that may be anything, which takes three times as long. What it would say is said here
for HTTP/1.1 and a connection that stays; for all else it knows what to add.
"""

from email.utils import formatdate
from functools import lru_cache
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: clawback\r\nX-Content-Type-Options: nosniff\r\n"
    b"Content-Length: %d\r\nDate: %b\r\n\r\n%b"
)


class Whole(web.StreamResponse):
    """JSON, already dressed.

    Args:
        body: the JSON.
        at_seconds: Unix seconds, for its date.
    """

    def __init__(self, body: bytes, at_seconds: float) -> None:
        super().__init__()
        self._answer = _ANSWER % (len(body), _date(int(at_seconds)), body)
        self._to: AbstractStreamWriter | None = None

    @property
    def keep_alive(self) -> bool:
        """Say that the connection stays: it is not used for any other."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Note to whom it goes."""
        self._to = request.writer
        return self._to

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - it has all of its body
        """Write all of it, and wait while its reader is slower than we are."""
        if self._to is not None:
            await self._to.write(self._answer)
            await self._to.drain()


def may_be_whole(request: web.BaseRequest) -> bool:
    """Tell whether a request is one that `Whole` can answer."""
    return request.version == HttpVersion11 and bool(request.keep_alive)


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """Write a moment as HTTP does: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7."""
    return formatdate(second, usegmt=True).encode()
