"""The whole house without its front door and without a broker, for tests of what happens inside.

Real: configuration, keys, signatures, verification, store on SQLite with its migrations, inbox, processing, outbox,
sweeper. Double: the queue, which is a list. Asserted: rows, events, resources.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from prometheus_client import CollectorRegistry
from sqlalchemy import select

from config.load import load
from config.settings import Settings
from handlers.platforms import PLATFORMS
from handlers.pubsub import KEPT_HEADERS
from schemas.received import Received
from schemas.resources import Event, PurchaseTold
from worker.demo.trust import APP, LIFETIME_PRODUCT, PRODUCT, demo_directory, prepare
from worker.fetch import Fetched
from worker.inbox import Accepted, Arrival, Inbox
from worker.metrics import Metrics
from worker.process import process
from worker.runtime import Runtime
from worker.simulator.registry import SPEAKERS
from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.sales import Till
from worker.store import migrate, tables
from worker.store.engine import Store
from worker.store.subscribers import sync_subscribers
from worker.tell import tell
from worker.trust import Trust


@dataclass
class ListQueue:
    """A queue that only remembers: what a broker that lost everything amounts to."""

    notifications: list[str] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)

    def put_notifications(self, ids: Sequence[str]) -> None:
        """Remember ids of notifications."""
        self.notifications += ids

    def put_deliveries(self, ids: Collection[str]) -> None:
        """Remember ids of deliveries."""
        self.deliveries += ids


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float

    def __call__(self) -> float:
        """Read it."""
        return self.now


class House:
    """One running house.

    Args:
        directory: for its files.
        now: Unix seconds at which its clock stands.
        url: of an empty database; None: a file of the directory.
    """

    def __init__(self, directory: Path, now: float, url: str | None = None) -> None:
        self.directory = demo_directory(directory)
        file = prepare(directory, any_port=True)
        self.settings: Settings = load(file, {})
        self.queue = ListQueue()
        self.clock = Clock(now)
        store = Store(url or f"sqlite:///{directory / 'clawback.db'}")
        migrate.upgrade(store)
        self.runtime = Runtime(self.settings, store, self.queue, Metrics(CollectorRegistry()), self.clock)
        self.trust = Trust(self.settings.apps, _fetch_nothing, clock=self.clock)
        with store.write() as connection:
            sync_subscribers(connection, self.settings.subscribers, now)

    @property
    def store(self) -> Store:
        """The database."""
        return self.runtime.store

    def simulator(self, platform: str) -> Simulator:
        """Speak as a platform."""
        return SPEAKERS[platform].simulator(self.directory, self.settings.apps[APP].platform(platform))

    def till(self, platform: str, seed: int = 1) -> Till:
        """Sell in the style of a platform."""
        return Till(platform, Random(seed), product_id=PRODUCT, lifetime_product_id=LIFETIME_PRODUCT)

    async def arrive(self, platform: str, shot: Shot) -> Accepted:
        """Receive as the endpoint does: verify, accept."""
        received = Received(APP, shot.body, {name.lower(): value for name, value in shot.headers.items()})
        section = self.settings.apps[APP].platform(platform)
        identity = await self.trust.verify(PLATFORMS[platform], received, section, self.clock())
        inbox = Inbox(self.store, self.queue)
        kept = {name: received.headers[name] for name in KEPT_HEADERS if name in received.headers}
        arrival = Arrival(APP, platform, identity, shot.body, kept, self.clock(), self.clock())
        return await inbox.accept(arrival)

    def work(self) -> None:
        """Process everything on the queue, as one message."""
        waiting, self.queue.notifications = self.queue.notifications, []
        process(self.runtime, waiting)

    async def post(self, platform: str, shot: Shot) -> Accepted:
        """Receive and process."""
        accepted = await self.arrive(platform, shot)
        self.work()
        return accepted

    def told(self, platform: str, sale: Sale, **changes: object) -> PurchaseTold | None:
        """Make the app backend's word of a sale."""
        said = SPEAKERS[platform].told(sale)
        if said is None:
            return None
        return PurchaseTold.model_validate({"app": APP, "environment": "sandbox", **said, **changes})

    def tell(self, platform: str, sale: Sale) -> None:
        """Tell of a sale what the platform does not."""
        if told := self.told(platform, sale):
            tell(self.runtime, told)

    def events(self) -> list[Event]:
        """List every event, oldest first."""
        with self.store.read() as connection:
            documents = connection.execute(select(tables.events.c.document).order_by(tables.events.c.position))
            return [Event.model_validate_json(document) for document in documents.scalars()]

    def statuses(self) -> dict[str, str]:
        """Give the status of every entitlement by its user."""
        with self.store.read() as connection:
            rows = connection.execute(select(tables.entitlements.c.user_id, tables.entitlements.c.status))
            return {row.user_id: row.status for row in rows}

    def notification(self, accepted: Accepted) -> dict[str, object]:
        """Read one inbox row."""
        statement = select(tables.notifications).where(tables.notifications.c.id == accepted.id)
        with self.store.read() as connection:
            return dict(connection.execute(statement).mappings().one())


def older(sale: Sale, *, days: int) -> Sale:
    """Move a sale into the past."""
    moved = days * 24 * 3600 * 1000
    return replace(sale, purchased_at_ms=sale.purchased_at_ms - moved, expires_at_ms=(sale.expires_at_ms or 0) - moved)


@contextmanager
def house(directory: Path, now: float, url: str | None = None) -> Iterator[House]:
    """Open a house, and close it."""
    opened = House(directory, now, url)
    yield opened
    opened.store.close()


async def _fetch_nothing(source: str) -> Fetched:
    raise AssertionError(f"the demo's keys are all in files, yet {source} was asked for")
