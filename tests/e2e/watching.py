"""A night in which everything that is counted and timed happens, on an endpoint and two workers started apart.

Real: every process, the broker, the database, HTTP, keys, signatures, the subscriber, SIGKILL. Doubles: none; one row
becomes dead by hand, as only a mistake of ours would make it so.
"""

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import aiohttp
from aiohttp import web

from tests.cli.processes import belonging_to
from tests.e2e.running import DONE_SECONDS_MAX, Installation, Service, client, install, till, until
from tests.worker.backend import Backend, ok
from worker.demo.trust import APP
from worker.simulator.sale import Sale, Shot
from worker.simulator.stories import ALL
from worker.simulator.stripe import sign
from worker.store.tables import notifications

WORKERS = 2
SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Scraped:
    """What a target answered: name, labels and value of every sample."""

    samples: tuple[tuple[str, Mapping[str, str], float], ...]

    def of(self, name: str, **labels: str) -> list[float]:
        """List the values of a name under these labels."""
        return [value for at, its, value in self.samples if at == name and labels.items() <= its.items()]

    def sum(self, name: str, **labels: str) -> float:
        """Add up the values of a name under these labels."""
        return sum(self.of(name, **labels))

    def __add__(self, other: "Scraped") -> "Scraped":
        """Look at two targets as one."""
        return Scraped((*self.samples, *other.samples))


def read(page: str) -> Scraped:
    """Read the text format of Prometheus."""
    found = (SAMPLE.fullmatch(line) for line in page.splitlines() if not line.startswith("#"))
    parts = ((one["name"], dict(LABEL.findall(one["labels"] or "")), float(one["value"])) for one in found if one)
    return Scraped(tuple(parts))


@dataclass
class Night:
    """The running system."""

    installation: Installation
    service: Service
    backend: Backend
    work_url: str

    async def scrape(self, url: str) -> Scraped:
        """Scrape a target, on a connection of its own: siblings share the port."""
        async with self.service.http.get(f"{url}/metrics", headers={"Connection": "close"}) as response:
            assert 200 == response.status
            return read(await response.text())

    async def scrape_both(self) -> Scraped:
        """Scrape the endpoint and the workers."""
        return await self.scrape(self.installation.url) + await self.scrape(self.work_url)

    async def scrape_until(self, so: Callable[[Scraped], bool]) -> Scraped:
        """Scrape both until something is so; workers that were killed are away for a moment."""
        deadline = time.monotonic() + DONE_SECONDS_MAX
        while time.monotonic() < deadline:
            with suppress(aiohttp.ClientError):
                if so(scraped := await self.scrape_both()):
                    return scraped
            await asyncio.sleep(0.05)
        raise AssertionError("it did not come to that")

    async def sell_and_refund(self, seed: int) -> None:
        """Sell something on each platform, and pay it back."""
        for platform in ALL:
            simulator, sale = self.installation.simulator(platform), a_sale(platform, seed)
            await self.service.tell(platform, sale)
            for shot in (simulator.purchase(sale, time.time()), simulator.refund(sale, time.time())):
                assert 200 == (await self.service.post(platform, shot))[0]

    async def refuse(self) -> None:
        """Have each kind of mistake refused at the door, and a repetition taken."""
        simulator = self.installation.simulator("stripe")
        good = simulator.refund(a_sale("stripe", 1000), time.time())
        assert 200 == (await self.service.post("stripe", good))[0]
        assert 200 == (await self.service.post("stripe", good))[0]
        refused = [good, replace(good, body=b""), replace(good, body=b"x" * 2**21)]
        refused += [shot for _, shot in simulator.forge(good, time.time())]
        for shot in refused[1:]:
            assert 400 <= (await self.service.post("stripe", shot))[0] < 500
        store = self.installation.store()
        with store.write():  # nobody else writes now
            late = simulator.refund(a_sale("stripe", 1001), time.time())
            assert 503 == (await self.service.post("stripe", late))[0]
        store.close()

    async def puzzle(self) -> None:
        """Send what needs nothing and what nobody understands, and have a notification dead."""
        for type_ in ("customer.created", "charge.refunded", "charge.dispute.created"):
            status, answer = await self.service.post("stripe", _strange(self.installation, type_))
            assert 200 == status, answer
            await self.service.finished(answer["id"])
        store = self.installation.store()
        with store.write() as connection:
            connection.execute(notifications.update().values(status="dead").where(notifications.c.id == answer["id"]))
        store.close()

    async def kill_workers(self) -> None:
        """Kill each worker once, and wait for those who take their place."""
        before = self.workers()
        assert WORKERS == len(before)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert await until(lambda: len(self.workers() - before) == WORKERS)

    def workers(self) -> set[int]:
        """List the workers' processes."""
        found = belonging_to(self.installation.home).items()
        return {pid for pid, command in found if "worker.cli work" in command and "--share-port" in command}


@asynccontextmanager
async def fall(directory: Path) -> AsyncIterator[Night]:
    """Start the broker and the endpoint; workers come with `working`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"CLAWBACK_WORK__METRICS_PORT": str(port), "CLAWBACK_STORE__WAIT_TIMEOUT_SECONDS": "0.5"}
    async with Backend(lambda _: web.Response(status=500)) as backend:
        installation = install(directory, backend=backend.url, environment=environment)
        backend.secrets = installation.settings.subscribers[0].secrets
        with installation.parts():
            async with installation.up("serve"), client(installation) as service:
                yield Night(installation, service, backend, f"http://127.0.0.1:{port}")


@asynccontextmanager
async def working(night: Night) -> AsyncIterator[None]:
    """Have two workers under one supervisor."""
    async with night.installation.up("work", "--processes", str(WORKERS)):
        yield


def recover(night: Night) -> None:
    """Have the backend answer as it should from now on."""
    night.backend.answer = ok


def a_sale(platform: str, seed: int) -> Sale:
    """Sell something to somebody."""
    bought_ms = int(time.time() * 1000) - 86_400_000
    return till(platform, Random(seed)).sell(0, bought_ms=bought_ms, subscription=platform != "amazon")


def _strange(installation: Installation, type_: str) -> Shot:
    """Sign an event of Stripe whose object is none that anybody knows."""
    section = installation.settings.apps[APP].stripe
    assert section
    event = {"id": f"evt_{type_}", "object": "event", "type": type_, "created": int(time.time())}
    what = {"livemode": section.livemode, "data": {"object": {"object": "riddle"}}}
    body = json.dumps({**event, **what}).encode()
    return Shot(type_, body, {"Stripe-Signature": sign(body, secret=section.webhook_secrets[0], now=time.time())})
