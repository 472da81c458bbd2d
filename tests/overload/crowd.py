"""A crowd of platforms: so many POSTs a second, whatever is answered (an open loop), over connections that are kept.

What is refused is sent again later, as platforms do. A POST for which no connection is free, since all wait for their
answers, is not sent and counted: what a platform holds back costs a service nothing.
"""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.benchmarks.figures import percentile
from tests.benchmarks.load import ends_at

TICK_SECONDS = 0.01
ANSWER_SECONDS_MAX = 40.0


@dataclass
class Heard:
    """What one platform heard.

    Attributes:
        ids: our ids of what was answered 200.
        waits: how long each of them took.
        statuses: how often each status came; 0: the connection broke.
        rude: answers of 503 that did not say when to come again.
        held_back: what could not be sent, as every connection waited.
    """

    ids: set[str] = field(default_factory=set)
    waits: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    rude: int = 0
    held_back: int = 0

    @property
    def sent(self) -> int:
        """Count what was answered, or broke."""
        return self.statuses.total()

    def wait_seconds(self, share: float) -> float:
        """Give the time within which that share of what was taken had its answer."""
        return percentile(self.waits, share) if self.waits else 0.0


class _Line(asyncio.Protocol):
    """One connection, which says when it is free again."""

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd
        self._held = b""
        self._sent_at = 0.0
        self._request: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]  # a TCP transport is one

    def send(self, request: bytes) -> None:
        """Send one request."""
        self._request, self._sent_at = request, time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = ends_at(self._held)
        if not 0 < end <= len(self._held):
            return
        answer, self._held = self._held[:end], self._held[end:]
        request, self._request = self._request, None
        assert request is not None
        self._crowd.hear(request, answer, time.perf_counter() - self._sent_at)
        self._crowd.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._request is not None:
            self._crowd.hear(self._request, b"", 0.0)
        with suppress(ValueError):
            self._crowd.free.remove(self)

    def hang_up(self) -> None:
        """Close it."""
        self._transport.close()


class Crowd:
    """Those who send for one platform.

    Args:
        port: of the endpoint.
        requests: as they go over the wire; one that is refused takes its place behind the others again.
    """

    def __init__(self, port: int, requests: Iterable[bytes]) -> None:
        self.heard = Heard()
        self.free: deque[_Line] = deque()
        self._port, self._requests = port, deque(requests)
        self._lines: list[_Line] = []
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def gather(self, connections: int) -> None:
        """Connect."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, line = await loop.create_connection(lambda: _Line(self), "127.0.0.1", self._port)
            self._lines.append(line)
            self.free.append(line)

    async def storm(self, per_second: float, seconds: float) -> None:
        """Send so many a second for so long, and wait for the last answer."""
        began, sent = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            while sent < passed * per_second:
                self._send()
                sent += 1
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.wait_for(self._idle.wait(), ANSWER_SECONDS_MAX)

    async def keep_busy(self, seconds: float) -> None:
        """Have every connection wait for an answer for so long (a closed loop): as much as can be borne."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            while self.free and self._requests:
                self._send()
            await asyncio.sleep(0.001)
        await self.storm(0, 0)

    def hear(self, request: bytes, answer: bytes, seconds: float) -> None:
        """Take an answer in."""
        heard, self._under_way = self.heard, self._under_way - 1
        if not self._under_way:
            self._idle.set()
        status = int(answer[9:12] or 0)
        heard.statuses[status] += 1
        if status == 200:
            heard.waits.append(seconds)
            heard.ids.add(json.loads(answer[answer.index(b"\r\n\r\n") :])["id"])
            return
        self._requests.append(request)
        if status == 503:
            after = _headers(answer).get("retry-after", "")
            heard.rude += not (after.isdigit() and int(after) >= 1)
            heard.reasons[json.loads(answer[answer.index(b"\r\n\r\n") :])["error"]["code"]] += 1

    def disperse(self) -> Heard:
        """Hang up."""
        for line in self._lines:
            line.hang_up()
        return self.heard

    def fresh(self) -> Heard:
        """Begin to count anew, and give what was counted."""
        before, self.heard = self.heard, Heard()
        return before

    def _send(self) -> None:
        if not self.free or not self._requests:
            self.heard.held_back += 1
            return
        self._under_way += 1
        self._idle.clear()
        self.free.popleft().send(self._requests.popleft())


def _headers(answer: bytes) -> Mapping[str, str]:
    lines = answer[: answer.index(b"\r\n\r\n")].decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
