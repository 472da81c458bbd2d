"""Look for new events with one question to the store for all who wait for some, and with none while nobody waits.

What was found is kept for a while, so that thousands who want to hear the same event do not each ask for it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from worker.store.feed import Told

LOOK_EVERY_SECONDS = 0.2
LOOK_MAX = 500
"""So many events are taken in with one look; if there are more, the next look follows at once."""
KEPT_MAX, KEPT_CHARACTERS_MAX = 1_000, 4_000_000
"""Whoever is further behind reads on from the store."""


class Watch:
    """Know what is new.

    Args:
        look: gives the next events after a position, at most `LOOK_MAX`.
        every_seconds: how often, at most, while there is nothing new.
    """

    def __init__(
        self, look: Callable[[int], Awaitable[Sequence[Told]]], *, every_seconds: float = LOOK_EVERY_SECONDS
    ) -> None:
        self._ask = look
        self._every_seconds = every_seconds
        self._kept: deque[Told] = deque()
        self._characters = 0
        # What is kept is everything after the one position and up to the other.
        self._begin = self._end = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def beyond(self, position: int) -> None:
        """Return when there is something beyond a position, or when nobody shall wait any more."""
        if self._looking is None and position > self._end:
            # Nobody waited for a while, so what is between was read by others from the store.
            self._forget(position)
        while self._end <= position and not self._closed:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
            try:
                await waiter
            finally:
                self._waiting.discard(waiter)

    def after(self, position: int) -> list[Told] | None:
        """Give what is known to come after a position; None: that is too long ago, ask the store."""
        if position < self._begin:
            return None
        fresh = []
        for told in reversed(self._kept):
            if told.position <= position:
                break
            fresh.append(told)
        return fresh[::-1]

    def close(self) -> None:
        """Let everybody go: the process is about to end."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        self._wake()

    @property
    def closed(self) -> bool:
        """Tell whether waiting has ended for good."""
        return self._closed

    async def _look(self) -> None:
        """Look as long as somebody waits. An error reaches all of them, and ends nothing: whoever waits again looks."""
        try:
            while self._waiting and not self._closed:
                await asyncio.sleep(self._every_seconds)
                fresh = await self._ask(self._end)
                while len(fresh) >= LOOK_MAX:
                    self._keep(fresh)
                    fresh = await self._ask(self._end)
                self._keep(fresh)
        except Exception as error:  # noqa: BLE001 - it is theirs who wait
            self._wake(error)
        finally:
            self._looking = None

    def _keep(self, fresh: Sequence[Told]) -> None:
        if not fresh:
            return
        self._kept.extend(fresh)
        self._end = fresh[-1].position
        self._characters += sum(len(told.document) for told in fresh)
        while len(self._kept) > KEPT_MAX or self._characters > KEPT_CHARACTERS_MAX:
            oldest = self._kept.popleft()
            self._characters -= len(oldest.document)
            self._begin = oldest.position
        self._wake()

    def _forget(self, position: int) -> None:
        self._kept.clear()
        self._characters = 0
        self._begin = self._end = position

    def _wake(self, error: Exception | None = None) -> None:
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
