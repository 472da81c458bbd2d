"""What subscribers are told in tests: an annual plan that was refunded after nine months, and its neighbors."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from config.settings import Subscriber
from handlers import ids as identify
from schemas.resources import Cause, Customer, Event, EventData
from worker import keyring
from worker.keyring import KeptSecret
from worker.sealing import Sealer
from worker.store import listening
from worker.store.engine import Store
from worker.store.migrate import upgrade
from worker.store.subscribers import sync_subscribers
from worker.store.tables import deliveries, events, subscribers

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
SEALER = Sealer(["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="])
"""Its key is for tests: everybody can read it here."""
NOW = 1767225600.0  # 2026-01-01T00:00:00Z
NOW_MS = int(NOW * 1000)


def new_store(url: str) -> Store:
    """Make an empty database, brought up to date."""
    store = Store(url)
    upgrade(store)
    return store


def subscriber(url: str = "https://api.acme.example/refunds", **chosen: Any) -> Subscriber:
    """Configure a subscriber of app acme."""
    return Subscriber(**{"app": "acme", "url": url, "secrets": (SECRET,), **chosen})


def subscribe(store: Store, *configured: Subscriber, now: float = NOW) -> list[str]:
    """Make these the configured subscribers, and give their ids in that order."""
    with store.write() as connection:
        sync_subscribers(connection, configured, now)
        ids = {row.url: row.id for row in connection.execute(select(subscribers.c.url, subscribers.c.id))}
    return [ids[one.url] for one in configured]


def subscribe_by_api(store: Store, *wanted: Subscriber, now: float = NOW) -> list[str]:
    """Make these subscribers of the API, with their secrets sealed by `SEALER`, and give their ids in that order."""
    made = subscribe(store, *wanted, now=now)
    with store.write() as connection:
        for id_, one in zip(made, wanted, strict=True):
            kept = keyring.write(KeptSecret(SEALER.seal(secret)) for secret in one.secrets)
            connection.execute(update(subscribers).where(subscribers.c.id == id_).values(origin="api", secrets=kept))
    return made


def event(
    sequence: int | None, *, user: str | None = "user-42", kind: str = "entitlement.revoked", app: str = "acme"
) -> Event:
    """Tell of one change; `sequence` is the customer's."""
    return Event(
        id=identify.make("evt", app, user, sequence, kind),
        type=kind,
        timestamp="2026-01-01T00:00:00.000Z",
        app=app,
        environment="production",
        customer=Customer(user_id=user) if user else None,
        sequence=sequence,
        data=EventData(cause=Cause(platform="apple", type="REFUND", rule="full_refund")),
    )


def announce(store: Store, told: Sequence[Event], *, now: float = NOW) -> list[str]:
    """Commit events with their deliveries, as processing does, and give the deliveries that may begin."""
    now_ms = int(now * 1000)
    with store.write() as connection:
        connection.execute(events.insert(), [row_of(one, now_ms) for one in told])
        return enqueue(connection, told, now_ms)


def enqueue(connection: Connection, told: Sequence[Event], now_ms: int) -> list[str]:
    """Put events into the outbox; give what may be attempted at once."""
    whom = listening.ask_listening(connection, {one.app for one in told})
    return list(listening.enqueue(connection, told, whom, now_ms)().owners)


def delivery_rows(store: Store) -> dict[str, Any]:
    """Read the outbox: event id → row, for stories with one subscriber."""
    with store.read() as connection:
        return {row.event_id: row for row in connection.execute(select(deliveries))}


def row_of(one: Event, now_ms: int) -> dict[str, Any]:
    """Give an event as the feed keeps it."""
    return {
        "id": one.id,
        "app": one.app,
        "environment": one.environment,
        "type": one.type,
        "user_id": one.customer.user_id if one.customer else None,
        "sequence": one.sequence,
        "timestamp_ms": now_ms,
        "document": one.model_dump_json(),
    }
