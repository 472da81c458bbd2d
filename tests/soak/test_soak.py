"""Thousands of events, four subscribers that break, workers that are killed: nobody misses, doubts or misorders any.

Real: every process, the broker, the database, signatures and their independent readers, sockets, SIGKILL, the clock.
Doubles: none. The schedule is the published one: what fails once is tried again after 5 s, and nothing here fails more
than twice; what did would wait five minutes, so an operator asks the API to retry that, as anybody would. What may be
asserted: what came, the feed, the tables; never when, beyond a deadline.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from random import Random

import pytest

from tests.cli.processes import belonging_to
from tests.e2e.running import Installation, Service, install
from tests.effort import EFFORT
from tests.soak.audit import audit
from tests.soak.listeners import FAILS, TIMEOUT_SECONDS, Listener, Wish, heard
from tests.soak.story import (
    EVENTS_EACH,
    WORKERS,
    Operator,
    cases,
    customers,
    kill_workers,
    pour,
    settled,
    subscribe,
)
from worker.demo.trust import APP

pytestmark = [pytest.mark.soak, pytest.mark.e2e, pytest.mark.crash]

SEED = 5
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
"""Seals the secrets of subscribers that the API makes; everybody can read it here."""
KILLS_MIN = 2
EVENTS_PER_KILL = 1_500

LEDGER = Wish("ledger", "per_customer", faults={"refuses": 0.03, "resets": 0.01, "is_slow": 0.2})
DOORMAN = Wish(
    "doorman",
    "per_customer",
    families=("entitlement",),
    signature="v1a",
    faults={"hangs": 0.02, "refuses": 0.02, "is_slow": 0.2},
)
ACCOUNTS = Wish(
    "accounts",
    "none",
    families=("refund", "chargeback"),
    rate_per_second=60,
    faults={"is_busy": 0.004, "refuses": 0.03},
)
ARCHIVE = Wish("archive", "none", faults={"resets": 0.02, "hangs": 0.005, "refuses": 0.03, "is_slow": 0.3})
WISHES = (LEDGER, DOORMAN, ACCOUNTS, ARCHIVE)


@asynccontextmanager
async def backends() -> AsyncIterator[list[Listener]]:
    """Run all four; in the end each has believed whatever came."""
    listeners = [Listener(wish, Random(f"{SEED} {wish.name}")) for wish in WISHES]
    async with AsyncExitStack() as stack:
        for listener in listeners:
            await stack.enter_async_context(listener.backend)
        yield listeners


def configure(installation: Installation, listener: Listener) -> None:
    """Make a backend a subscriber of the configuration."""
    keys = {
        "app": APP,
        "url": listener.backend.url,
        "secrets": [listener.secret],
        "types": listener.wish.types,
        "order": listener.wish.order,
        "timeout_seconds": TIMEOUT_SECONDS,
        "allow_private": True,
    }
    lines = ["[[subscribers]]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    installation.config.write_text(installation.config.read_text() + "\n" + "\n".join(lines) + "\n")


async def subscribed(service: Service, configured: Listener, others: Sequence[Listener]) -> dict[str, Listener]:
    """Make the others subscribers by the API, and give all by their ids."""
    (known,) = await service.every("/v1/subscribers")
    return {known["id"]: configured} | {await subscribe(service, other): other for other in others}


def kills_at(events: int, random: Random) -> list[int]:
    """Choose after how many arrivals a worker is killed; the first ones soon, as their claims take 17 s to lapse."""
    latest = [0.5] * KILLS_MIN + [2.0] * (events // EVENTS_PER_KILL)
    return [int(random.uniform(0.1, share) * events) for share in latest]


async def flow(service: Service, listeners: Sequence[Listener], events: int) -> list[float]:
    """Have so many events happen, and workers killed meanwhile; tell when they were."""
    random = Random(SEED)
    when = kills_at(events, random)
    async with asyncio.TaskGroup() as together:
        killing = together.create_task(
            kill_workers(service.installation, when, lambda: heard(listeners), random),
        )
        together.create_task(pour(service, customers(-(-events // EVENTS_EACH), random)))
    return killing.result()


@pytest.mark.timeout(EFFORT.soak_seconds)
@pytest.mark.parametrize("store_url", EFFORT.soak_stores, indirect=True)
async def test_every_subscriber_has_every_event_whatever_breaks(tmp_path, store_url):
    """Every event that fits a filter comes, signed, in order, at least once, and each repeat is on record."""
    environment = {"CLAWBACK_STORE__URL": store_url, "CLAWBACK_STORE__ENCRYPTION_KEYS": KEY}
    installation = install(tmp_path, processes=WORKERS, environment=environment)
    async with backends() as listeners:
        configure(installation, listeners[0])
        async with installation.service() as service:
            told = await subscribed(service, listeners[0], listeners[1:])
            with closing(installation.store()) as store:
                async with Operator(service, store).at_work() as operator:
                    kills = await flow(service, listeners, EFFORT.soak_events)
                    assert await settled(store, EFFORT.soak_seconds / 2), f"seed {SEED}"
                found = await cases(service, store, told, kills)

    verdicts = {case.wish.name: audit(case) for case in found}
    facts = [f"{one.wish.name}: {dict(one.did)}, {verdicts[one.wish.name].named()}" for one in listeners]
    about = "\n".join([f"seed {SEED}, {len(operator.retried)} retried by hand", *facts])
    print(about)  # noqa: T201 - what pytest shows of a test that fails, or with -s
    assert {} == {name: verdict.complaints for name, verdict in verdicts.items() if verdict.complaints}, about
    assert EFFORT.soak_events <= len(found[0].feed)
    assert FAILS <= {what for one in listeners for what in one.did}, about
    assert not belonging_to(installation.home)
