"""Customers who buy and get their money back, somebody who kills workers, and an operator who retries what is stuck."""

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Self

from sqlalchemy import func, select

from tests.crash.burst import CLIENTS, count, running
from tests.e2e.running import Installation, Service, until
from tests.soak.audit import Case, Row
from tests.soak.listeners import TIMEOUT_SECONDS, Listener
from worker.demo.trust import APP
from worker.simulator.sale import Sale, Simulator
from worker.simulator.sales import DAY_MS, Till
from worker.simulator.stories import ALL
from worker.store.engine import Store
from worker.store.tables import attempts, deliveries

PURCHASES_EACH = 4
EVENTS_EACH = 8
"""At least so many come of that on the average, whatever overtakes what."""
WORKERS = 2
STUCK_MS = 30_000
"""What waits longer than that for its next attempt has failed twice, and waits five minutes."""
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Customer:
    """Somebody who buys things for ever, one after the other, and gets the money for each of them back."""

    platform: str
    sales: Sequence[Sale]

    async def live(self, service: Service, simulator: Simulator) -> None:
        """Have the platform tell of everything; each notification until it is taken."""
        for sale in self.sales:
            await service.tell(self.platform, sale)
            for say in (simulator.purchase, simulator.refund):
                await service.insist(self.platform, say(sale, time.time()))


def customers(number: int, random: Random) -> list[Customer]:
    """Make some up, on every platform."""
    bought_ms = int(time.time() * 1000) - DAY_MS
    found = []
    for at in range(number):
        platform = ALL[at % len(ALL)]
        user = str(uuid.UUID(int=random.getrandbits(128), version=4))
        till = Till(platform, random, user_id=user)
        sales = [
            till.sell(one, bought_ms=bought_ms, good="lifetime", role="again" if one else "period")
            for one in range(PURCHASES_EACH)
        ]
        found.append(Customer(platform, sales))
    return found


async def subscribe(service: Service, listener: Listener) -> str:
    """Make a backend a subscriber by the API, with a secret of its own; give its id."""
    wish = listener.wish
    wanted = {
        "app": APP,
        "url": listener.backend.url,
        "types": wish.types,
        "order": wish.order,
        "signature": wish.signature,
        "rate_per_second": wish.rate_per_second,
        "timeout_seconds": TIMEOUT_SECONDS,
        "allow_private": True,
        "secret": listener.secret,
    }
    async with service.http.post(f"{service.installation.url}/v1/subscribers", json=wanted) as response:
        assert 201 == response.status, await response.text()
        return str((await response.json())["id"])


async def pour(service: Service, told: Sequence[Customer]) -> None:
    """Let the customers live, some at a time."""
    simulators: dict[str, Simulator] = {platform: service.installation.simulator(platform) for platform in ALL}
    waiting = list(reversed(told))

    async def one_after_the_other() -> None:
        while waiting:
            customer = waiting.pop()
            await customer.live(service, simulators[customer.platform])

    await asyncio.gather(*(one_after_the_other() for _ in range(CLIENTS)))


async def kill_workers(
    installation: Installation, when: Sequence[int], heard: Callable[[], int], random: Random
) -> list[float]:
    """Kill some worker each time that so much was heard and all are running; tell when that was, in Unix seconds."""
    kills = []
    for much in sorted(when):
        while heard() < much:  # noqa: ASYNC110 - the test's own deadline ends this
            await asyncio.sleep(0.01)
        victims = await asyncio.to_thread(_workers, installation)
        kills.append(time.time())
        os.kill(random.choice(victims), signal.SIGKILL)
    return kills


def _workers(installation: Installation) -> list[int]:
    """Wait until all workers are running."""
    deadline = time.monotonic() + 60
    while len(found := running(installation, "worker.cli work")) < WORKERS:
        assert time.monotonic() < deadline, f"only {found} came back"
        time.sleep(0.05)
    return sorted(found)


@dataclass
class Operator:
    """Retries what failed twice by the API, as anybody would who does not want to wait for five minutes.

    Attributes:
        retried: deliveries.
    """

    service: Service
    store: Store
    retried: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Self]:
        """Look twice a second meanwhile."""
        watching = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch(self) -> None:
        while True:
            for delivery, subscriber in await asyncio.to_thread(self._stuck):
                path = f"/v1/subscribers/{subscriber}/deliveries/{delivery}/retry"
                async with self.service.http.post(f"{self.service.installation.url}{path}") as response:
                    assert 200 == response.status, await response.text()
                self.retried.append(delivery)
            await asyncio.sleep(LOOK_SECONDS)

    def _stuck(self) -> list[tuple[str, str]]:
        d, now_ms = deliveries.c, int(time.time() * 1000)
        twice = (d.attempts >= 2, d.next_attempt_ms > now_ms + STUCK_MS, d.claimed_until_ms <= now_ms)
        with self.store.read() as connection:
            found = connection.execute(select(d.id, d.subscriber).where(d.status == "pending", *twice))
            return [(row.id, row.subscriber) for row in found]


async def settled(store: Store, seconds: float) -> bool:
    """Wait until every notification is understood and every delivery is finished."""
    waiting = select(func.count()).where(deliveries.c.status == "pending")

    def idle() -> bool:
        with store.read() as connection:
            return not count(store, "accepted") and not connection.execute(waiting).scalar_one()

    return await until(idle, seconds, every_seconds=LOOK_SECONDS)


async def cases(service: Service, store: Store, told: Mapping[str, Listener], kills: Sequence[float]) -> list[Case]:
    """Gather what is known of each: subscriber's id → backend."""
    feed = await service.every("/v1/events")
    return [Case(one.wish, feed, one.arrivals, *_recorded(store, id_), kills) for id_, one in told.items()]


def _recorded(store: Store, subscriber: str) -> tuple[list[Row], dict[str, str]]:
    """Read every attempt at a subscriber, and how each of its deliveries stands."""
    d, a = deliveries.c, attempts.c
    mine = d.subscriber == subscriber
    made = select(d.event_id, a.attempted_at_ms, a.status_code, a.error).where(mine, a.delivery == d.id).order_by(a.id)
    with store.read() as connection:
        stand = {row.event_id: row.status for row in connection.execute(select(d.event_id, d.status).where(mine))}
        return [Row(*row) for row in connection.execute(made)], stand
