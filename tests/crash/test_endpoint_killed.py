"""An endpoint is killed while it follows what it said 200 to: the sum stays right, and nothing is called lost.

Real: every process, SQLite, the broker, signatures, HTTP, the scrape. Doubles: none.
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.crash.burst import count, kill, sign_burst
from tests.crash.figures import fault
from tests.e2e.running import Service, install, until

pytestmark = [pytest.mark.crash, pytest.mark.e2e]

TAKEN = 12


async def test_what_a_killed_endpoint_followed_is_unfollowed_and_not_lost(tmp_path: Path):
    """Its successor counts what nobody watches any more as unfollowed, workers finish it, and received adds up."""
    installation = install(tmp_path)
    async with installation.service() as service:
        shots = sign_burst(installation, notifications=TAKEN + 2, seed=20).shots
        worker = installation.processes()["work"]
        os.kill(worker, signal.SIGSTOP)
        try:
            while (await service.post(*shots[0]))[0] != 200:  # it holds the lock of a write in which it was stopped
                os.kill(worker, signal.SIGCONT)
                await asyncio.sleep(0.1)
                os.kill(worker, signal.SIGSTOP)
            for platform, shot in shots[1:TAKEN]:
                assert 200 == (await service.post(platform, shot))[0]
            fault("endpoint killed while it follows")
            await kill(installation, "serve")
            await back(service)
            assert {"received": TAKEN, "unfollowed": TAKEN} == await sums(service)
        finally:
            os.kill(worker, signal.SIGCONT)
        with_it = installation.store()
        for platform, shot in shots[TAKEN:]:
            await service.insist(platform, shot)
        assert await until(lambda: not count(with_it, "accepted"))
        with_it.close()

        async with asyncio.timeout(60):
            while "in_flight" in (seen := await sums(service)):  # noqa: ASYNC110 - it is another process's news
                await asyncio.sleep(0.1)
        assert (TAKEN + 2, TAKEN) == (seen.pop("received"), seen["unfollowed"])
        assert TAKEN + 2 == sum(seen.values())
        assert "lost" not in seen


async def back(service: Service) -> None:
    """Wait until the endpoint answers again."""
    async with asyncio.timeout(60):
        while True:
            with suppress(aiohttp.ClientError):
                await service.ask("/healthz")
                return
            await asyncio.sleep(0.1)


async def sums(service: Service) -> dict[str, float]:
    """Scrape what was received, is in flight, and came to which end, over all platforms, without what is 0."""
    async with service.http.get(f"{service.installation.url}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
    found: dict[str, float] = {}
    for sample in (each for family in families for each in family.samples):
        named = {
            "clawback_notifications_total": sample.labels.get("outcome") == "accepted" and "received",
            "clawback_notifications_in_flight": "in_flight",
            "clawback_notifications_ended_total": sample.labels.get("status"),
        }.get(sample.name)
        if named and sample.value:
            found[named] = found.get(named, 0) + sample.value
    return found
