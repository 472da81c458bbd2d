"""One desk of the house: store, inbox, processing, sweeper, and an app that sells on Stripe.

Real: configuration values, Stripe's event shapes, store on SQLite with its migrations, everything behind the inbox.
Double: the queue, which is a list and may be away, and the clock. Left out: signatures, which have tests of their own.
"""

import json
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, event, select

from config.platforms import Stripe
from config.settings import App, Settings
from handlers.platforms import PLATFORMS
from schemas.resources import Event
from tests.handlers.entries import NOW_MS, acme
from worker.inbox import Arrival
from worker.metrics import Metrics
from worker.runtime import QueueUnavailable, Runtime
from worker.store import migrate, tables
from worker.store.engine import Store

STRIPE = Stripe(webhook_secrets=("whsec_unused",))
SELLS_ON_STRIPE: App = acme().model_copy(update={"stripe": STRIPE})
SETTINGS = Settings(apps={"acme": SELLS_ON_STRIPE})


class Killed(BaseException):
    """The process was killed here. No code of ours may catch this, as none could."""


@dataclass
class ListQueue:
    """A queue that only remembers, and may be away."""

    notifications: list[str] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)
    away: bool = False

    def put_notifications(self, ids: Sequence[str]) -> None:
        """Remember ids of notifications."""
        self._reach()
        self.notifications += ids

    def put_deliveries(self, ids: Collection[str]) -> None:
        """Remember ids of deliveries."""
        self._reach()
        self.deliveries += ids

    def _reach(self) -> None:
        if self.away:
            raise QueueUnavailable


@dataclass
class Clock:
    """A clock that stands until it is moved."""

    now: float = NOW_MS / 1000

    def __call__(self) -> float:
        """Read it."""
        return self.now


@dataclass
class Statements:
    """What reaches a database: counted, and cut off by a kill after so many."""

    texts: list[str] = field(default_factory=list)
    writers: int = 0
    commits: int = 0
    kill_after: int | None = None

    def watch(self, store: Store) -> "Statements":
        """Watch this store's engine from now on."""
        event.listen(store.engine, "begin", self._beginning)
        event.listen(store.engine, "before_cursor_execute", self._executing)
        event.listen(store.engine, "commit", self._committing)
        return self

    def _executing(self, _connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        self.texts.append(text)
        if self.kill_after is not None:
            self.kill_after -= 1
            if self.kill_after < 0:
                self.kill_after = None
                raise Killed

    def _beginning(self, connection: Connection) -> None:
        self.writers += not connection.get_execution_options().get("clawback_read_only", False)

    def _committing(self, _connection: Any) -> None:
        self.commits += 1


@dataclass
class Desk:
    """The parts, and what is written down at the moment."""

    runtime: Runtime
    queue: ListQueue
    clock: Clock

    @property
    def store(self) -> Store:
        """The database."""
        return self.runtime.store

    def rows(self, table: Any) -> list[Mapping[str, Any]]:
        """Read a whole table."""
        with self.store.read() as connection:
            return [dict(row) for row in connection.execute(select(table)).mappings()]

    def events(self) -> list[Event]:
        """List every event, oldest first."""
        with self.store.read() as connection:
            documents = connection.execute(select(tables.events.c.document).order_by(tables.events.c.position))
            return [Event.model_validate_json(document) for document in documents.scalars()]

    def statuses(self) -> dict[str, str]:
        """Give the status of every entitlement by its user."""
        return {row["user_id"]: row["status"] for row in self.rows(tables.entitlements)}


def brought_up_to_date(url: str) -> Store:
    """Make an empty database with every migration behind it."""
    store = Store(url)
    migrate.upgrade(store)
    return store


def template(directory: Path) -> Path:
    """Make a database file to copy, for tests that open hundreds."""
    brought_up_to_date(f"sqlite:///{directory / 'clawback.db'}").close()
    with sqlite3.connect(directory / "clawback.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return directory / "clawback.db"


@contextmanager
def desk(
    directory: Path, *, settings: Settings = SETTINGS, copy_of: Path | None = None, url: str | None = None
) -> Iterator[Desk]:
    """Open a desk, and close it.

    Args:
        directory: for its database.
        settings: what the operator chose.
        copy_of: a database file to begin with.
        url: of another database than one in the directory.
    """
    if copy_of is None:
        store = brought_up_to_date(url or f"sqlite:///{directory / 'clawback.db'}")
    else:
        store = Store(f"sqlite:///{shutil.copy(copy_of, directory / 'clawback.db')}")
    queue, clock = ListQueue(), Clock()
    yield Desk(Runtime(settings, store, queue, Metrics(CollectorRegistry()), clock), queue, clock)
    store.close()


@pytest.fixture(name="at")
def open_desk(tmp_path: Path, store_url: str) -> Iterator[Desk]:
    """Open a desk on each kind of database in turn; whoever needs another one makes it under the same name."""
    with desk(tmp_path, url=store_url) as opened:
        yield opened


def arrival(
    number: object, kind: str = "ping", subject: Mapping[str, Any] | None = None, *, at_ms: int = NOW_MS
) -> Arrival:
    """One of Stripe's events, verified just now."""
    body = json.dumps(
        {
            "id": f"evt_{number}",
            "object": "event",
            "type": kind,
            "created": at_ms // 1000,
            "livemode": True,
            "data": {"object": subject or {}},
        }
    ).encode()
    identity = PLATFORMS["stripe"].identify(PLATFORMS["stripe"].read(body, {}))
    return Arrival("acme", "stripe", identity, body, {}, NOW_MS / 1000, NOW_MS / 1000)
