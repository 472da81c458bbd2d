"""What a process does with the outbox, a step at a time and each in a transaction of its own: ask, claim, record."""

from collections.abc import Iterator, Sequence

import pytest

from handlers.backoff import Verdict
from tests.store.outbox_story import NOW_MS, new_store
from worker.store import outbox
from worker.store.attempts import Attempt, Recorded, record
from worker.store.engine import Store
from worker.store.outbox import Claim

DELIVERED = Verdict("delivered")
FAILED = Verdict("failed", 5.0)
DEAD = Verdict("dead")


@pytest.fixture(name="store")
def open_outbox(store_url: str) -> Iterator[Store]:
    """Open an empty one on each kind of database in turn."""
    store = new_store(store_url)
    yield store
    store.close()


def claim(store: Store, ids: Sequence[str], now_ms: int = NOW_MS) -> list[Claim]:
    """Claim in a transaction of its own."""
    with store.write() as connection:
        return list(outbox.claim(connection, ids, now_ms).claims)


def due(store: Store, now_ms: int = NOW_MS, limit: int = 100) -> list[str]:
    """Ask what is due."""
    with store.read() as connection:
        return outbox.due(connection, now_ms, limit)


def settle(store: Store, claimed: Claim, verdict: Verdict, now_ms: int = NOW_MS) -> Recorded:
    """Record that an attempt came to this."""
    ended = Attempt(claimed, verdict, now_ms, 12.5, 200 if verdict is DELIVERED else 503, None, "thanks")
    with store.write() as connection:
        return record(connection, [ended], now_ms)
