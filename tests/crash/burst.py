"""Five hundred notifications at once, and the law that each of them takes effect once."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import func, select

from handlers.platforms import PLATFORMS
from schemas.meaning import Meaning
from schemas.resources import Event
from tests.cli.processes import belonging_to
from tests.e2e.running import Installation, Service, till, until
from worker.bodies import Bodies
from worker.demo.trust import APP
from worker.simulator.sale import Sale, Shot
from worker.simulator.sales import AMOUNT, DAY_MS
from worker.simulator.stories import ALL
from worker.store import tables
from worker.store.engine import Store

CLIENTS = 16


@dataclass(frozen=True)
class Burst:
    """Purchases and their refunds on every platform, signed in advance, in no order.

    Attributes:
        sales: one of each customer.
        shots: two of each sale.
    """

    sales: tuple[tuple[str, Sale], ...]
    shots: tuple[tuple[str, Shot], ...]

    @property
    def customers(self) -> set[str]:
        """Name everybody who bought something and got the money back."""
        return {sale.user_id for _, sale in self.sales}


def sign_burst(installation: Installation, *, notifications: int, seed: int) -> Burst:
    """Sign half as many purchases, and the refund of each."""
    random, now = Random(seed), time.time()
    speakers = {platform: installation.simulator(platform) for platform in ALL}
    sales, shots = [], []
    for number in range(notifications // 2):
        platform = ALL[number % len(ALL)]
        # Amazon calls money that went back so only for what was bought once.
        bought = till(platform, random).sell(
            0, bought_ms=int(now * 1000) - 5 * DAY_MS, subscription=platform != "amazon"
        )
        sales.append((platform, bought))
        shots.append((platform, speakers[platform].purchase(bought, now - 60)))
        shots.append((platform, speakers[platform].refund(bought, now)))
    random.shuffle(shots)
    return Burst(tuple(sales), tuple(shots))


async def tell_all(service: Service, burst: Burst) -> None:
    """Tell as the app's backend what platforms do not say."""
    await asyncio.gather(*(service.tell(platform, sale) for platform, sale in burst.sales))


async def pour(service: Service, shots: Sequence[tuple[str, Shot]]) -> dict[str, int]:
    """POST from several clients at once, each until it has a 200; give our ids, and how often each had no 200."""
    waiting, taken = list(reversed(shots)), dict[str, int]()

    async def post_on() -> None:
        while waiting:
            platform, shot = waiting.pop()
            notification, failed = await service.insist(platform, shot)
            taken[notification] = failed

    await asyncio.gather(*(post_on() for _ in range(CLIENTS)))
    return taken


def count(store: Store, *statuses: str) -> int:
    """Count the notifications that have one of these statuses."""
    statement = select(func.count()).where(tables.notifications.c.status.in_(statuses))
    with store.read() as connection:
        return int(connection.execute(statement).scalar_one())


async def rest(store: Store) -> None:
    """Wait until the workers have nothing to do, so that none of them is in the middle of a transaction."""
    waiting = select(func.count()).where(tables.deliveries.c.status == "pending")

    def idle() -> bool:
        with store.read() as connection:
            return not connection.execute(waiting).scalar_one()

    assert await until(lambda: idle() and not count(store, "accepted"))


def running(installation: Installation, mark: str) -> set[int]:
    """Find the processes that are the work of one sort, not their supervisors."""
    return {pid for pid, command in belonging_to(installation.home).items() if mark in command}


async def kill(installation: Installation, name: str) -> int:
    """Kill a process of an installation, wait until another does its work, and give that one's pid."""
    victim = installation.processes()[name]
    os.kill(victim, signal.SIGKILL)
    assert await until(lambda: installation.processes().get(name, victim) != victim)
    return installation.processes()[name]


async def assert_each_took_effect_once(service: Service, burst: Burst, ids: set[str]) -> list[Event]:
    """Wait until all are done, look for the trace of each in every table, and give what subscribers are told."""
    store = service.installation.store()
    try:
        assert await until(lambda: not count(store, "accepted"))
        _assert_done_once(store, service.installation, ids)
        _assert_money_back_once(store, burst)
        return _announced_once(store, burst)
    finally:
        store.close()


def _assert_done_once(store: Store, installation: Installation, ids: set[str]) -> None:
    """Every notification was finished by one attempt, and the ledger holds just what it said."""
    with store.read() as connection:
        statement = select(tables.notifications).where(tables.notifications.c.id.in_(ids))
        rows = connection.execute(statement).all()
        entered = Counter(connection.execute(select(tables.entries.c.notification)).scalars())
    assert len(ids) == len(rows)
    assert {("processed", 1): len(rows)} == Counter((row.status, row.attempts) for row in rows)
    bodies = installation.bodies()
    said = {row.id: _said(row, installation, bodies) for row in rows}
    assert said == {id_: entered[id_] for id_ in ids}


def _said(row: Any, installation: Installation, bodies: Bodies) -> int:
    """Count what a stored notification says."""
    platform = PLATFORMS[row.platform]
    settings = installation.settings.apps[APP].platform(row.platform)
    meaning = platform.normalize(
        platform.read(*bodies.take(row.id, row.body, json.loads(row.headers))), {}, settings=settings
    )
    assert isinstance(meaning, Meaning)
    return len(meaning.said)


def _assert_money_back_once(store: Store, burst: Burst) -> None:
    """Everybody has one purchase, one refund of all that was paid for it, and no access any more."""
    refunds, purchases, entitlements = tables.refunds.c, tables.purchases.c, tables.entitlements.c
    with store.read() as connection:
        refunded = _of(burst, connection.execute(select(refunds.user_id, refunds.status, refunds.amount)))
        bought = _of(burst, connection.execute(select(purchases.user_id, purchases.access, purchases.amount_refunded)))
        access = _of(burst, connection.execute(select(entitlements.user_id, entitlements.status)))
    customers = sorted(burst.customers)
    assert [(user, "succeeded", AMOUNT) for user in customers] == sorted(refunded)
    assert [(user, "revoked", AMOUNT) for user in customers] == sorted(bought)
    assert [(user, "revoked") for user in customers] == sorted(access)


def _of(burst: Burst, rows: Iterable[Any]) -> list[tuple[Any, ...]]:
    customers = burst.customers
    return [tuple(row) for row in rows if row[0] in customers]


def _announced_once(store: Store, burst: Burst) -> list[Event]:
    """Each change is told once, and everybody's events are numbered without a gap."""
    with store.read() as connection:
        documents = connection.execute(select(tables.events.c.document).order_by(tables.events.c.position)).scalars()
        events = [Event.model_validate_json(document) for document in documents]
    bought = {sale.purchase_id: sale.user_id for _, sale in burst.sales}
    own = [event for event in events if event.data.purchase and event.data.purchase.purchase_id in bought]
    told: dict[str, list[Event]] = {purchase: [] for purchase in bought}
    for event in own:
        assert event.data.purchase
        told[event.data.purchase.purchase_id].append(event)
    assert len(own) == len({event.id for event in own})
    for purchase, about in told.items():
        types = Counter(event.type for event in about)
        assert (1, 1) == (types["refund.succeeded"], types["entitlement.revoked"])
        assert types.total() - types["entitlement.granted"] == 2
        assert types["entitlement.granted"] <= 1
        # A refund that overtakes its purchase is told before anybody knows whose it is.
        known = [event for event in about if event.customer]
        assert {bought[purchase]} == {event.customer.user_id for event in known if event.customer}
        assert list(range(1, len(known) + 1)) == [event.sequence for event in known]
    return own
