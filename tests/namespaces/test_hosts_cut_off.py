"""Six hosts with addresses of their own, and one after the other is cut off and brought back in the middle of traffic.

Real: network namespaces, TCP, every process, the database, the broker, signatures, cables that are pulled. Doubles: the
balancer before the endpoints, which is a client that asks the other one when one does not answer; the app's backend,
which only remembers. Asserted: rows, and what arrived.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select

from tests.crash.burst import Burst, assert_each_took_effect_once, count, sign_burst, tell_all
from tests.e2e.running import Service, client, until
from tests.namespaces.hosts import Network, network, why_not
from tests.namespaces.shop import NAMES, SILENT_SECONDS, House, house
from worker.simulator.sale import Shot
from worker.store.tables import deliveries

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.environ.get("CLAWBACK_TEST_NAMESPACES"), reason="long: make test-namespaces, as root"),
]

CLIENTS = 12
ANSWER_SECONDS_MAX = 4.0
"""After so long a balancer asks another endpoint."""
CUT_SECONDS = SILENT_SECONDS + 2.0
"""Long enough for whoever is asked to give up whoever is silent."""
GIVEN_UP_SECONDS = 300.0
NOTIFICATIONS = 160


@pytest.fixture(name="hosts", scope="module")
def _hosts() -> Iterator[Network]:
    if reason := why_not():
        pytest.skip(reason)
    with network(*NAMES) as made:
        yield made


@pytest.fixture(name="heard")
async def _heard(hosts: Network) -> AsyncIterator[tuple[str, list[str]]]:
    """Be the app's backend, on the same network; give its address, and the ids of what arrives."""
    ids: list[str] = []

    async def hear(request: web.Request) -> web.Response:
        await request.read()
        ids.append(request.headers["webhook-id"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/refunds", hear)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, hosts.address, 0)
    await site.start()
    yield f"http://{hosts.address}:{runner.addresses[0][1]}/refunds", ids
    await runner.cleanup()


async def insist(doors: list[Service], platform: str, shot: Shot) -> str:
    """POST like a platform behind a balancer, until somebody says 200; give our id."""
    for turn in range(1_000):
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                status, body = await doors[turn % len(doors)].post(platform, shot)
            if status == 200:
                return str(body["id"])
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("nobody took it")


async def pour(doors: list[Service], burst: Burst) -> set[str]:
    """POST everything from several clients at once, each beginning with another endpoint."""
    waiting, taken = list(reversed(burst.shots)), set[str]()

    async def post_on(number: int) -> None:
        while waiting:
            platform, shot = waiting.pop()
            taken.add(await insist(doors[number % 2 :] + doors[: number % 2], platform, shot))
            await asyncio.sleep(0.2)  # so that traffic lasts longer than the cut

    await asyncio.gather(*(post_on(number) for number in range(CLIENTS)))
    return taken


def told(running: House) -> bool:
    """Tell whether every delivery has arrived."""
    store = running.doors[0].store()
    try:
        with store.read() as connection:
            return {"delivered"} == set(connection.execute(select(deliveries.c.status)).scalars())
    finally:
        store.close()


async def test_a_host_that_is_cut_off_loses_and_repeats_nothing(
    hosts: Network, tmp_path: Path, heard: tuple[str, list[str]]
):
    """Whichever of the six it is: what was answered 200 takes effect once, and everything is told."""
    backend, ids = heard
    expected: set[str] = set()
    with house(hosts, tmp_path, backend) as running:
        store = running.doors[0].store()
        async with AsyncExitStack() as stack:
            doors = [await stack.enter_async_context(client(door)) for door in running.doors]
            for number, name in enumerate(NAMES):
                burst = sign_burst(running.doors[0], notifications=NOTIFICATIONS, seed=100 + number)
                await tell_all(doors[0], burst)
                before = count(store, "processed")
                pouring = asyncio.create_task(pour(doors, burst))
                assert await until(lambda: count(store, "processed") >= before + 20, GIVEN_UP_SECONDS)  # noqa: B023 - called here

                hosts.hosts[name].cut_off()
                await asyncio.sleep(CUT_SECONDS)
                hosts.hosts[name].bring_back()

                taken = await pouring
                assert NOTIFICATIONS == len(taken), name
                expected |= {one.id for one in await assert_each_took_effect_once(doors[1], burst, taken)}
                assert await until(lambda: told(running), GIVEN_UP_SECONDS), name
        store.close()
        assert all(process.poll() is None for process in running.processes.values()), "a process did not survive it"

    assert expected <= set(ids)
