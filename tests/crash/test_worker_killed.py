"""Whatever is killed, whenever: what was answered 200 takes effect, and takes effect once.

Real: every process, the broker, the database, the signatures, the app's backend, SIGKILL. Doubles: none. What may be
asserted: rows, events, what arrived at the backend; never when, beyond a deadline.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.crash.burst import assert_each_took_effect_once, count, kill, pour, rest, sign_burst, tell_all
from tests.crash.judge import assert_backend_heard
from tests.e2e.running import Installation, Service, install, until
from tests.worker.backend import Backend
from worker.store.engine import Store

pytestmark = [pytest.mark.crash, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


@dataclass(frozen=True)
class House:
    """A running installation with a backend that listens."""

    installation: Installation
    service: Service
    backend: Backend
    store: Store


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory) -> AsyncIterator[House]:
    """Run everything once; each test has customers of its own."""
    async with Backend() as backend:
        installation = install(tmp_path_factory.mktemp("house"), backend=backend.url)
        backend.secrets = installation.settings.subscribers[0].secrets
        store = installation.store()
        async with installation.service() as service:
            yield House(installation, service, backend, store)
        store.close()


async def test_killed_worker_loses_and_repeats_nothing(house):
    """A worker killed in the middle of 500 notifications is replaced, and all 500 are processed once."""
    burst = sign_burst(house.installation, notifications=500, seed=500)
    await tell_all(house.service, burst)
    before = count(house.store, "processed")

    pouring = asyncio.create_task(pour(house.service, burst.shots[:400]))
    assert await until(lambda: count(house.store, "processed") >= before + 50, every_seconds=0.005)
    _, more = await asyncio.gather(kill(house.installation, "work"), pour(house.service, burst.shots[400:]))
    taken = await pouring | more

    assert 500 == len(taken)
    told = await assert_each_took_effect_once(house.service, burst, set(taken))
    await assert_backend_heard(house.backend, told)


async def test_killed_broker_loses_and_repeats_nothing(house):
    """A broker killed in the middle is replaced; meanwhile platforms get their 200, and each takes effect once."""
    burst = sign_burst(house.installation, notifications=200, seed=200)
    await tell_all(house.service, burst)
    before = count(house.store, "processed")

    pouring = asyncio.create_task(pour(house.service, burst.shots[:100]))
    assert await until(lambda: count(house.store, "processed") >= before + 20, every_seconds=0.005)
    _, more = await asyncio.gather(kill(house.installation, "valkey"), pour(house.service, burst.shots[100:]))
    taken = await pouring | more

    assert (200, {0}) == (len(taken), set(taken.values()))
    assert "queue.unavailable" in {line["event"] for line in house.installation.lines()}, "nobody missed the broker"
    await assert_each_took_effect_once(house.service, burst, set(taken))


async def test_emptied_queue_loses_nothing(house):
    """A queue that forgets everything while rows are waiting costs time: the sweeper finds each of them."""
    burst = sign_burst(house.installation, notifications=100, seed=100)
    await tell_all(house.service, burst)
    # A worker that is stopped while it writes would hold the database for as long.
    await rest(house.store)
    worker = house.installation.processes()["work"]

    os.kill(worker, signal.SIGSTOP)
    try:
        taken = await pour(house.service, burst.shots)
        assert len(taken) == count(house.store, "accepted")
        assert await house.service.metric('clawback_queue_messages{queue="notifications",state="ready"}') > 0
        with house.installation.broker() as broker:
            assert broker.flushall()
    finally:
        os.kill(worker, signal.SIGCONT)

    await assert_each_took_effect_once(house.service, burst, set(taken))


async def test_killed_endpoint_forgets_no_answer(house):
    """What an endpoint said 200 to before it was killed is there; who got no answer repeats, and is there once."""
    burst = sign_burst(house.installation, notifications=300, seed=300)
    await tell_all(house.service, burst)
    before = count(house.store, "accepted", "processed")

    pouring = asyncio.create_task(pour(house.service, burst.shots))
    assert await until(lambda: count(house.store, "accepted", "processed") >= before + 50, every_seconds=0.005)
    await kill(house.installation, "serve")
    taken = await pouring

    assert sum(taken.values()) > 0, "nobody was cut off"
    assert len(burst.shots) == len(taken)
    assert len(taken) == count(house.store, "accepted", "processed") - before
    await assert_each_took_effect_once(house.service, burst, set(taken))
