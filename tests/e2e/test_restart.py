"""A stop is no event: what was there before is there after, and in between there is no process.

Real: every process, the broker, the database, the signals. Doubles: none. What may be asserted: what the API answers,
which processes are there, exit codes, the log.
"""

import asyncio
import signal
import time
from random import Random
from typing import Any

import pytest

from tests.cli.processes import belonging_to
from tests.e2e.running import Service, end, install, till, until
from worker.simulator.sales import DAY_MS
from worker.simulator.stories import ALL

pytestmark = [pytest.mark.e2e, pytest.mark.crash]

EVERYTHING = ("/v1/refunds", "/v1/purchases", "/v1/events", "/v1/notifications")


async def story_of(service: Service, platform: str, *, seed: int) -> str:
    """Sell a month and pay it back; give the customer."""
    simulator = service.installation.simulator(platform)
    bought_ms = int(time.time() * 1000) - 5 * DAY_MS
    sale = till(platform, Random(seed)).sell(0, bought_ms=bought_ms, subscription=platform != "amazon")
    await service.tell(platform, sale)
    await service.told(platform, simulator.purchase(sale, time.time()))
    await service.told(platform, simulator.refund(sale, time.time()))
    return sale.user_id


async def everything(service: Service) -> dict[str, Any]:
    """Read all that the API has to tell."""
    return {path: await service.every(path) for path in EVERYTHING}


async def test_restart_keeps_everything(tmp_path):
    """After a stop there is no process and exit code 0; after a start the same answers, and work goes on."""
    installation = install(tmp_path)
    async with installation.service() as service:
        customers = [await story_of(service, platform, seed=1) for platform in ALL]
        before = await everything(service)
        await stop(service, signal.SIGINT)

    async with installation.service() as service:
        assert before == await everything(service)
        for customer in customers:
            (entitlement,) = await service.every(f"/v1/customers/{customer}/entitlements")
            assert "revoked" == entitlement["status"]
        await story_of(service, "stripe", seed=2)
        assert len(before["/v1/refunds"]) + 1 == len(await service.every("/v1/refunds"))
        await stop(service, signal.SIGTERM)

    text = installation.log.read_text("utf-8")
    assert (2, 2) == (text.count('"serve.stopped"'), text.count('"work.stopped"'))
    assert "Traceback" not in text


async def stop(service: Service, number: signal.Signals) -> None:
    """Stop everything like an operator; no process may be left."""
    home = service.installation.home
    assert service.process
    assert 0 == await asyncio.to_thread(end, service.process, number)
    assert await until(lambda: not belonging_to(home)), belonging_to(home)
