"""A running installation, a crowd that storms it and a crowd that goes on as ever, and how to tell that it is over."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import select

from tests.benchmarks.load import request
from tests.clusters import Cluster
from tests.crash.burst import running
from tests.e2e.running import Installation, Service, client, install, till
from tests.overload.crowd import Crowd, Heard
from worker.demo.trust import APP
from worker.serve import raise_open_files
from worker.simulator.sales import DAY_MS
from worker.store import tables

CONNECTIONS, OTHERS = 600, 24
WAIT_SECONDS_MAX = 10.0
"""Pub/Sub gives up after ten seconds, before all others; `[door] wait_seconds` is 2 on a machine that is ours alone."""
CALM_SECONDS_MAX = 10.0
CALM, USUAL_SECONDS_MAX = 10, 1.0
"""So many answers in a row are as usual, or it is not over."""


@dataclass
class Scene:
    """An installation, and who sends to it.

    Attributes:
        database: a connection of psycopg's, in autocommit, to make its store slow.
    """

    installation: Installation
    service: Service
    storm: Crowd
    others: Crowd
    database: Any = field(repr=False)

    @property
    def serve(self) -> int:
        """Name the endpoint's process."""
        (found,) = running(self.installation, "worker.cli serve")
        return found


@asynccontextmanager
async def scene(
    directory: Path, cluster: Cluster, *, storm: int, others: int, chosen: Mapping[str, str] | None = None
) -> AsyncIterator[Scene]:
    """Run everything, with this much to send in hand.

    Args:
        directory: a new one.
        cluster: where its database is made.
        storm: how many of Stripe's notifications.
        others: how many of Amazon's.
        chosen: more configuration, as an operator would give it.
    """
    raise_open_files()
    name = cluster.new()
    installation = install(directory, environment={"CLAWBACK_STORE__URL": cluster.url(name), **(chosen or {})})
    port = installation.settings.server.port
    crowds = Crowd(port, pile(installation, "stripe", storm)), Crowd(port, pile(installation, "amazon", others))
    try:
        async with installation.up("run", "--json") as process, client(installation) as service:
            service.process = process
            with cluster.connect(name) as connection:
                yield Scene(installation, service, *crowds, connection)
    finally:
        for crowd in crowds:
            crowd.disperse()
        cluster.drop(name)


def pile(installation: Installation, platform: str, size: int) -> list[bytes]:
    """Sign purchases, as they go over the wire."""
    now, random, simulator = time.time(), Random(platform), installation.simulator(platform)
    sales = [till(platform, random).sell(0, bought_ms=int(now * 1000) - 5 * DAY_MS) for _ in range(size)]
    shots = [simulator.purchase(sale, now) for sale in sales]
    return [request(f"/webhooks/{platform}/{APP}", shot.body, shot.headers) for shot in shots]


async def calm_again(here: Scene) -> float:
    """Send one at a time until all is as usual; give the seconds that took."""
    began, calm = time.monotonic(), 0
    while calm < CALM and time.monotonic() - began < 2 * CALM_SECONDS_MAX:
        for crowd in (here.storm, here.others):
            refused, heard = crowd.heard.statuses[503], len(crowd.heard.waits)
            await crowd.storm(100, 0.01)
            taken = len(crowd.heard.waits) > heard and crowd.heard.statuses[503] == refused
            calm = calm + 1 if taken and crowd.heard.waits[-1] < USUAL_SECONDS_MAX else 0
    return time.monotonic() - began


def assert_answered(heard: Heard) -> None:
    """Everybody has an answer, 200 or 503 with the time to come again, and whoever was taken had it soon."""
    assert {200, 503} >= set(heard.statuses), heard.statuses
    assert 0 == heard.rude
    assert heard.waits
    assert heard.wait_seconds(0.99) <= WAIT_SECONDS_MAX


def kept(installation: Installation) -> set[str]:
    """Read the ids of all that is stored of both platforms by these crowds."""
    store = installation.store()
    try:
        with store.read() as connection:
            return set(connection.execute(select(tables.notifications.c.id)).scalars())
    finally:
        store.close()


def told(name: str, heard: Heard) -> list[str]:
    """Say what a crowd heard, for docs/reliability.md."""
    waits = f"p50 {heard.wait_seconds(0.5):.2f} s, p99 {heard.wait_seconds(0.99):.2f} s"
    return [
        f"{name}: 200 {heard.statuses[200]:,} ({waits}), 503 {heard.statuses[503]:,} {dict(heard.reasons)}",
        f"{name}: sent {heard.sent:,}, held back {heard.held_back:,}",
    ]
