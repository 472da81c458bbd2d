"""While a configuration is rolled out: whoever cannot sign for a subscriber leaves its deliveries to those that can.

Real: a backend on loopback, two deliverers on one outbox, on SQLite and on PostgreSQL. Double: the clock.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.store.outbox_story import announce, delivery_rows, event, new_store, subscribe, subscriber
from tests.worker.backend import Backend, Clock, new_runtime
from worker.delivery import Deliverer
from worker.runtime import Runtime
from worker.store import outbox
from worker.store.tables import attempts


@pytest.fixture(name="runtime")
def _runtime(tmp_path: Path, store_url: str) -> Iterator[Runtime]:
    made = new_runtime(tmp_path, Clock())
    made.store.close()
    made = replace(made, store=new_store(store_url))
    yield made
    made.store.close()


@asynccontextmanager
async def delivering(runtime: Runtime) -> AsyncIterator[Deliverer]:
    """Deliver as one process."""
    made = Deliverer(runtime)
    yield made
    await made.close()


async def test_what_a_process_cannot_sign_for_is_left_to_others(runtime: Runtime) -> None:
    """Without a subscriber in its configuration a process attempts nothing of it; one that has it delivers."""
    async with Backend() as backend:
        ours = subscriber(backend.url, allow_private=True)
        newer = replace(runtime, settings=runtime.settings.model_copy(update={"subscribers": (ours,)}))
        (who,) = subscribe(runtime.store, ours)
        ready = announce(runtime.store, [event(1, user=f"user-{n}") for n in range(50)], now=runtime.clock())
        async with delivering(runtime) as old, delivering(newer) as new:
            with capture_logs() as logs:
                for _ in range(2):
                    await old.deliver(dict.fromkeys(ready, who))
                    await old.drained()
            with runtime.store.read() as connection:
                still_due = outbox.due(connection, int(runtime.clock() * 1000), 100)
                attempted = connection.execute(select(attempts.c.error)).scalars().all()
            assert [] == backend.told
            await new.deliver(still_due)
            await new.drained()

    assert (set(ready), []) == (set(still_due), attempted)
    assert [("deliver.left_to_others", who)] == [(line["event"], line["subscriber"]) for line in logs]
    assert {("delivered", 1)} == {(row.status, row.attempts) for row in delivery_rows(runtime.store).values()}
    assert 50 == len(backend.told)


async def test_a_stranger_holds_up_nobody(runtime: Runtime) -> None:
    """Among those whom a process cannot tell the others are told, in the same turn."""
    async with Backend() as backend, Backend() as unknown:
        known = subscriber(backend.url, allow_private=True)
        newer = replace(runtime, settings=runtime.settings.model_copy(update={"subscribers": (known,)}))
        subscribe(runtime.store, known, subscriber(unknown.url, allow_private=True))
        async with delivering(newer) as deliverer:
            await deliverer.deliver(announce(runtime.store, [event(1)], now=runtime.clock()))
            await deliverer.drained()

    assert ([event(1).id], []) == (backend.ids, unknown.ids)
