"""The broker forgets all, starts again with nothing, is not there, or says nothing: hints are lost, nothing else.

Real: every process, the broker, PostgreSQL, SQLite, the signatures, the app's backend. Doubles: none. What may be
asserted: rows, events, what arrived at the backend, that platforms got their 200; never when, beyond a deadline.
"""

import asyncio
import shutil

import pytest

from tests.crash.burst import Burst, count, pour, sign_burst, tell_all
from tests.crash.figures import fault
from tests.crash.house import House
from tests.crash.judge import judge
from tests.e2e.running import until
from tests.effort import EFFORT, thorough

pytestmark = [pytest.mark.crash, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

MANY = 120


async def prepared(house: House, seed: int) -> Burst:
    """Sign what will be sent."""
    burst = sign_burst(house.installation, notifications=MANY, seed=seed)
    await tell_all(house.service, burst)
    return burst


async def flowing(house: House, before: int) -> None:
    """Wait until some are through and others are not."""
    assert await until(lambda: count(house.store, "processed") >= before + 10, every_seconds=0.005)


async def test_flushed(wired: House):
    """FLUSHALL in the middle of traffic: what was only hinted at is found by the sweeper, nothing is done twice."""
    burst, before = await prepared(wired, 21), count(wired.store, "processed")
    pouring = asyncio.create_task(pour(wired.service, burst.shots))
    await flowing(wired, before)
    with wired.valkey_client() as client:
        for _ in range(5):
            assert client.flushall()
            fault("broker flushed")
            await asyncio.sleep(0.05)  # between two faults, not for an effect

    taken = await pouring
    assert {0} == set(taken.values()), "a platform was refused for want of a hint"
    await judge(wired, burst, taken)


async def test_restarted_empty(wired: House):
    """A broker that comes back with none of its files costs nobody a 200, and the workers take up again."""
    burst, before = await prepared(wired, 22), count(wired.store, "processed")
    pouring = asyncio.create_task(pour(wired.service, burst.shots))
    await flowing(wired, before)
    await asyncio.to_thread(wired.valkey.stop)
    shutil.rmtree(wired.valkey.home)
    await asyncio.to_thread(wired.valkey.start)
    fault("broker restarted empty")

    taken = await pouring
    assert {0} == set(taken.values())
    await judge(wired, burst, taken)


async def test_unreachable(wired: House):
    """While nobody can reach the broker platforms get their 200 and effects happen, by the sweeper alone."""
    burst = await prepared(wired, 23)
    half = len(burst.shots) // 2
    with wired.broker.away():
        fault("broker unreachable")
        taken = await pour(wired.service, burst.shots[:half])
        assert {0} == set(taken.values())
        assert half == len(taken)
        await asyncio.sleep(EFFORT.away_seconds)  # it is the length of the outage that is tried
    taken |= await pour(wired.service, burst.shots[half:])

    await judge(wired, burst, taken)


@thorough
async def test_silent(wired: House):
    """A broker that takes connections and never answers holds a 200 up for its time limit, and loses nothing."""
    burst = await prepared(wired, 24)
    with wired.broker.silent():
        fault("broker silent")
        taken = await pour(wired.service, burst.shots)
        assert {0} == set(taken.values())

    await judge(wired, burst, taken)
