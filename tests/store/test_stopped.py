"""A worker that was stopped in the middle of a set writes nothing over what another one made of it meanwhile.

Real: SQLite and PostgreSQL, two connections of two workers, PostgreSQL's own view of who is silent. Double: the queue,
and the stop, which is a step that comes late. Asserted: rows.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as watch

from config.settings import Store as Choices
from tests.cli.processes import eventually
from tests.handlers.entries import NOW_MS
from tests.worker.desk import Desk, arrival, desk
from tests.worker.stripe_events import a_refunded_subscription
from worker.inbox import Inbox
from worker.process import process
from worker.store import inbox
from worker.store.engine import Store, StoreUnavailable
from worker.store.inbox import Outcome
from worker.store.tables import customers, deliveries, entries, events, notifications
from worker.sweeper import give_up_silent


async def accepted(at: Desk) -> list[str]:
    """Take a purchase and its refund in."""
    told = a_refunded_subscription("ann")
    return [(await Inbox(at.store, at.queue).accept(arrival(*one))).id for one in _numbered(told)]


def _numbered(told: Any) -> list[tuple[int, str, Any]]:
    return [(number, kind, subject) for number, (kind, subject) in enumerate(told)]


def written(at: Desk) -> dict[str, list[Any]]:
    """Read everything that processing writes."""
    return {table.name: at.rows(table) for table in (notifications, entries, events, deliveries, customers)}


async def test_a_worker_stopped_between_reading_and_writing_writes_nothing(at: Desk):
    """Whoever read a notification, slept, and finds it finished by another leaves every row as the other made it."""
    ids = await accepted(at)
    slept: list[dict[str, list[Any]]] = []

    def meanwhile(*_: Any) -> None:
        # Its first connection, which only read, has just been given back.
        if not slept:
            slept.append({})
            process(at.runtime, ids)
            slept[0] = written(at)

    sleeper = Store(at.store.url)
    watch.listen(sleeper.engine, "checkin", meanwhile)
    process(replace(at.runtime, store=sleeper), ids)
    sleeper.close()

    assert {"processed"} == {row["status"] for row in slept[0]["notifications"]}
    assert slept[0] == written(at)


async def test_a_worker_stopped_while_it_writes_is_given_up(tmp_path: Path, emptied: str):
    """PostgreSQL ends a transaction that is silent for too long: another finishes the rows, and it commits nothing."""
    with desk(tmp_path, url=emptied) as at:
        ids = await accepted(at)
        brief = Choices(statement_timeout_seconds=1.0)
        runtime = replace(at.runtime, settings=at.runtime.settings.model_copy(update={"store": brief}))
        sleeper = Store(emptied, brief)

        def finished() -> bool:
            give_up_silent(runtime)
            process(runtime, ids)
            return {"processed"} == {row["status"] for row in at.rows(notifications)}

        with pytest.raises(StoreUnavailable), sleeper.write() as connection:  # noqa: PT012 - what it does late
            assert set(ids) == inbox.claim(connection, ids)().keys()
            assert not give_up_silent(runtime), "it has only just fallen silent"
            assert eventually(finished)
            before = written(at)
            dead = [Outcome(id_, "dead", "late", 9, {}) for id_ in ids]
            inbox.finish(connection, dead, now_ms=NOW_MS)
        sleeper.close()

        assert before == written(at)
