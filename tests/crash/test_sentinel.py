"""The broker's master dies and Sentinel puts its replica in its place: traffic goes on, and nothing is lost.

Real: two Valkey servers, a Sentinel, an endpoint, a worker, the database, SIGKILL. Doubles: none. What may be asserted:
rows, what HTTP answers, what is logged; never when, beyond a deadline.
"""

import asyncio
import json
from pathlib import Path

import pytest

from tests.cli.processes import clawback
from tests.crash.burst import assert_each_took_effect_once, count, pour, sign_burst, tell_all
from tests.crash.sentinels import Watched, watched
from tests.e2e.running import Installation, client, install, until

pytestmark = [pytest.mark.crash, pytest.mark.e2e]


@pytest.fixture(name="broker")
def _broker(tmp_path: Path):
    with watched(tmp_path / "brokers") as found:
        yield found


@pytest.fixture(name="installation")
def _installation(tmp_path: Path, broker: Watched) -> Installation:
    installation = install(tmp_path / "house", environment={"CLAWBACK_BROKER__URL": broker.url})
    assert 0 == clawback("migrate", *installation.options, environment=dict(installation.environment)).returncode
    return installation


def said(installation: Installation, event: str) -> int:
    """Count the lines of a kind that its processes logged."""
    return sum(line["event"] == event for line in installation.lines())


def examined(installation: Installation) -> set[str]:
    """Have `doctor` look at the broker, and give its verdicts."""
    done = clawback("doctor", "--json", *installation.options, environment=dict(installation.environment))
    return {one["verdict"] for one in json.loads(done.stdout)["findings"] if one["check"] in ("broker", "clock")}


async def test_a_replica_that_takes_over_is_followed(installation: Installation, broker: Watched):
    """Everything that was answered 200 takes effect once; hints and `doctor` reach the new master."""
    async with installation.up("serve"), installation.up("work"), client(installation) as service:
        burst = sign_burst(installation, notifications=150, seed=11)
        await tell_all(service, burst)
        store = installation.store()
        pouring = asyncio.create_task(pour(service, burst.shots[:100]))
        assert await until(lambda: count(store, "processed") >= 20, every_seconds=0.005)

        await asyncio.to_thread(broker.kill_master)

        taken = await pouring | await pour(service, burst.shots[100:])
        assert 150 == len(taken)
        await assert_each_took_effect_once(service, burst, set(taken))
        store.close()

        assert await service.healthy()
        swept = said(installation, "sweep.requeued")
        last = sign_burst(installation, notifications=2, seed=12)
        await tell_all(service, last)
        await assert_each_took_effect_once(service, last, set(await pour(service, last.shots)))
        assert swept == said(installation, "sweep.requeued"), "no hint arrived: the sweeper had to find it"
        assert 0 == await service.metric('clawback_queue_messages{queue="notifications",state="dead"}')
        assert {"ok"} == await asyncio.to_thread(examined, installation)
