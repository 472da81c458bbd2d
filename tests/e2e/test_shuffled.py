"""However notifications arrive, late, twice and in any order, they end in the same state.

Two installations with the same trust get the same signed bytes, one after the other. The first gets them story by
story, each thing understood before the next is sent; the second gets them shuffled, each three times, from many
clients at once. Real: every process. Doubles: none. What may be asserted: that both answer with the same bytes.

Not compared, because they tell how it came about and not what is true: events (the feed names each change on the way,
and a refund that comes before its purchase is another way), notifications (when each arrived, how long each station
took) and the timeline, which is made of both.
"""

import asyncio
import json
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select

from config.load import load
from tests.e2e.running import Installation, Service, install, till, until
from worker.demo.trust import demo_directory
from worker.simulator.play import REFUSALS
from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.stories import ALL, scripts
from worker.simulator.story import Step, Story
from worker.simulator.telling import Teller
from worker.simulator.verdict import differences, end_of
from worker.start import settle
from worker.store import tables
from worker.store.engine import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CLIENTS = 12
COPIES = 3
SEEDS = {"in one moment": 0, "seconds apart": 5}
"""A name that makes ids, customers and a shuffle of its own, and how many seconds apart things then happen: 0 lets the
platform's own clock decide nothing."""


@dataclass(frozen=True)
class Arrival:
    """Something that arrives: a notification; with no `shot` the word of the app's backend, or forgeries."""

    teller: Teller
    step: Step
    shot: Shot | None = None

    @property
    def platform(self) -> str:
        """Name the platform that it is about."""
        return self.teller.platform

    @property
    def sale(self) -> Sale:
        """Find what it is about."""
        return self.teller.sale(self.step)


@dataclass(frozen=True)
class Told:
    """A story with everything that arrives of it, in its own order."""

    story: Story
    buyer: str
    member: str
    arrivals: tuple[Arrival, ...]


def tell_stories(installation: Installation, *, now: float) -> list[Told]:
    """Sign everything that every story says, once for each seed."""
    simulators = {str(platform): installation.simulator(platform) for platform in ALL}
    return [
        tell_story(simulators[platform], platform, story, seed=seed, began=now - 60)
        for platform, story in scripts()
        for seed in SEEDS
    ]


def tell_story(simulator: Simulator, platform: str, story: Story, *, seed: str, began: float) -> Told:
    """Sign everything that a story says."""
    sold = till(platform, Random(f"{platform} {story.name} {seed}"))
    teller = Teller(story, platform, simulator, sold, began)
    arrivals = []
    for number, step in enumerate(teller.steps):
        platform_says = step.verb not in ("tell", "forge")
        shot = teller.shot(step, began + number * SEEDS[seed]) if platform_says else None
        arrivals.append(Arrival(teller, step, shot))
    return Told(story, sold.user_id, sold.member_id, tuple(arrivals))


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
    """Every story ends in the same refunds, purchases and entitlements, to the last byte, however it arrives."""
    ordered, now = install(tmp_path / "ordered"), time.time()
    shuffled = twin(ordered, tmp_path / "shuffled")
    told = tell_stories(ordered, now=now)

    async with ordered.service() as service:
        await arrive(service, [story.arrivals for story in told])
        expected = await answers(service, told)
    assert [] == [line for story in told for line in wrong(story, expected)]
    async with shuffled.service() as service:
        await arrive(service, anyhow(told))
        actual = await answers(service, told)

    # Nothing is left out: ids are made of what they name, and times are the platform's.
    assert [] == [pair for path in expected for pair in differing(expected[path], actual.get(path, b"{}"))]
    assert expected.keys() == actual.keys()


def anyhow(told: Sequence[Told]) -> Sequence[Sequence[Arrival]]:
    """Shuffle what happens, each as often as it is sent: every arrival stands for itself."""
    copies = [(arrival,) for story in told for arrival in story.arrivals for _ in range(COPIES)]
    Random(" ".join(SEEDS)).shuffle(copies)
    return copies


async def arrive(service: Service, sequences: Sequence[Sequence[Arrival]]) -> None:
    """Let sequences arrive beside each other; within one, each is understood before the next."""
    waiting = list(reversed(sequences))

    async def go_on() -> None:
        while waiting:
            sequence = waiting.pop()
            for arrival in sequence:
                await send(service, arrival, wait=len(sequence) > 1)

    await asyncio.gather(*(go_on() for _ in range(CLIENTS)))
    store = service.installation.store()
    try:
        assert await until(lambda: settled(store), every_seconds=0.2), "not everything was understood in time"
    finally:
        store.close()


async def send(service: Service, arrival: Arrival, *, wait: bool) -> None:
    """Send one thing, and wait until it is understood if another follows that must come after it."""
    if arrival.step.verb == "tell":
        await service.tell(arrival.platform, arrival.sale)
    elif arrival.shot is None:
        for name, shot in arrival.teller.forgeries(arrival.step, time.time()):
            status, _ = await service.post(arrival.platform, shot)
            assert status in REFUSALS, name
    elif wait:
        await service.told(arrival.platform, arrival.shot)
    else:
        status, body = await service.post(arrival.platform, arrival.shot)
        assert 200 == status, body


def settled(store: Store) -> bool:
    """Tell whether nothing is left to understand, and every date that passed is in the ledger."""
    purchases, notifications = tables.purchases.c, tables.notifications.c
    running = purchases.access.in_(("active", "suspended")) & (purchases.expires_at <= int(time.time()))
    left = (select(func.count()).where(where) for where in (notifications.status == "accepted", running))
    with store.read() as connection:
        return not any(connection.scalar(count) for count in left)


async def answers(service: Service, told: Sequence[Told]) -> dict[str, bytes]:
    """Read what is held to be true, as it is sent: every purchase, every refund, and what each customer may use."""
    found = {}
    waiting = ["/v1/purchases?limit=500", "/v1/refunds?limit=500"]
    waiting += [f"/v1/customers/{user}/entitlements" for story in told for user in (story.buyer, story.member)]
    while waiting:
        path = waiting.pop()
        async with service.http.get(f"{service.installation.url}{path}") as response:
            found[path], page = await response.read(), await response.json()
        assert 200 == response.status, page
        waiting += [f"{path.partition('&')[0]}&cursor={page['next_cursor']}"] if page["has_more"] else []
    return found


def differing(expected: bytes, actual: bytes) -> list[tuple[Any, Any]]:
    """Show what differs of two answers, item by item; where no item does, the answers."""
    if expected == actual:
        return []
    one, other = (json.loads(answer) for answer in (expected, actual))
    pairs = zip_longest(one["data"], other.get("data", []))
    return [(a, b) for a, b in pairs if a != b] or [(one, other)]


def wrong(told: Told, found: Mapping[str, bytes]) -> list[str]:
    """Compare what is left of a story with what it states; who was told what is the demo's to check."""

    def held(path: str, user: str) -> list[dict[str, Any]]:
        """List what answers under a path say of a user."""
        pages = [json.loads(answer)["data"] for name, answer in found.items() if name.startswith(path)]
        return [item for page in pages for item in page if item["user_id"] == user]

    end = end_of(
        held(f"/v1/customers/{told.buyer}/", told.buyer),
        held(f"/v1/customers/{told.member}/", told.member),
        held("/v1/refunds", told.buyer),
        held("/v1/purchases", told.buyer),
    )
    end = replace(end, told=told.story.told)
    return [f"{told.arrivals[0].platform} {told.story.name}: {line}" for line in differences(told.story, end)]
