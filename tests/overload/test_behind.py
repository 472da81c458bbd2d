"""A storm that workers cannot follow is slowed down once what waits is old; nobody else is, and it passes.

Real: every process, PostgreSQL in which to finish a notification takes a while, the broker, signatures, HTTP. Doubles:
none. What may be asserted: answers, rows, lines of the log, and how long it takes until everybody is let in again.
"""

import asyncio
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.clusters import Cluster
from tests.crash.burst import count
from tests.crash.figures import fault
from tests.e2e.running import until
from tests.effort import EFFORT
from tests.overload.backlog import pile_up
from tests.overload.scene import CALM_SECONDS_MAX, OTHERS, Scene, assert_answered, calm_again, kept, scene, told
from worker.valkey import socket_path

pytestmark = [pytest.mark.crash, pytest.mark.e2e, pytest.mark.overload]

FINISH_SECONDS = 0.04
"""What it takes to finish one notification, in a database that is quick at what a door does."""
AGE_SECONDS = 2.0
STORM_PER_SECOND, OTHERS_PER_SECOND = 120.0, 5.0
CONNECTIONS = 64
GUST_SECONDS = 2.0
SECONDS_MAX = max(24.0, EFFORT.storm_seconds)
"""A short run storms until it is slowed down: the door looks every two seconds, and less often on a busy machine."""
PILED = 12_000 if EFFORT.faults else 0
"""What waits before the storm: a long run reaches what is much by default; in a short one less is much."""

SLOW = f"""
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_sleep({FINISH_SECONDS}); RETURN NEW; END';
    CREATE TRIGGER slow BEFORE UPDATE ON notifications FOR EACH ROW WHEN (NEW.status <> 'accepted')
      EXECUTE FUNCTION slow();"""
CHOSEN = {"CLAWBACK_DOOR__INBOX_AGE_SECONDS": str(AGE_SECONDS), "CLAWBACK_WORK__THREADS": "2"}
FEW = {} if PILED else {"CLAWBACK_DOOR__INBOX_PENDING_MIN": "100"}


@pytest.mark.timeout(150 + 10 * SECONDS_MAX)
async def test_a_storm_that_workers_cannot_follow_is_slowed_down(tmp_path: Path, postgresql: Cluster):
    """Its platform hears 503 `workers_behind` once what waits is old, others are taken, and then it is over."""
    sent, by_others = (int(rate * SECONDS_MAX) + 200 for rate in (STORM_PER_SECOND, OTHERS_PER_SECOND))
    async with scene(tmp_path, postgresql, storm=sent, others=by_others, chosen=CHOSEN | FEW) as here:
        here.database.execute(SLOW)
        with closing(here.installation.store()) as store:
            broker = f"unix://{socket_path(here.installation.home)}"
            more = here.installation, store, here.database, broker, PILED
            piled = await asyncio.to_thread(pile_up, *more) if PILED else []
            await here.storm.gather(CONNECTIONS)
            await here.others.gather(OTHERS)
            fault("more than workers can follow")
            await storm(here)
            stormed, others = here.storm.fresh(), here.others.fresh()
            calm = await calm_again(here)
            print("", f"as usual after {calm:.1f} s", *told("storm", stormed), *told("others", others), sep="\n")  # noqa: T201 - for docs/reliability.md

            assert_answered(stormed)
            assert {"workers_behind"} == set(stormed.reasons)
            assert {200} == set(others.statuses), others.reasons
            assert calm <= CALM_SECONDS_MAX
            assert paces(here)[0]
            here.database.execute("DROP TRIGGER slow ON notifications")
            assert await until(lambda: not count(store, "accepted"), 60 + 4 * SECONDS_MAX)
            assert await until(lambda: paces(here)[-1] is None, 2 * CALM_SECONDS_MAX), "everybody is let in again"
            given = stormed.ids | others.ids | here.storm.heard.ids | here.others.heard.ids
            assert given | set(piled) == kept(here.installation)
            assert count(store, "processed") == len(given) + len(piled)


async def storm(here: Scene) -> None:
    """Send more than workers can follow until it is refused, and one gust more; a long run for as long as it may."""
    began = time.monotonic()
    refused, last = False, False
    while not last:
        last = (refused and not EFFORT.faults) or time.monotonic() - began > SECONDS_MAX - GUST_SECONDS
        refused = bool(here.storm.heard.statuses[503])
        await asyncio.gather(
            here.storm.storm(STORM_PER_SECOND, GUST_SECONDS), here.others.storm(OTHERS_PER_SECOND, GUST_SECONDS)
        )


def paces(here: Scene) -> list[int | None]:
    """Read to how many a second the door slowed a storm down, and when no more."""
    return [line["per_second"] for line in here.installation.lines() if line["event"] == "ingest.paced"]
