"""Read a request's body: its raw bytes, no more than 1 MiB of them, in a bounded time.

A compressed body is refused instead of unpacked: no platform sends one, and a few kilobytes can unpack to gigabytes.
"""

import asyncio
from typing import TypeVar

from aiohttp import StreamReader, web

from worker.web.errors import Refusal, Refused, try_again

BODY_BYTES_MAX = 1024 * 1024

T = TypeVar("T", bytes, bytearray)


async def read(request: web.BaseRequest, *, timeout_seconds: float, optional: bool = False) -> bytes:
    """Read the whole body.

    Raises:
        Refused: 400 empty, compressed or cut short; 413 too large; 503 too slow, since that may be the network's
            fault and some platforms never send a 4xx again.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(Refusal(400, "compressed_body", "Content-Encoding is not supported."))
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise _too_large()
    try:
        # Platforms send body and head in one packet: what is here as a whole is waited for by nobody, so nobody
        # needs to be told how long he may wait.
        if request.content.is_eof():
            body = _bounded(request.content.read_nowait())
        else:
            async with asyncio.timeout(timeout_seconds):
                body = await _collect(request.content)
    except TimeoutError:
        raise Refused(try_again("slow_body", "The body took too long to arrive.")) from None
    except (web.RequestPayloadError, ConnectionError):
        raise Refused(Refusal(400, "broken_body", "The body ended early or is not well framed.")) from None
    if not body and not optional:
        raise Refused(Refusal(400, "empty_body", "There is no body."))
    return body


async def _collect(content: StreamReader) -> bytes:
    """Read until the end, or until it is clear that there is too much, whatever Content-Length says."""
    collected = bytearray()
    while chunk := await content.readany():
        collected += chunk
        _bounded(collected)
    return bytes(collected)


def _bounded(body: T) -> T:
    if len(body) > BODY_BYTES_MAX:
        raise _too_large()
    return body


def _too_large() -> Refused:
    return Refused(Refusal(413, "body_too_large", "The body is larger than 1 MiB."))
