"""Refuse at the door what it could not bear, before it costs anything: 503 with Retry-After, and fair to each source.

What was let in is answered within a bounded time, and holds a bounded amount of memory: docs/decisions/0021-the-gate.md
has what is looked at, and why. Make one per event loop.
"""

import asyncio
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil
from time import perf_counter
from typing import Final

from aiohttp import web

from config.settings import Door
from handlers.behind import Behind
from handlers.shares import Source, may_hold
from worker.flow import Flow
from worker.inbox import BATCH_MAX
from worker.metrics import SHED
from worker.web.body import BODY_BYTES_MAX
from worker.web.errors import Refusal, Refused, try_again

LARGE_BYTES: Final = 64 * 1024
"""No platform is known to send more. What is larger shares half of the memory: it takes none from the others."""
RETRY_SECONDS_MAX: Final = 60
BEHIND_RETRY_SECONDS: Final = 60
"""Workers that are behind are so for minutes."""
TURN_PART: Final = 8
"""A notification waits for some turns of the event loop: each may take an eighth of the time for all."""
FEW: Final = 64
"""As many may wait, and come in one turn of the event loop, whatever it looks like: it may be the machine's fault."""

REASONS: Final = frozenset(SHED)
"""Why something is refused that could be taken later: code of the answer, `reason` of the log line and the metric."""


@dataclass(slots=True)
class Pool:
    """What each source holds of something."""

    held: dict[Source, int] = field(default_factory=dict)
    total: int = 0

    def take(self, source: Source, size: int = 1) -> None:
        """Hold more."""
        self.held[source] = self.held.get(source, 0) + size
        self.total += size

    def give(self, source: Source, size: int = 1) -> None:
        """Hold less."""
        self.held[source] -= size
        self.total -= size

    def refuses(self, room: float, source: Source, size: int = 1) -> bool:
        """Tell whether a source may not hold more."""
        return self.total + size > room and not may_hold(self.held, room, source, size)

    def clear(self) -> None:
        """Hold nothing."""
        self.held.clear()
        self.total = 0


class Gate:
    """Who is in, and who may come in.

    Args:
        bounds: what the operator chose.
        flow: how fast it is committed.
    """

    def __init__(self, bounds: Door, flow: Flow) -> None:
        self._bounds = bounds
        self._flow = flow
        self._small, self._large, self._waiting = Pool(), Pool(), Pool()
        self._turn, self._second = Pool(), Pool()
        self._turn_began = self._second_began = 0.0
        self._bytes_max = bounds.megabytes_max * 500_000
        self._turn_seconds_max = bounds.wait_seconds / TURN_PART
        self.behind = Behind()
        self.taken = 0

    def receive(self, source: Source, size: int) -> None:
        """Let a body in, of so many bytes; `forget` it when it is answered. Raises `Refused`."""
        pool = self._of(size)
        if pool.refuses(self._bytes_max, source, size):
            raise _refused("too_many_bytes", self._wait_seconds())
        pool.take(source, size)

    def forget(self, source: Source, size: int) -> None:
        """Take note that a body is not held any more."""
        self._of(size).give(source, size)

    def enter(self, source: Source) -> None:
        """Let a notification in to be verified and committed; it is to `leave` when that is done. Raises `Refused`."""
        now = perf_counter()
        if self._waiting.total >= FEW and self._waiting.refuses(self._room(), source):
            raise _refused("too_many_waiting", self._wait_seconds())
        self._take_turn(source, now)
        if self.behind.pace is not None:
            self._keep_pace(source, now, self.behind.pace)
        self._waiting.take(source)
        self.taken += 1

    def leave(self, source: Source) -> None:
        """Take note that a notification is answered."""
        self._waiting.give(source)

    def _of(self, size: int) -> Pool:
        return self._large if size > LARGE_BYTES else self._small

    def _room(self) -> float:
        """Give how many may wait: as many as are committed in time; a batch, where it was not tried with many yet."""
        least = FEW if self._flow.rows >= FEW else BATCH_MAX
        return min(self._bounds.waiting_max, max(least, self._bounds.wait_seconds * self._flow.per_second()))

    def _wait_seconds(self) -> float:
        """Say how long until whoever waits now is committed."""
        return self._waiting.total / self._flow.per_second()

    def _take_turn(self, source: Source, now: float) -> None:
        """Refuse who would make a turn of the event loop so long that all who wait for the next are late."""
        if not self._turn.total:
            self._turn_began = now
            asyncio.get_running_loop().call_soon(self._turn.clear)
        late = now - self._turn_began > self._turn_seconds_max
        if late and self._turn.refuses(max(FEW, self._turn.total), source):
            raise _refused("too_busy", self._wait_seconds())
        self._turn.take(source)

    def _keep_pace(self, source: Source, now: float, pace: float) -> None:
        if now - self._second_began >= 1:
            self._second.clear()
            self._second_began = now
        if self._second.refuses(pace, source):
            raise _refused("workers_behind", BEHIND_RETRY_SECONDS)
        self._second.take(source)


def announced(request: web.BaseRequest) -> int:
    """Tell how many bytes a body may become: as many as are here, or as are announced, or as there may be at most."""
    if request.content.is_eof():
        return request.content.total_bytes
    length = request.content_length
    if length is None:
        return BODY_BYTES_MAX
    return length if length <= BODY_BYTES_MAX else 0  # whoever reads it refuses it unread


def _refused(reason: str, seconds: float) -> Refused:
    return Refused(_refusal(reason, min(RETRY_SECONDS_MAX, max(1, ceil(seconds)))))


@lru_cache(maxsize=len(SHED) * RETRY_SECONDS_MAX)
def _refusal(reason: str, after_seconds: int) -> Refusal:
    """Make each refusal once: in a storm it is what most of the time goes into."""
    return try_again(reason, "More comes than can be taken. Nothing was stored.", after_seconds=after_seconds)
