"""Follow what was answered 200 to its end, and count each end once: received = ended + in flight, and nothing is lost.

The inbox cannot tell what it lost: a database that failed over to a copy which was behind, or was restored, holds
together and lacks what it had promised. So each endpoint remembers what it said 200 to until it has seen what became of
it, and asks by key, a few seconds later, beside all requests. What is not there any more is `lost`.

Each process follows its own, so counts of processes and hosts are added up and nothing is counted twice. Memory is
bounded: what comes while `OPEN_MAX` are followed is `unfollowed`, as is what a process that ends had not seen end.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from worker.inbox import Accepted
from worker.metrics import child
from worker.runtime import Runtime
from worker.store import inbox
from worker.store.engine import StoreUnavailable
from worker.web.tally import Tally

EVERY_SECONDS: Final = 5.0
OPEN_MAX: Final = 10_000
"""Two megabytes. More wait only in a backlog, of which `clawback_inbox_pending` tells."""
ASK_MAX: Final = 1_000
NAMED_MAX: Final = 10
"""So many of what is lost are named in the log."""

log = structlog.get_logger()


class Follower:
    """What one process said 200 to and has not seen end. It belongs to one event loop.

    Args:
        runtime: the parts of this process.
        tally: counts what arrives, together with the count of what was accepted.
        every_seconds: how often the store is asked.
        open_max: how many are followed at a time.
    """

    def __init__(
        self, runtime: Runtime, tally: Tally, *, every_seconds: float = EVERY_SECONDS, open_max: int = OPEN_MAX
    ) -> None:
        self._runtime = runtime
        self._tally = tally
        self._every_seconds = every_seconds
        self._open_max = open_max
        self._open: dict[str, str] = {}
        self._asking: asyncio.Task[None] | None = None

    def take(self, accepted: Accepted, platform: str) -> None:
        """Follow a notification from now on, unless it was here before: then it is followed, or its end was seen."""
        if accepted.duplicate:
            return
        if len(self._open) < self._open_max:
            self._open[accepted.id] = platform
            self._tally.count(child(self._runtime.metrics.in_flight, platform))
        else:
            self._tally.count(child(self._runtime.metrics.ended, platform, "unfollowed"))

    def begin(self) -> None:
        """Look again and again, until closed."""
        self._asking = asyncio.create_task(self._look_again_and_again())

    async def look(self) -> None:
        """Ask what became of everything that is followed, and count what has ended.

        Raises:
            StoreUnavailable: what was not asked of is asked of the next time.
        """
        ids = list(self._open)
        for start in range(0, len(ids), ASK_MAX):
            asked = ids[start : start + ASK_MAX]
            self._count(asked, await asyncio.to_thread(self._ask, asked))

    async def close(self) -> None:
        """Look once more, and give up the rest: nobody in this process will see it end."""
        if self._asking is not None:
            self._asking.cancel()
        try:
            await self.look()
        except StoreUnavailable:
            log.warning("follow.store_unavailable", waiting=len(self._open))
        self._end(dict.fromkeys(self._open, "unfollowed"))

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            try:
                await self.look()
            except StoreUnavailable:
                continue  # a scrape tells of that, and what is away has lost nothing yet
            except Exception:
                log.exception("follow.failed")  # a mistake of ours must not end it

    def _ask(self, ids: Sequence[str]) -> Mapping[str, str]:
        with self._runtime.store.look() as connection:
            return inbox.statuses(connection, ids)

    def _count(self, asked: Sequence[str], found: Mapping[str, str]) -> None:
        ends = {id_: found.get(id_, "lost") for id_ in asked}
        self._end({id_: end for id_, end in ends.items() if end != "accepted"})
        if lost := [id_ for id_, end in ends.items() if end == "lost"]:
            log.error("follow.lost", count=len(lost), notifications=lost[:NAMED_MAX])

    def _end(self, ends: Mapping[str, str]) -> None:
        """Count ends, each instead of one that was in flight."""
        self._tally.write()  # what is in flight is counted before it ends
        platforms = {id_: self._open.pop(id_) for id_ in ends}
        for (platform, end), count in Counter((platforms[id_], end) for id_, end in ends.items()).items():
            child(self._runtime.metrics.ended, platform, end).inc(count)
            child(self._runtime.metrics.in_flight, platform).dec(count)
