"""Do the same step for all requests of one turn of the event loop, one after the other.

Under load dozens of requests are ready in each turn. A processor keeps at hand what it did a moment ago, and a whole
request is more than it can keep: proved in a row, Stripe's events take a fifth less than where everything else of a
request lies between any two of them (docs/performance.md).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")

TOGETHER_MAX = 64
"""So many are taken in one turn: in a storm others wait to be heard, and more in a row gain nothing."""


class Abreast:
    """One step of all requests, in the order in which they came to it. Make one for each step and event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def later(self, step: Callable[[], None]) -> None:
        """Take the step once every request of this turn has come as far."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._take)
        self._waiting.append(step)

    async def result(self, step: Callable[[], T]) -> T:
        """Take the step then, and give what it returns or raise what it raises."""
        taken: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.later(partial(_settle, taken, step))
        return await taken

    def _take(self) -> None:
        try:
            for _ in range(min(TOGETHER_MAX, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            if self._waiting:  # many came, or one broke, which is no reason to forget the others
                asyncio.get_running_loop().call_soon(self._take)


def _settle(taken: "asyncio.Future[T]", step: Callable[[], T]) -> None:
    if taken.cancelled():  # its client hung up
        return
    try:
        taken.set_result(step())
    except Exception as error:  # noqa: BLE001 - it is raised for whom the step was taken
        taken.set_exception(error)
