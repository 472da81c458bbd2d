"""Subscribers set the pace: a rest, a rate and an end are kept by every process, and delay nobody else.

Real: backends on loopback, the HTTP client, the SQLite outbox. Double: the clock, which a test can set forward.
"""

import asyncio
import time

import pytest
from aiohttp import web
from sqlalchemy import select, update
from structlog.testing import capture_logs

from tests.store.outbox_story import announce, delivery_rows, event
from tests.worker.backend import Backend, Told, listens, ok, sweep
from worker.delivery import Deliverer
from worker.runtime import Runtime
from worker.setback import STEP_SECONDS
from worker.store.tables import subscribers


def set_pace(runtime: Runtime, who: str, rate_per_second: float) -> None:
    """Give a subscriber a pace."""
    with runtime.store.write() as connection:
        those = update(subscribers).where(subscribers.c.id == who)
        connection.execute(those.values(rate_per_second=rate_per_second))


def happened(runtime: Runtime, count: int, *, first: int = 1) -> list[str]:
    """Commit so many events, and give the deliveries that may begin."""
    return announce(runtime.store, [event(number) for number in range(first, first + count)], now=runtime.clock())


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honored_by_all_that_waits(runtime, deliverer, clock, status):
    """A subscriber that asks for two minutes is left alone for two minutes; what waited has used up no attempt."""
    async with Backend(lambda _told: web.Response(status=status, headers={"Retry-After": "120"})) as backend:
        listens(runtime, backend, order="none")
        await deliverer.deliver(happened(runtime, 1))
        await deliverer.drained()
        await deliverer.deliver(happened(runtime, 20, first=2))
        await deliverer.drained()
        clock.ahead_seconds += 119
        await sweep(runtime, deliverer)
        assert 1 == len(backend.told)
        assert [0] * 20 == [row.attempts for row in delivery_rows(runtime.store).values() if row.sequence > 1]

        backend.answer = ok
        clock.ahead_seconds += 2
        await sweep(runtime, deliverer)

    assert 22 == len(backend.told)
    assert {"delivered"} == {row.status for row in delivery_rows(runtime.store).values()}


async def test_a_rest_holds_back_nobody_else(runtime, deliverer):
    """While one subscriber rests, another hears everything."""
    async with Backend(lambda _told: web.Response(status=429)) as busy, Backend() as other:
        listens(runtime, busy, other, order="none")
        await deliverer.deliver(happened(runtime, 100))
        await deliverer.drained()

    assert 100 == len(set(other.ids))
    assert len(busy.told) <= 16


async def test_a_pace_is_kept_by_two_processes_together(runtime, deliverer):
    """Two that tell the same subscriber tell it no faster than it asked for, and all of it."""
    second = Deliverer(runtime, jitter=lambda: 0.0)
    async with Backend() as paced, Backend() as other:
        who, _ = listens(runtime, paced, other, order="none")
        set_pace(runtime, who, 50.0)
        ready = happened(runtime, 40)
        started = time.monotonic()
        await asyncio.gather(deliverer.deliver(ready), second.deliver(ready[::-1]))
        await other.has_been_told(40)
        assert len(paced.told) < 40
        await asyncio.gather(deliverer.drained(), second.drained())
        seconds = time.monotonic() - started
    await second.close()

    assert 40 == len(set(paced.ids)) == len(paced.ids)
    # 40 at 50 a second, but for the first and what was saved up in a tenth of a second.
    assert (40 - 1 - 5) / 50 <= seconds


async def test_a_pace_slower_than_a_lane_waits_goes_on_by_sweeping(runtime, deliverer, clock):
    """One in ten seconds holds no process up: what waits is let go, and found again when it may begin."""
    async with Backend() as backend:
        (who,) = listens(runtime, backend, order="none")
        set_pace(runtime, who, 0.1)
        await deliverer.deliver(happened(runtime, 3))
        await deliverer.drained()
        assert 1 == len(backend.told)
        for told in (2, 3):
            clock.ahead_seconds += 10
            await sweep(runtime, deliverer)
            assert told == len(backend.told)


async def test_a_clock_that_goes_back_a_little_forgets_nobody(runtime, deliverer, clock):
    """A rest that is longer than its alarm, by a step that nobody notices, ends all the same, and not by a sweep."""

    def step_back(_told: Told) -> web.Response:
        clock.ahead_seconds = -0.9 * STEP_SECONDS
        return web.Response()

    async with Backend(step_back) as backend:
        (who,) = listens(runtime, backend, order="none")
        set_pace(runtime, who, 1 / STEP_SECONDS)
        await deliverer.deliver(happened(runtime, 2))
        async with asyncio.timeout(20):
            await deliverer.drained()

    assert 2 == len(backend.told)


async def test_closing_waits_for_no_pace(runtime):
    """A stop leaves what still has to wait to others, at once."""
    deliverer = Deliverer(runtime)
    async with Backend() as backend:
        (who,) = listens(runtime, backend, order="none")
        set_pace(runtime, who, 1.0)
        await deliverer.deliver(happened(runtime, 5))
        await backend.has_been_told(1)
        await asyncio.wait_for(deliverer.close(), 5)
        await deliverer.drained()

    assert 1 == len(backend.told)


async def test_410_ends_the_subscription(runtime, deliverer):
    """A backend that says it is gone is believed, an operator is alarmed, and it hears nothing more."""
    async with Backend(lambda _told: web.Response(status=410)) as backend:
        (who,) = listens(runtime, backend, order="none")
        with capture_logs() as logs:
            await deliverer.deliver(happened(runtime, 1))
            await deliverer.drained()
        assert [] == happened(runtime, 1, first=2)

    assert alarm(who, "gone") == logs[-1]
    value = runtime.metrics.registry.get_sample_value
    assert 1 == value("clawback_subscribers_disabled_total", {"reason": "gone"})


async def test_five_days_of_failure_end_the_subscription(runtime, deliverer, clock):
    """Nothing but failure for five days is an operator's alarm, a count, and the end of telling."""
    async with Backend(lambda _told: web.Response(status=500)) as backend:
        (who,) = listens(runtime, backend, order="none")
        with capture_logs() as logs:
            for days in range(6):
                happened(runtime, 1, first=days + 1)
                await sweep(runtime, deliverer)
                clock.ahead_seconds += 86_400

    with runtime.store.read() as connection:
        row = connection.execute(select(subscribers)).one()
    assert ("disabled", "long_failure") == (row.state, row.reason)
    assert alarm(who, "long_failure") in logs
    value = runtime.metrics.registry.get_sample_value
    assert 1 == value("clawback_subscribers_disabled_total", {"reason": "long_failure"})


def alarm(who: str, reason: str) -> dict[str, str]:
    """Write down what an operator is told."""
    return {"event": "deliver.subscriber_disabled", "log_level": "error", "subscriber": who, "reason": reason}
