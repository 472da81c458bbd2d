"""A desk at which worker threads ask: look-ups of an app that sells on some platforms, and what is asked there.

Real: `Lookups` with its thread, clients, sockets, a server on this machine. Double: the clock, which is moved by hand.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from config.platforms import Amazon
from config.settings import App, Settings
from config.settings import Lookups as Bounds
from schemas.meaning import Lookup
from tests.worker.platform_api import Api, serving
from worker.lookups import Lookups, Question
from worker.metrics import Metrics

NOW = 1_794_000_000.0
RECEIPT = {"receiptId": "q1YqVr:3:11", "productType": "SUBSCRIPTION"}
SECRET = "2:the-shared-secret-of-acme"
USER = "amzn1.account.of-an-annual-plan"
EAGER = Bounds(per_second=1000)


@dataclass
class Desk:
    """Lookups, and what they are counted and timed by."""

    lookups: Lookups
    metrics: Metrics
    now: float = NOW

    def clock(self) -> float:
        """Read the clock."""
        return self.now

    async def ask(self, *questions: Question) -> list[Any]:
        """Ask as a worker thread does; give the facts in the order of the questions."""
        facts = await asyncio.to_thread(self.lookups.ask, questions)
        return [facts.get(question) for question in questions]

    def counted(self) -> dict[tuple[str, str, str], float]:
        """Read the counter: platform, kind and outcome to how many."""
        [metric] = self.metrics.lookups.collect()
        return {
            (s.labels["platform"], s.labels["kind"], s.labels["outcome"]): s.value
            for s in metric.samples
            if s.name.endswith("_total")
        }


@contextmanager
def desk(bounds: Bounds = EAGER, **sections: Any) -> Iterator[Desk]:
    """Open a desk of an app that sells on these platforms."""
    metrics = Metrics(CollectorRegistry())
    opened: list[Desk] = []
    settings = Settings(lookups=bounds, apps={"acme": App(**sections)})
    lookups = Lookups(settings, metrics, clock=lambda: opened[0].now)
    opened.append(Desk(lookups, metrics))
    yield opened[0]
    lookups.close()


def amazon(api: Api) -> dict[str, Any]:
    """An app that sells on Amazon, whose API is on this machine."""
    topics = ("arn:aws:sns:us-east-1:123456789012:acme",)
    return {
        "amazon": Amazon(package_name="com.acme.app", topic_arns=topics, shared_secret=SECRET, api=api.url),
    }


def about(receipt: str = "annual", notification: str = "ntf_1", *, since: float = NOW, kind: str = "rvs") -> Question:
    """A notification wants to know of a receipt."""
    return Question("acme", "amazon", Lookup(kind, f"{USER}/{receipt}"), notification, since)


@pytest.fixture(name="api")
async def open_api() -> AsyncIterator[Api]:
    """Serve one that knows of a receipt."""
    async with serving() as api:
        api.answer = RECEIPT
        yield api


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for is in another thread
            await asyncio.sleep(0.005)
