"""Waiting for what is new: one question for everybody.

Double: the store, which is a function.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from worker.store.feed import Told
from worker.web import watch
from worker.web.watch import Watch


def told(position: int, document: str = "{}") -> Told:
    """Tell something."""
    return Told(position, "acme", "production", "refund.failed", None, document)


async def test_all_who_wait_share_one_question() -> None:
    """However many wait, the store is asked once per interval; and nobody is asked when nobody waits."""
    asked = []

    async def look(position: int) -> Sequence[Told]:
        asked.append(position)
        return [told(position + 1)]

    shared = Watch(look, every_seconds=0.001)
    await asyncio.gather(*(shared.beyond(2) for _ in range(50)))
    await asyncio.sleep(0.05)

    assert [2] == asked
    assert [[told(3)]] * 50 == [shared.after(2) for _ in range(50)]


async def test_who_waits_does_so_until_there_is_something() -> None:
    """Looks that find nothing wake nobody."""
    looks = 0

    async def look(position: int) -> Sequence[Told]:
        nonlocal looks
        looks += 1
        return [told(position + 1)] if looks == 5 else []

    shared = Watch(look, every_seconds=0.001)
    async with asyncio.timeout(60):
        await shared.beyond(0)

    assert (5, [told(1)]) == (looks, shared.after(0))


async def test_a_closed_watch_lets_everybody_go() -> None:
    """A shutdown does not wait for those who wait for an event."""

    async def look(_: int) -> Sequence[Told]:
        return []

    shared = Watch(look, every_seconds=0.001)
    waiting: list[asyncio.Task[Any]] = [asyncio.create_task(shared.beyond(0)) for _ in range(3)]
    await asyncio.sleep(0)
    shared.close()

    async with asyncio.timeout(60):
        await asyncio.gather(*waiting)


async def test_an_error_of_the_store_reaches_everybody_who_waits() -> None:
    """When the question fails, everybody who waited hears of it instead of waiting on; who waits again, asks again."""
    fails = True

    async def look(position: int) -> Sequence[Told]:
        if fails:
            raise ConnectionError
        return [told(position + 1)]

    shared = Watch(look, every_seconds=0.001)
    answers = await asyncio.gather(*(shared.beyond(0) for _ in range(3)), return_exceptions=True)
    fails = False
    async with asyncio.timeout(60):
        await shared.beyond(0)

    assert [ConnectionError] * 3 == [type(answer) for answer in answers]
    assert [told(1)] == shared.after(0)


async def test_little_is_kept() -> None:
    """What is kept for others is bounded by number and by size; whoever is further behind asks the store."""
    feed = [told(n) for n in range(1, 2 * watch.KEPT_MAX)]

    async def look(position: int) -> Sequence[Told]:
        return feed[position : position + watch.LOOK_MAX]

    shared = Watch(look, every_seconds=0.001)
    position = 0
    while position < len(feed):
        async with asyncio.timeout(60):
            await shared.beyond(position)
        position = (shared.after(position) or feed)[-1].position
    kept = len(feed) - watch.KEPT_MAX
    assert (None, feed[kept:]) == (shared.after(kept - 1), shared.after(kept))

    feed.append(told(len(feed) + 1, "x" * (watch.KEPT_CHARACTERS_MAX - 1)))
    async with asyncio.timeout(60):
        await shared.beyond(len(feed) - 1)
    assert (None, feed[-1:]) == (shared.after(len(feed) - 2), shared.after(len(feed) - 1))


async def test_nobody_catches_up_on_what_was_told_while_nobody_waited() -> None:
    """After a time in which nobody waited, looking begins where the first who waits again is."""
    asked = []

    async def look(position: int) -> Sequence[Told]:
        asked.append(position)
        return [told(position + 1)]

    shared = Watch(look, every_seconds=0.001)
    await shared.beyond(0)
    await asyncio.sleep(0.02)
    await shared.beyond(1_000_000)

    assert ([0, 1_000_000], None, [told(1_000_001)]) == (asked, shared.after(1), shared.after(1_000_000))
