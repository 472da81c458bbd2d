"""The receiver that docs/subscribing.md shows does what it says, as it stands there."""

import re
import sqlite3
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from schemas.resources import Cause, Customer, Entitlement, Event, EventData
from tests.store.outbox_story import announce, subscribe_by_api, subscriber
from tests.worker.backend import Clock, new_runtime
from worker.delivery import deliver
from worker.runtime import Runtime
from worker.store.tables import attempts, deliveries

PAGE = Path(__file__).parents[2] / "docs" / "subscribing.md"
(RECEIVER,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(name="runtime")
def _runtime(tmp_path: Path) -> Iterator[Runtime]:
    made = new_runtime(tmp_path, Clock())
    yield made
    made.store.close()


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Path:
    return tmp_path / "refunds.db"


@pytest.fixture(name="url")
def _url(database: Path) -> Iterator[str]:
    """Run the page's receiver, changed in nothing but its database and its silence."""
    room: dict[str, Any] = {"__name__": "receiver"}
    exec(compile(RECEIVER, str(PAGE), "exec"), room)  # noqa: S102 - the page's own code is what is tested
    room["DATABASE"] = database
    receiver: type[BaseHTTPRequestHandler] = room["Receiver"]
    quiet = type("Quiet", (receiver,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def access(sequence: int, *, active: bool) -> Event:
    """Tell that user 42's annual plan gives or no longer gives `pro`."""
    return Event(
        id=f"evt_{sequence}",
        type="entitlement.granted" if active else "entitlement.revoked",
        timestamp="2026-01-01T00:00:00.000Z",
        app="acme",
        environment="production",
        customer=Customer(user_id="user-42"),
        sequence=sequence,
        data=EventData(
            entitlement=Entitlement(
                app="acme",
                environment="production",
                user_id="user-42",
                key="pro",
                active=active,
                status="active" if active else "revoked",
                updated_at=1767225600,
            ),
            cause=Cause(platform="apple", type="REFUND"),
        ),
    )


def rows(database: Path, query: str) -> list[Any]:
    """Ask the receiver's own database."""
    connection = sqlite3.connect(database)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_it_is_short():
    """Under forty lines, or nobody reads it."""
    assert 40 > len(RECEIVER.splitlines())


async def test_it_takes_access_away(runtime, url, database):
    """Granted, then revoked: the receiver verifies both and ends where we do."""
    subscribe_by_api(runtime.store, subscriber(url, allow_private=True))

    await deliver(runtime, announce(runtime.store, [access(1, active=True), access(2, active=False)]))

    assert [("user-42", "pro", 0)] == rows(database, "select * from access")


async def test_it_acts_on_a_duplicate_once(runtime, url, database):
    """The same event again, after a later one, is acknowledged and changes nothing."""
    subscribe_by_api(runtime.store, subscriber(url, allow_private=True, order="none"))
    ready = announce(runtime.store, [access(1, active=True)])
    await deliver(runtime, ready)
    await deliver(runtime, announce(runtime.store, [access(2, active=False)]))
    with runtime.store.write() as connection:
        connection.execute(update(deliveries).where(deliveries.c.id.in_(ready)).values(status="pending"))

    await deliver(runtime, ready)

    assert [("user-42", "pro", 0)] == rows(database, "select * from access")
    assert [("evt_1",), ("evt_2",)] == rows(database, "select id from seen order by id")
    with runtime.store.read() as connection:
        assert [204, 204, 204] == list(connection.execute(select(attempts.c.status_code)).scalars())


async def test_it_refuses_a_stranger(runtime, url, database):
    """A POST signed with another secret is answered 401 and leaves no trace."""
    stranger = "whsec_" + b64encode(b"somebody else's secret, 32 bytes").decode()
    subscribe_by_api(runtime.store, subscriber(url, allow_private=True, secrets=(stranger,)))

    await deliver(runtime, announce(runtime.store, [access(1, active=True)]))

    assert not database.exists()
    with runtime.store.read() as connection:
        assert [401] == list(connection.execute(select(attempts.c.status_code)).scalars())
