"""The service on a loopback port: a real server, a real store with its migrations, real signatures.

Doubles: the queue, which remembers what it was given; the network, which is not there; the clock, which stands.
"""

import threading
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry

from config.platforms import Amazon, Apple, Google, Stripe
from config.products import Product
from config.settings import Admin, App, Server, Settings
from config.settings import Store as Choices
from tests.web.seed import ANNUAL, APP, NOW
from worker.bodies import Bodies
from worker.fetch import Fetched, FetchFailed
from worker.inbox import Inbox
from worker.metrics import Metrics, QueueDepth
from worker.runtime import QueueUnavailable, Runtime
from worker.sealing import Sealer
from worker.store.engine import Store
from worker.trust import Trust
from worker.web.app import create_admin_app, create_app, make_runner

TOKEN = "the-token-of-the-operators"
OTHER_TOKEN = "the-token-of-the-backend"
SECRET = "whsec_0123456789abcdef0123456789abcdef"
ENCRYPTION_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
TOPIC = "arn:aws:sns:us-east-1:123456789012:acme"


@dataclass
class Queue:
    """A queue that remembers. `away`: the broker is not there. `hangs`, cleared: it does not answer until it is set."""

    put: list[str] = field(default_factory=list)
    away: bool = False
    hangs: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def __post_init__(self) -> None:
        """Answer at once."""
        self.hangs.set()

    def put_notifications(self, ids: Sequence[str]) -> None:
        """Remember the hint."""
        if self.away:
            raise QueueUnavailable
        self.put.extend(ids)

    def put_deliveries(self, ids: Collection[str]) -> None:
        """Remember the hint."""
        self.put_notifications(list(ids))

    def depths(self) -> tuple[QueueDepth, ...]:
        """Say what waits."""
        self.asked += 1
        self.hangs.wait()
        if self.away:
            raise QueueUnavailable
        return (QueueDepth("notifications", {"ready": len(self.put), "in_flight": 0}, 1.5),)


@dataclass
class Clock:
    """A clock that stands until it is set."""

    now: float = float(NOW)

    def __call__(self) -> float:
        """Read it."""
        return self.now


class NoNetwork:
    """A fetch that reaches nothing."""

    async def __call__(self, _url: str) -> Fetched:
        """Fail like a closed network."""
        raise FetchFailed("unreachable")


@dataclass
class Service:
    """The running service, and what is behind it."""

    runtime: Runtime
    queue: Queue
    clock: Clock
    port: int
    http: aiohttp.ClientSession
    runner: web.AppRunner

    @property
    def store(self) -> Store:
        """Give the store behind it."""
        return self.runtime.store

    async def get(self, path: str, /, **query: Any) -> Any:
        """GET as an operator, and read the JSON of a 200."""
        async with self.http.get(path, params=query) as response:
            assert 200 == response.status, await response.text()
            return await response.json()

    async def refused(self, path: str, expected: int, /, **query: Any) -> Any:
        """GET as an operator, and read the error of an answer with that status."""
        async with self.http.get(path, params=query) as response:
            assert expected == response.status, await response.text()
            return (await response.json())["error"]

    def counted(self) -> dict[tuple[str, str, str], float]:
        """Read the counts of webhooks by platform, app and outcome."""
        samples = [s for metric in self.runtime.metrics.notifications.collect() for s in metric.samples]
        return {
            (s.labels["platform"], s.labels["app"], s.labels["outcome"]): s.value
            for s in samples
            if s.name == "clawback_notifications_total"
        }


def settings(**server: Any) -> Settings:
    """Make the configuration of an app with Stripe, Google and Amazon on, and Apple off."""
    return Settings(
        server=Server(body_timeout_seconds=0.3, **server),
        store=Choices(encryption_keys=(ENCRYPTION_KEY,)),
        admin=Admin(tokens=(TOKEN, OTHER_TOKEN)),
        apps={
            APP: App(
                apple=Apple(),
                stripe=Stripe(webhook_secrets=(SECRET,), livemode=True),
                google=Google(
                    package_name="com.acme.app",
                    audience="https://hooks.acme.example/webhooks/google/acme",
                    service_account_email="push@acme.iam.gserviceaccount.com",
                ),
                amazon=Amazon(package_name="com.acme.app", topic_arns=(TOPIC,)),
                products={ANNUAL: Product(kind="subscription", entitlements=("pro",))},
            )
        },
    )


def runtime_of(chosen: Settings, url: str, queue: Queue, clock: Clock) -> Runtime:
    """Make the parts of a process around a store."""
    return Runtime(
        settings=chosen,
        store=Store(url),
        queue=queue,
        metrics=Metrics(CollectorRegistry()),
        clock=clock,
        sealer=Sealer(chosen.store.encryption_keys),
        bodies=Bodies(chosen.store.encryption_keys),
    )


def application(runtime: Runtime, queue: Queue, trust: Any = None) -> web.Application:
    """Make the application around them."""
    return create_app(
        runtime,
        trust=trust or Trust(runtime.settings.apps, NoNetwork()),
        open_inbox=lambda: Inbox(runtime.store, queue, bodies=runtime.bodies),
        depths=queue.depths,
    )


@asynccontextmanager
async def running(
    url: str, chosen: Settings | None = None, *, trust: Any = None, admin: bool = False
) -> AsyncIterator[Service]:
    """Run the service on a free port of the loopback, with a client that shows the token."""
    queue, clock = Queue(), Clock()
    runtime = runtime_of(chosen or settings(), url, queue, clock)
    app = create_admin_app(runtime, depths=queue.depths) if admin else application(runtime, queue, trust)
    runner = make_runner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as http:
        yield Service(runtime, queue, clock, port, http, runner)
    await runner.cleanup()
    runtime.store.close()
