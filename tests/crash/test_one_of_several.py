"""One process of several dies, or is asked to stop: its siblings never notice, and what it had begun is finished.

Real: every process, the broker, the database, the signatures, signals. Doubles: none. What may be asserted: which
processes are there, what HTTP answers, rows; never when, beyond a deadline.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random

import pytest

from tests.cli.processes import belonging_to, clawback
from tests.crash.burst import assert_each_took_effect_once, count, pour, running, sign_burst, tell_all
from tests.e2e.running import Installation, Service, client, install, till, until
from worker.simulator.sale import Shot
from worker.simulator.sales import DAY_MS

pytestmark = [pytest.mark.crash, pytest.mark.e2e]


async def test_dead_worker_does_not_take_its_sibling_down(tmp_path, store_url):
    """One of two workers killed under load: the other works on, a third takes its place, and everything is finished."""
    installation = install(tmp_path, processes=2, environment={"CLAWBACK_STORE__URL": store_url})
    workers = "worker.cli work"
    async with installation.service() as service:
        burst = sign_burst(installation, notifications=240, seed=2)
        await tell_all(service, burst)
        store = installation.store()
        pouring = asyncio.create_task(pour(service, burst.shots))
        assert await until(lambda: count(store, "processed") >= 30, every_seconds=0.005)
        store.close()
        victim, sibling = running(installation, workers)

        os.kill(victim, signal.SIGKILL)

        taken = await pouring
        await assert_each_took_effect_once(service, burst, set(taken))
        assert await until(lambda: len(running(installation, workers) - {victim}) == 2)
        assert sibling in running(installation, workers)


def said(installation: Installation, event: str) -> int:
    """Count the lines of a kind that its processes logged."""
    return sum(line["event"] == event for line in installation.lines())


def bought(installation: Installation, number: int) -> Shot:
    """Sign a purchase."""
    sale = till("stripe", Random(number)).sell(0, bought_ms=int(time.time() * 1000) - DAY_MS)
    return installation.simulator("stripe").purchase(sale, time.time())


@pytest.fixture(name="shared")
async def _shared(tmp_path) -> AsyncIterator[tuple[Installation, Service]]:
    """Run two endpoints on one port, and no worker: they need neither it nor a broker to take notifications."""
    environment = {
        "CLAWBACK_BROKER__URL": f"unix://{tmp_path}/nobody.sock",
        "CLAWBACK_SERVER__BODY_TIMEOUT_SECONDS": "60",
        "CLAWBACK_STORE__WAIT_TIMEOUT_SECONDS": "60",
    }
    installation = install(tmp_path, environment=environment)
    assert 0 == clawback("migrate", *installation.options).returncode
    async with installation.up("serve", "--processes", "2") as process, client(installation) as service:
        assert await until(lambda: said(installation, "serve.started") == 2)
        yield installation, replace(service, process=process)


async def test_dead_endpoint_is_replaced_behind_the_same_port(shared):
    """One of two endpoints killed: the port answers on, and soon there are two again, the sibling one of them."""
    installation, service = shared
    victim, sibling = running(installation, "--share-port")

    os.kill(victim, signal.SIGKILL)

    taken = [await service.insist("stripe", bought(installation, number)) for number in range(5)]
    assert 5 == len({notification for notification, _ in taken})
    assert await until(lambda: len(running(installation, "--share-port") - {victim}) == 2)
    assert sibling in running(installation, "--share-port")


async def test_stop_lets_commits_finish(shared):
    """Asked to stop, endpoints still answer whose notification is being committed, and end with code 0."""
    installation, service = shared
    store = installation.store()
    with store.write():
        posting = asyncio.create_task(service.post("stripe", bought(installation, 1)))
        # Once it is verified it waits for the database, in the same step.
        while await service.metric('clawback_verify_seconds_count{platform="stripe"}') < 1:  # noqa: ASYNC110 - it is another process's news
            await asyncio.sleep(0.02)
        assert not posting.done()
        service.process.terminate()
        assert await until(lambda: said(installation, "serve.stopping") == 2)

    status, answer = await posting
    assert (200, 1) == (status, count(store, "accepted")), answer
    store.close()
    assert 0 == await asyncio.to_thread(service.process.wait, 30)
    assert not belonging_to(installation.home)
