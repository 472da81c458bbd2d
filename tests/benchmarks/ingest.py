"""Store what was posted through the real inbox, and queue it when the measurement says so."""

import asyncio
import time
from collections.abc import Collection, Sequence

from handlers.platforms import PLATFORMS
from worker.demo.trust import APP
from worker.inbox import Arrival, Inbox
from worker.simulator.sale import Shot
from worker.store.engine import Store

AT_ONCE = 1_000


class Kept:
    """A queue that keeps ids until somebody asks."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def put_notifications(self, ids: Sequence[str]) -> None:
        """Keep them."""
        self.ids += ids

    def put_deliveries(self, ids: Collection[str]) -> None:
        """Let the sweeper find them, if there is one."""


def stored(store: Store, platform: str, shots: Sequence[Shot], *, retry_after_seconds: float) -> list[str]:
    """Accept what was posted as the door does, without proving it; give the ids that it would queue."""
    now, queue, read = time.time(), Kept(), PLATFORMS[platform].read
    arrivals = [
        Arrival(APP, platform, PLATFORMS[platform].identify(read(shot.body, {})), shot.body, {}, now, now)
        for shot in shots
    ]

    async def accept() -> None:
        inbox = Inbox(store, queue, retry_after_seconds=retry_after_seconds)
        for start in range(0, len(arrivals), AT_ONCE):
            await asyncio.gather(*map(inbox.accept, arrivals[start : start + AT_ONCE]))
        await inbox.close()

    asyncio.run(accept())
    return queue.ids
