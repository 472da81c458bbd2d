"""An answer in one piece is the one that aiohttp would make, byte for byte but for its date.

Real: HTTP over sockets, the server, the store. Doubles: as in `service.py`.
"""

import asyncio
from email.utils import parsedate_to_datetime

from tests.web import seed
from tests.web.service import Service
from tests.web.test_ingest import GOOD, STRIPE, signed

STAYS = b"HTTP/1.1 200 OK"


def _post(body: bytes, version: str = "1.1", *more: str) -> bytes:
    """Write a notification as it goes over the wire."""
    head = [f"POST {STRIPE} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, *(f"{name}: {value}" for name, value in signed(body)), "", ""]).encode() + body


async def _answer(reader: asyncio.StreamReader) -> tuple[set[bytes], bytes]:
    """Read an answer: the lines of its head without its date, which is one, and its body."""
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
    (date,) = [line for line in lines if line.startswith(b"Date: ")]
    assert seed.NOW <= parsedate_to_datetime(date[6:].decode()).timestamp()
    (length,) = [line for line in lines if line.startswith(b"Content-Length: ")]
    return set(lines) - {date, length}, await reader.readexactly(int(length[16:]))


async def _told(service: Service, said: bytes) -> tuple[set[bytes], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(said)
    async with asyncio.timeout(10):
        answer = await _answer(reader)
    writer.close()
    return answer


async def test_it_says_what_aiohttp_would(service: Service) -> None:
    """The head of a 200 is the same, whoever makes it, but for the word on how long the connection stays."""
    whole, body = await _told(service, _post(GOOD))
    parts, again = await _told(service, _post(GOOD, "1.1", "Connection: close"))
    old, _ = await _told(service, _post(GOOD, "1.0", "Connection: keep-alive"))

    assert body.replace(b"false", b"true") == again
    assert whole == parts - {b"Connection: close"}
    assert whole - {STAYS} == old - {b"HTTP/1.0 200 OK", b"Connection: keep-alive"}
    assert STAYS in whole


async def test_the_connection_stays_for_the_next(service: Service) -> None:
    """What follows on a connection, even before the first is answered, is answered after it, in order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(_post(GOOD) + _post(b"{}", "1.1", "Content-Encoding: gzip") + _post(GOOD))
    async with asyncio.timeout(10):
        answers = [await _answer(reader) for _ in range(2)]
    writer.close()

    assert [b"200", b"400"] == [next(line.split()[1] for line in lines if b"HTTP" in line) for lines, _ in answers]


async def test_a_client_that_hung_up_is_stored_all_the_same(service: Service) -> None:
    """An answer that nobody reads breaks nothing, and the next connection is served."""
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(_post(GOOD))
    await writer.drain()
    writer.transport.abort()
    _, body = await _told(service, _post(GOOD))

    assert body.endswith(b"}")
