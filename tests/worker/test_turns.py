"""A turn asks the store for as little as it may: not whose a delivery is if that was said, nor the disk for claims.

Real: backends on loopback, the HTTP client, the outbox on SQLite and on PostgreSQL. Double: nothing.
"""

from dataclasses import replace

import pytest
from sqlalchemy import select, text

from tests.store.outbox_story import announce, event, new_store, subscribe_by_api, subscriber
from tests.worker.backend import Backend, Clock, new_runtime, open_backend
from tests.worker.desk import Statements
from worker.delivery import Deliverer
from worker.runtime import Runtime
from worker.store.tables import attempts

__all__ = ["open_backend"]

HOW_SURE = (
    """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.response := current_setting('synchronous_commit'); RETURN NEW; END $$""",
    "CREATE TRIGGER note BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION note()",
)
"""Have PostgreSQL write down with each attempt whether its commit waits for the disk."""
FORGET = "DROP FUNCTION note() CASCADE"


@pytest.fixture(name="runtime")
def _runtime(tmp_path):
    made = new_runtime(tmp_path, Clock())
    yield made
    made.store.close()


@pytest.fixture(name="on_postgresql")
def _on_postgresql(runtime, emptied):
    """Have the outbox on PostgreSQL, which notes how sure it is of attempts."""
    made = replace(runtime, store=new_store(emptied))
    with made.store.write() as connection:
        for step in HOW_SURE:
            connection.execute(text(step))
    yield made
    with made.store.write() as connection:
        connection.execute(text(FORGET))
    made.store.close()


def _listens(runtime: Runtime, backend: Backend) -> str:
    told = subscriber(backend.url, allow_private=True)
    (one,) = subscribe_by_api(runtime.store, told, now=runtime.clock())
    return one


async def test_nobody_is_asked_whose_a_delivery_is_if_it_was_said(runtime, backend):
    """A hint that names the subscriber leads to the same attempt as one that does not, without the question."""
    whose = _listens(runtime, backend)
    deliverer = Deliverer(runtime)
    known = dict.fromkeys(announce(runtime.store, [event(1)], now=runtime.clock()), whose)
    unknown = announce(runtime.store, [event(1, user="user-7")], now=runtime.clock())
    statements = Statements().watch(runtime.store)
    await deliverer.deliver(known)
    await deliverer.drained()
    spared = len(statements.texts)
    await deliverer.deliver(unknown)
    await deliverer.drained()
    await deliverer.close()

    assert [event(1).id, event(1, user="user-7").id] == backend.ids
    assert spared < len(statements.texts) - spared


async def test_an_attempt_that_was_made_waits_for_the_disk(on_postgresql, backend):
    """Claims may be forgotten with the server that dies, attempts may not: theirs is a commit like any other."""
    whose = _listens(on_postgresql, backend)
    deliverer = Deliverer(on_postgresql)
    statements = Statements().watch(on_postgresql.store)
    told = [event(number) for number in range(1, 4)]
    await deliverer.deliver(dict.fromkeys(announce(on_postgresql.store, told, now=on_postgresql.clock()), whose))
    await deliverer.drained()
    await deliverer.close()
    with on_postgresql.store.read() as connection:
        noted = connection.execute(select(attempts.c.response)).scalars().all()
        after = connection.execute(text("SHOW synchronous_commit")).scalar()

    assert ["on"] * len(told) == noted
    assert "on" == after
    assert "SET LOCAL synchronous_commit = off" in statements.texts
