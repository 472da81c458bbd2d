"""Asked to stop in the middle of everything, a whole installation ends in time, and leaves nothing half done.

Real: every process, both databases, the broker, the signatures, the app's backend, SIGTERM. Doubles: none. What may be
asserted: exit codes, how long it took at most, rows, events, what arrived; never when, beyond the grace period.
"""

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.cli.processes import belonging_to
from tests.crash.burst import count, pour, sign_burst, tell_all
from tests.crash.figures import fault
from tests.crash.house import House, open_house
from tests.crash.judge import judge, outcomes
from tests.e2e.running import client, until
from tests.effort import thorough
from worker.store import tables

pytestmark = [pytest.mark.crash, pytest.mark.e2e]

MANY = 200
GRACE_SECONDS = 15.0 + 20.0 + 5.0
"""The endpoint's, the workers', and for all the rest: docs/operations.md, "Processes"."""


@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=thorough), "postgresql"])
async def test_stop_leaves_nothing_half_done(tmp_path: Path, request: pytest.FixtureRequest, kind: str):
    """SIGTERM under load: exit code 0 in time, nothing between two states; started again, it goes on."""
    cluster = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    async with open_house(tmp_path, cluster) as house:
        burst = sign_burst(house.installation, notifications=MANY, seed=51)
        await tell_all(house.service, burst)
        pouring = asyncio.create_task(pour(house.service, burst.shots))
        assert await until(lambda: count(house.store, "processed") >= MANY // 8, every_seconds=0.005)
        await stop(house)
        assert_nothing_half_done(house)

        async with house.installation.up("run", "--json"), client(house.installation) as service:
            await judge(house.with_service(service), burst, await pouring)


async def stop(house: House) -> None:
    """Stop everything as an operator does, and hold it to its grace."""
    process = house.service.process
    assert process
    fault("everything asked to stop under load")
    process.terminate()
    began = time.monotonic()
    assert 0 == await asyncio.to_thread(process.wait, GRACE_SECONDS)
    assert time.monotonic() - began < GRACE_SECONDS
    assert await until(lambda: not belonging_to(house.installation.home))


def assert_nothing_half_done(house: House) -> None:
    """A row is accepted and has no effect, or is finished and has all; what is claimed for a delivery is let go."""
    n, e, d = tables.notifications.c, tables.entries.c, tables.deliveries.c
    with house.store.read() as connection:
        early = select(func.count()).where(n.status == "accepted", n.id.in_(select(e.notification)))
        late = select(func.count()).where(n.status == "processed", n.id.not_in(select(e.notification)))
        assert (0, 0) == (connection.execute(early).scalar_one(), connection.execute(late).scalar_one())
        now_ms = int(time.time() * 1000)
        claimed = select(func.count()).where(d.status == "pending", d.claimed_until_ms > now_ms)
        assert 0 == connection.execute(claimed).scalar_one()
    assert {"accepted", "processed"} >= set(outcomes(house.store))
