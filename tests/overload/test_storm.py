"""Ten times what can be borne: what is taken is taken soon and kept, the rest hears when to come again, and it passes.

Real: every process, PostgreSQL with a store that takes a few milliseconds for each row, the broker, signatures, HTTP.
Doubles: none. What may be asserted: answers, how long those of 200 took at most, rows, resident memory.
"""

import asyncio
import time
from pathlib import Path

import pytest

from tests.benchmarks.usage import resident_mb
from tests.clusters import Cluster
from tests.crash.burst import count
from tests.crash.figures import fault
from tests.e2e.running import until
from tests.effort import EFFORT
from tests.overload.scene import (
    CALM_SECONDS_MAX,
    CONNECTIONS,
    OTHERS,
    assert_answered,
    calm_again,
    kept,
    scene,
    told,
)

pytestmark = [pytest.mark.crash, pytest.mark.e2e, pytest.mark.overload]

ROW_SECONDS = 0.005
"""What storing one notification takes: a disk that has seen better days."""
TIMES = 10
BUSY_SECONDS = 6.0 if EFFORT.faults else 1.0
"""How long it is tried what can be borne."""
OTHERS_PER_SECOND = 5.0
HELD_MB_MAX = 150.0

SLOW = f"""
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_sleep({ROW_SECONDS}); RETURN NEW; END';
    CREATE TRIGGER slow BEFORE INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION slow();"""


@pytest.mark.timeout(120 + 5 * EFFORT.storm_seconds)
async def test_ten_times_what_can_be_borne(tmp_path: Path, postgresql: Cluster):
    """A storm of one platform: what is taken is soon told so and kept, nobody else is refused, and then it is over."""
    many = EFFORT.storm_seconds
    sent, by_others = int(300 * many) + 3_000, int(2 * OTHERS_PER_SECOND * many) + 100
    async with scene(tmp_path, postgresql, storm=sent, others=by_others) as here:
        here.database.execute(SLOW)
        await here.storm.gather(CONNECTIONS)
        await here.others.gather(OTHERS)
        began = time.monotonic()
        await here.storm.keep_busy(BUSY_SECONDS)
        usual = here.storm.fresh()
        capacity = len(usual.ids) / (time.monotonic() - began)
        before = resident_mb(here.serve)
        fault(f"{TIMES} times what can be borne")
        watched = asyncio.create_task(most_held(here.serve))
        await asyncio.gather(
            here.storm.storm(TIMES * capacity, EFFORT.storm_seconds),
            here.others.storm(OTHERS_PER_SECOND, EFFORT.storm_seconds),
        )
        watched.cancel()
        held = await watched
        stormed, others = here.storm.fresh(), here.others.fresh()
        calm = await calm_again(here)
        figures = f"capacity {capacity:.0f}/s, serve +{held - before:.0f} MB, as usual after {calm:.1f} s"
        print("", figures, *told("storm", stormed), *told("others", others), sep="\n")  # noqa: T201 - for docs/reliability.md

        assert_answered(stormed)
        assert_answered(others)
        assert stormed.statuses[503] > stormed.statuses[200]
        assert {200} == set(others.statuses), others.reasons
        assert held - before <= HELD_MB_MAX
        assert calm <= CALM_SECONDS_MAX
        given = usual.ids | stormed.ids | others.ids | here.storm.heard.ids | here.others.heard.ids
        assert given == kept(here.installation)
        store = here.installation.store()
        assert await until(lambda: not count(store, "accepted"), 60 + EFFORT.storm_seconds)
        store.close()


async def most_held(pid: int) -> float:
    """Watch what a process holds until nobody wants to know any more; give the most."""
    most = 0.0
    try:
        while True:
            most = max(most, resident_mb(pid))
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        return most
