"""Asking as the worker threads do: at once, bounded, and never longer than notifications may wait.

Real: `Lookups` with its thread, clients, sockets, a server on this machine. Double: the clock, which is moved by hand.
"""

import asyncio
import time

from config.settings import Lookups as Bounds
from schemas.meaning import Missing
from tests.worker.lookup_desk import RECEIPT, about, amazon, desk, open_api, until
from tests.worker.platform_api import Api

__all__ = ["open_api"]


async def test_everything_is_asked_at_once(api: Api):
    """The questions of a set go out together, and each gets its own answer."""
    api.answers = {"second": (410, {})}
    with desk(**amazon(api)) as at:
        assert [RECEIPT, Missing(410), RECEIPT] == await at.ask(about("first"), about("second"), about("third"))

        assert {("amazon", "rvs", "answered"): 2, ("amazon", "rvs", "missing"): 1} == at.counted()


async def test_no_more_at_a_time_than_configured(api: Api):
    """Of many questions only so many are under way."""
    with desk(Bounds(concurrency=3, per_second=1000), **amazon(api)) as at:
        answers = await at.ask(*(about(str(number)) for number in range(20)))

    assert [RECEIPT] * 20 == answers
    assert 3 >= api.most_at_once


async def test_no_more_a_second_than_configured(api: Api):
    """A second's worth goes at once, the rest at its pace."""
    with desk(Bounds(per_second=20, wait_seconds=10), **amazon(api)) as at:
        began = time.monotonic()
        answers = await at.ask(*(about(str(number)) for number in range(30)))

        assert [RECEIPT] * 30 == answers
    assert 0.4 <= time.monotonic() - began


async def test_what_could_not_go_in_time_is_not_asked(api: Api):
    """A question whose turn would come after its time-out gives up its place at once."""
    with desk(Bounds(per_second=0.01, timeout_seconds=1, wait_seconds=10), **amazon(api)) as at:
        answers = await at.ask(*(about(str(number)) for number in range(5)))

        assert (1, 4) == (answers.count(RECEIPT), at.counted()["amazon", "rvs", "paused"])


async def test_nobody_waits_longer_than_configured(api: Api):
    """What is not answered in time is not waited for, and its answer is there for the next attempt."""
    api.hold = asyncio.Event()
    with desk(Bounds(wait_seconds=0.05, timeout_seconds=30), **amazon(api)) as at:
        assert [None] == await at.ask(about())
        api.hold.set()
        await until(lambda: ("amazon", "rvs", "answered") in at.counted())

        assert [RECEIPT] == await at.ask(about())
    assert 1 == len(api.asked)


async def test_closing_ends_what_is_under_way(api: Api):
    """A worker that stops waits for no platform, and may ask again afterwards."""
    api.hold = asyncio.Event()
    with desk(Bounds(wait_seconds=0.05, timeout_seconds=60), **amazon(api)) as at:
        assert [None] == await at.ask(about())
        await asyncio.to_thread(at.lookups.close)
        api.hold.set()
        await asyncio.to_thread(at.lookups.close)

        assert [RECEIPT] == await at.ask(about())
