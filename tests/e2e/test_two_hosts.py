"""What two endpoints and two hosts of workers count adds up: nothing twice, nothing of a worker that died forgotten.

Real: every process (two of each command), each host with a data directory and ports of its own, one PostgreSQL, one
broker, HTTP, keys, signatures, the subscriber, SIGKILL. Doubles: none. What may be asserted: samples of `/metrics`.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import aiohttp
import pytest
import pytest_asyncio

from tests.cli.processes import belonging_to, clawback
from tests.clusters import Cluster
from tests.e2e.running import DONE_SECONDS_MAX, Installation, client, install, till, until
from tests.e2e.watching import Scraped, read
from tests.worker.backend import Backend
from worker.simulator.sale import Shot
from worker.valkey import EmbeddedValkey

pytestmark = [pytest.mark.e2e, pytest.mark.crash, pytest.mark.asyncio(loop_scope="module")]

EACH = 20
"""New notifications at each endpoint, before and after a worker dies."""
TWICE = 6
"""So many of those are told to the other endpoint, too."""
ENDS = ("processed", "ignored", "quarantined", "dead")


@dataclass
class Hosts:
    """Two endpoints, two hosts of workers, and what was scraped of each in the end.

    Attributes:
        sent: endpoint → how many were new there.
        delivered: POSTs that the subscriber took.
    """

    sent: dict[str, int] = field(default_factory=dict)
    delivered: int = 0
    told: Mapping[str, Scraped] = field(default_factory=dict)

    def sum(self, name: str, **labels: str) -> float:
        """Add up over all hosts, as the rules do."""
        return sum(scraped.sum(name, **labels) for scraped in self.told.values())


def host(base: Installation, name: str, url: str, broker: str) -> Installation:
    """Make a host with the same configuration, and everything else its own."""
    home = base.home.parent / name
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as serve, socket.create_server(("127.0.0.1", 0)) as work:
        ports = serve.getsockname()[1], work.getsockname()[1]
    environment = {
        "CLAWBACK_STORE__URL": url,
        "CLAWBACK_BROKER__URL": broker,
        "CLAWBACK_SERVER__PORT": str(ports[0]),
        "CLAWBACK_WORK__METRICS_PORT": str(ports[1]),
    }
    settings = base.settings.model_copy(
        update={
            "server": base.settings.server.model_copy(update={"port": ports[0]}),
            "work": base.settings.work.model_copy(update={"metrics_port": ports[1]}),
        }
    )
    return replace(base, home=home, settings=settings, environment=environment)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosts(tmp_path_factory, postgresql: Cluster) -> AsyncIterator[Hosts]:
    """Send to both endpoints, some to both, kill a worker between; scrape when all is done."""
    directory: Path = tmp_path_factory.mktemp("hosts")
    (directory / "base").mkdir()
    database = postgresql.new()
    async with Backend() as backend, AsyncExitStack() as stack:
        base = install(directory / "base", backend=backend.url)
        backend.secrets = base.settings.subscribers[0].secrets
        broker = EmbeddedValkey(base.home)
        broker.start()
        stack.callback(broker.stop)
        made = {name: host(base, name, postgresql.url(database), broker.url) for name in ("a", "b", "w", "v")}
        environment = dict(made["a"].environment)
        assert 0 == clawback("migrate", *made["a"].options, environment=environment).returncode
        for name in ("a", "b"):
            await stack.enter_async_context(made[name].up("serve", "--processes", "2"))
        for name in ("w", "v"):
            await stack.enter_async_context(made[name].up("work", "--processes", "2"))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        found = Hosts()
        await send(base, made, found, 0)
        await quiet(http, made)
        await kill_a_worker(made["w"])
        await send(base, made, found, 2 * EACH)
        found.told = await quiet(http, made)
        found.delivered = len({told.id for told in backend.told})
        yield found


async def send(base: Installation, made: Mapping[str, Installation], found: Hosts, first: int) -> None:
    """Tell of so many purchases at each endpoint, and some of them to the other one as well."""
    apple = base.simulator("apple")
    bought_ms = int(time.time() * 1000) - 86_400_000
    for number, (here, there) in enumerate((("a", "b"), ("b", "a"))):
        seeds = range(first + number * EACH, first + (number + 1) * EACH)
        shots = [apple.purchase(till("apple", Random(s)).sell(s, bought_ms=bought_ms), time.time()) for s in seeds]
        await post_all(made[here], shots, duplicate=False)
        await post_all(made[there], shots[:TWICE], duplicate=True)
        found.sent[here] = found.sent.get(here, 0) + len(shots)


async def post_all(at: Installation, shots: list[Shot], *, duplicate: bool) -> None:
    """POST each, at the same time, and hear whether it was known."""
    async with client(at) as service:
        answers = await asyncio.gather(*(service.post("apple", shot) for shot in shots))
    assert [(200, duplicate)] * len(shots) == [(status, body["duplicate"]) for status, body in answers]


async def kill_a_worker(at: Installation) -> None:
    """Kill one of two that have nothing to do, and wait for the one that takes its place."""

    def workers() -> set[int]:
        return {pid for pid, command in belonging_to(at.home).items() if "--share-port" in command}

    before = workers()
    assert 2 == len(before)
    os.kill(min(before), signal.SIGKILL)
    assert await until(lambda: len(workers() - before) == 1)


async def quiet(http: aiohttp.ClientSession, made: Mapping[str, Installation]) -> Mapping[str, Scraped]:
    """Scrape every host until nothing waits and nothing is in flight, at any of them."""
    deadline = time.monotonic() + DONE_SECONDS_MAX
    while time.monotonic() < deadline:
        told = {name: await scrape(http, at, name) for name, at in made.items()}
        waiting = ("clawback_inbox_pending", "clawback_notifications_in_flight", "clawback_subscriber_backlog")
        if not sum(told[name].sum(which) for name in "ab" for which in waiting):
            return told
        await asyncio.sleep(0.2)
    raise AssertionError("it never came to rest")


async def scrape(http: aiohttp.ClientSession, at: Installation, name: str) -> Scraped:
    """Scrape one target, on a connection of its own: siblings share the port."""
    port = at.settings.server.port if name in "ab" else at.settings.work.metrics_port
    async with http.get(f"http://127.0.0.1:{port}/metrics", headers={"Connection": "close"}) as response:
        assert 200 == response.status
        return read(await response.text())


async def test_what_both_endpoints_accepted_adds_up(hosts: Hosts):
    """Each endpoint counts what came to it, over its processes; what was told to the other before is a duplicate."""
    for name in ("a", "b"):
        counted = hosts.told[name]
        assert 2 * EACH == hosts.sent[name] == counted.sum("clawback_notifications_total", outcome="accepted")
        assert 2 * TWICE == counted.sum("clawback_notifications_total", outcome="duplicate")
    assert 4 * EACH == hosts.sum("clawback_notifications_total", outcome="accepted")


async def test_what_all_workers_finished_is_what_was_accepted(hosts: Hosts):
    """Over four workers on two hosts, one of which was killed, each notification is finished once and counted once."""
    finished = sum(hosts.sum("clawback_notifications_processed_total", status=status) for status in ENDS)

    assert 4 * EACH == finished
    assert 4 * EACH == hosts.sum("clawback_receive_to_effect_seconds_count")
    assert 4 * EACH == hosts.sum("clawback_entitlement_changes_total", type="entitlement.granted")


async def test_received_is_ended_and_in_flight_at_each_endpoint(hosts: Hosts):
    """Each endpoint saw each of its own end, whichever host worked on it; nothing is lost or unaccounted for."""
    for name in ("a", "b"):
        ended = {end: hosts.told[name].sum("clawback_notifications_ended_total", status=end) for end in (*ENDS, "lost")}
        assert {**dict.fromkeys((*ENDS, "lost"), 0.0), "processed": 2 * EACH} == ended
    balance = hosts.sum("clawback_notifications_ended_total") + hosts.sum("clawback_notifications_in_flight")
    assert 4 * EACH == balance


async def test_every_delivery_is_counted_by_who_made_it(hosts: Hosts):
    """What workers of both hosts delivered is what the subscriber got."""
    assert 4 * EACH == hosts.delivered == hosts.sum("clawback_deliveries_total", outcome="delivered")


async def test_what_is_true_of_the_store_is_told_alike_by_endpoints_alone(hosts: Hosts):
    """Both endpoints tell the same of database and broker, so that one takes the max; workers tell nothing of it."""
    for name in ("clawback_inbox_pending", "clawback_quarantined", "clawback_dead", "clawback_refunds_unmatched"):
        assert 1 == len(hosts.told["a"].of(name))
        assert hosts.told["a"].of(name) == hosts.told["b"].of(name)
        assert [] == [*hosts.told["w"].of(name), *hosts.told["v"].of(name)]
