"""However notifications arrive, late, twice and in any order, they end in the same state.

Two installations with the same trust get the same signed bytes. One gets them story by story, each understood before
the next is sent; the other gets them shuffled, up to three times, from many clients at once. Real: every process.
Doubles: none. What may be asserted: that both give the same answers.
"""

import asyncio
import shutil
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from config.load import load
from tests.e2e.running import Installation, Service, install, till
from worker.bootstrap import settle
from worker.demo.trust import demo_directory
from worker.simulator.sale import Sale, Shot
from worker.simulator.sales import DAY_MS
from worker.simulator.stories import Story, scripts

pytestmark = pytest.mark.e2e

CLIENTS = 12
PACES_SECONDS = (0, 5)
"""How far apart things happen: 0 lets the platform's own clock decide nothing."""


@dataclass(frozen=True)
class Arrival:
    """Something that arrives: a notification, or with no `shot` the word of the app's backend."""

    platform: str
    sale: Sale
    shot: Shot | None


def tell_story(installation: Installation, platform: str, story: Story, *, pace_seconds: int) -> list[Arrival]:
    """Sign everything that a story says, in its own order."""
    simulator, now = installation.simulator(platform), time.time()
    sold = till(platform, Random(f"{platform} {story.name} {pace_seconds}"))
    subscription, arrivals = story.about_subscription(platform), []
    for number, step in enumerate(story.steps):
        bought_ms = int(now * 1000) - story.bought_days_ago[step.period] * DAY_MS
        sale = sold.sell(step.period, bought_ms=bought_ms, subscription=subscription)
        if step.verb == "tell":
            arrivals.append(Arrival(platform, sale, None))
            continue
        signed_at = now - 60 + number * pace_seconds - step.happened_seconds_ago
        arrivals.append(Arrival(platform, sale, getattr(simulator, step.verb)(sale, signed_at)))
    return arrivals


def twin(installation: Installation, directory: Path) -> Installation:
    """Make a second installation with the same keys and another port."""
    shutil.copytree(demo_directory(installation.home), demo_directory(directory))
    config = demo_directory(directory) / installation.config.name
    with socket.create_server((installation.settings.server.host, 0)) as free:
        port = free.getsockname()[1]
    old, new = f"\nport = {installation.settings.server.port}\n", f"\nport = {port}\n"
    config.write_text(config.read_text().replace(old, new))
    return replace(installation, home=directory, config=config, settings=settle(load(config, {}), directory))


async def test_order_and_repetition_change_nothing(tmp_path):
    """Every story ends in the same refunds, purchases and entitlements, to the last field, however it arrives."""
    ordered = install(tmp_path / "ordered")
    shuffled = twin(ordered, tmp_path / "shuffled")
    told = [
        (story, tell_story(ordered, platform, story, pace_seconds=pace_seconds))
        for platform, story in scripts()
        for pace_seconds in PACES_SECONDS
        if story.name != "forged"
    ]
    stories, random = [arrivals for _, arrivals in told], Random(2026)
    anyhow = [[arrival] for arrivals in stories for arrival in arrivals for _ in range(random.randint(1, 3))]
    random.shuffle(anyhow)

    async with ordered.service() as one, shuffled.service() as other:
        await arrive(one, stories)
        await arrive(other, anyhow)
        expected, actual = await state(one, stories), await state(other, stories)

    # Nothing is left out: ids are made of what they name, and times are the platform's.
    assert expected == actual
    ends = {(arrivals[0].sale.user_id, "pro"): story.ends for story, arrivals in told}
    assert ends == {who: entitlement["status"] for who, entitlement in expected["entitlements"].items()}


async def arrive(service: Service, sequences: Sequence[Sequence[Arrival]]) -> None:
    """Let sequences arrive beside each other; within one, each is understood before the next."""
    waiting = list(reversed(sequences))

    async def go_on() -> None:
        while waiting:
            for arrival in waiting.pop():
                if arrival.shot is None:
                    await service.tell(arrival.platform, arrival.sale)
                else:
                    await service.told(arrival.platform, arrival.shot)

    await asyncio.gather(*(go_on() for _ in range(CLIENTS)))


async def state(service: Service, stories: Sequence[Sequence[Arrival]]) -> dict[str, Any]:
    """Read what is held to be true, by id."""
    customers = sorted({arrival.sale.user_id for story in stories for arrival in story})
    held = [found for user in customers for found in await service.every(f"/v1/customers/{user}/entitlements")]
    return {
        "purchases": {found["id"]: found for found in await service.every("/v1/purchases")},
        "refunds": {found["id"]: found for found in await service.every("/v1/refunds")},
        "entitlements": {(found["user_id"], found["key"]): found for found in held},
    }
