"""A load generator that costs far less than what it measures: HTTP/1.1 over uvloop protocols, requests made before.

Connections are kept alive, and each has one request under way: the next goes out when the answer to the last is there
(a closed loop). Every request is one `bytes`, head and body, written once. Only answers of 200 count, and what hears
503 comes again, as platforms do.
"""

import asyncio
import gc
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvloop

from tests.benchmarks.figures import percentile

CONNECTIONS = 128
"""With half as many, who waits for the disk is most of them, and a server rests for a third of the time."""
SECONDS_MAX = 120.0
END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclass
class Shooting:
    """What came of one pile of requests.

    Attributes:
        seconds: from the first request to the last answer.
        cpu_seconds: of this generator.
        refused: answers that were neither 200 nor 503, and connections that broke.
        repeated: answers of 503: a burst at an idle door is let in as far as it knows that it can be stored in time.
    """

    accepted: int = 0
    refused: int = 0
    repeated: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    waits: "array[float]" = field(default_factory=lambda: array("d"))

    @property
    def rate(self) -> float:
        """Count what was accepted in a second."""
        return self.accepted / self.seconds if self.seconds else 0.0

    def wait_ms(self, share: float) -> float:
        """Give the time within which that share of the accepted got their answer."""
        return 1000 * percentile(self.waits, share) if self.waits else 0.0


def request(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Write one POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def ends_at(data: bytes) -> int:
    """Tell where the first message ends, which may not be there in full; 0: not even its head is."""
    head = data.find(END_OF_HEAD)
    if head < 0:
        return 0
    at = data[:head].lower().find(LENGTH)
    if at < 0:
        raise ValueError(f"a message without its length: {data[:head]!r}")
    stop = data.find(b"\r\n", at)
    return head + len(END_OF_HEAD) + int(data[at + len(LENGTH) : stop])


class _Client(asyncio.Protocol):
    """One connection, which takes requests from a pile that all share."""

    def __init__(self, pile: Iterator[bytes], result: Shooting, closed: "asyncio.Semaphore") -> None:
        self._pile, self._result, self._closed = pile, result, closed
        self._held = b""
        self._sent = 0.0
        self._under_way: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]  # a TCP transport is one

    def send(self) -> None:
        """Send the next request; with none left, hang up."""
        self._under_way = next(self._pile, None)
        if self._under_way is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(self._under_way)

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        end = ends_at(data)
        if not 0 < end <= len(data):
            self._held = data
            return
        self._held = data[end:]
        status = data[9:12]
        if status == b"503" and self._under_way is not None:
            self._result.repeated += 1
            self._transport.write(self._under_way)
            return
        if status == b"200":
            self._result.waits.append(time.perf_counter() - self._sent)
            self._result.accepted += 1
        else:
            self._result.refused += 1
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._result.refused += self._under_way is not None
        self._closed.release()


async def _shoot(port: int, pile: Sequence[bytes], connections: int) -> Shooting:
    loop = asyncio.get_running_loop()
    result, left, closed = Shooting(), iter(pile), asyncio.Semaphore(0)
    clients = [
        (await loop.create_connection(lambda: _Client(left, result, closed), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    began, cpu = time.perf_counter(), time.process_time()
    for client in clients:
        client.send()
    async with asyncio.timeout(SECONDS_MAX):
        for _ in clients:
            await closed.acquire()
    result.seconds, result.cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    return result


def shoot(port: int, pile: Sequence[bytes], *, connections: int = CONNECTIONS) -> Shooting:
    """POST every request of a pile once, as fast as the answers come."""
    with undisturbed(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_shoot(port, pile, min(connections, len(pile))))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Python's collector from looking through piles of requests meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
