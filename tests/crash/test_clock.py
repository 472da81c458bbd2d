"""The clock is stepped by an hour, forward and back, under all processes at once, and nothing waits for that hour.

Real: every process, the broker, both databases, the signatures, the app's backend. Double: the wall clock, as Python
reads it. Each process finds a `sitecustomize` on its path, which adds what a file says to `time.time` before anything
of ours is imported; the monotonic clock stands aside, as in a real step. (libfaketime 0.9.10 is no help: where it
leaves the monotonic clock alone, `time.sleep` fails under it.) What may be asserted: rows, events, what arrived at the
backend; never when, beyond a deadline.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clusters import Cluster
from tests.crash.burst import Burst, count, pour, sign_burst, tell_all
from tests.crash.figures import fault
from tests.crash.house import House, open_house
from tests.crash.judge import judge
from tests.e2e.running import until
from tests.effort import thorough

pytestmark = [pytest.mark.crash, pytest.mark.e2e]

HOUR = 3600
MANY = 80
WRONG_SECONDS = 2.0
SHIM = """
import os, time
real, real_ns, file = time.time, time.time_ns, os.environ["STEPPED_CLOCK"]
def ahead():
    with open(file) as said:
        return int(said.read())
time.time = lambda: real() + ahead()
time.time_ns = lambda: real_ns() + ahead() * 1_000_000_000
"""


@dataclass(frozen=True)
class Clock:
    """The wall clock of every process of a house."""

    file: Path

    def step(self, seconds: int) -> None:
        """Set it so far from the right time."""
        new = self.file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.file)
        fault("clock stepped by an hour")


@asynccontextmanager
async def clocked(directory: Path, cluster: Cluster | None, **environment: str) -> AsyncIterator[tuple[House, Clock]]:
    """Run everything under a clock that can be stepped."""
    clock = Clock(directory / "clock")
    clock.file.write_text("0")
    (directory / "path").mkdir()
    (directory / "path" / "sitecustomize.py").write_text(SHIM)
    variables = {"STEPPED_CLOCK": str(clock.file), "PYTHONPATH": str(directory / "path"), **environment}
    async with open_house(directory, cluster, environment=variables) as house:
        yield house, clock


async def poured(house: House, burst: Burst, clock: Clock, *steps: int) -> dict[str, int]:
    """Send it all while the clock is stepped."""
    await tell_all(house.service, burst)
    before = count(house.store, "processed")
    pouring = asyncio.create_task(pour(house.service, burst.shots))
    assert await until(lambda: count(house.store, "processed") > before, every_seconds=0.005)
    for seconds in steps:
        clock.step(seconds)
        await asyncio.sleep(WRONG_SECONDS)  # it is for so long that the clock is wrong
    return await pouring


async def test_stepped(tmp_path: Path, postgresql: Cluster):
    """An hour ahead and right again, an hour behind and right again: all is taken, once, and told at once."""
    async with clocked(tmp_path, postgresql) as (house, clock):
        for seed, seconds in ((61, HOUR), (62, -HOUR)):
            burst = sign_burst(house.installation, notifications=MANY, seed=seed)
            taken = await poured(house, burst, clock, seconds, 0)
            await judge(house, burst, taken)
        assert "sweep.clock_set_back" in {line["event"] for line in house.installation.lines()}


@thorough
async def test_written_in_an_hour_that_is_not_yet(tmp_path: Path):
    """What was accepted while the clock was ahead, and hinted at to nobody, is done within seconds once it is right."""
    async with clocked(tmp_path, None, CLAWBACK_WORK__SWEEP_AFTER_SECONDS="1") as (house, clock):
        burst = sign_burst(house.installation, notifications=8, seed=63)
        await tell_all(house.service, burst)
        clock.step(HOUR)
        with house.broker.away():
            pouring = asyncio.create_task(pour(house.service, burst.shots))
            assert await until(lambda: count(house.store, "accepted", "processed") > 0)
        clock.step(0)

        await judge(house, burst, await pouring)
