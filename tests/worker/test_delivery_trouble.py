"""What goes wrong on our own side while subscribers are told: nothing is lost, and little is told twice.

Real: backends on loopback, the HTTP client, the SQLite outbox. Double: the clock, which a test can set forward.
Asserted: what backends saw, what the outbox holds, what was logged and counted.
"""

import asyncio
import threading
from typing import Any

from aiohttp import web
from sqlalchemy import event as watch
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from handlers import outgoing
from tests.store.outbox_story import SECRET, delivery_rows, event
from tests.worker.backend import Backend, Told, attempt_rows, happened, listens, sweep
from worker.delivery import Deliverer
from worker.lanes import Limits
from worker.post import Poster
from worker.store import outbox
from worker.store.tables import attempts


async def test_an_attempt_that_could_not_be_recorded_is_made_again(runtime, deliverer, clock):
    """Killed between POST and record: when the claim lapses the event comes again, with the same id, signed anew."""
    async with Backend(clock=clock) as backend:
        listens(runtime, backend)
        ready = happened(runtime, event(1))
        with runtime.store.write() as connection:
            (claimed,) = outbox.claim(connection, ready, int(clock() * 1000)).claims
        body = outgoing.body(claimed.document)
        headers = outgoing.headers(claimed.event_id, body, keys=outgoing.keys([SECRET]), now=clock())
        poster = Poster()
        await poster.post(claimed.url, body, headers, allow_private=True, timeout_seconds=5)
        await poster.close()

        await deliverer.deliver(ready)
        await deliverer.drained()
        assert 1 == len(backend.told)
        clock.ahead_seconds += claimed.timeout_seconds + outbox.LEASE_SLACK_MS / 1000 + 1
        await sweep(runtime, deliverer)

    first, second = backend.told
    assert first.id == second.id
    assert first.body == second.body
    assert int(first.headers["webhook-timestamp"]) < int(second.headers["webhook-timestamp"])


async def test_a_store_that_is_away_costs_no_record(runtime):
    """What was told while the database was away is written down when it is back, and not told again."""
    deliverer = Deliverer(runtime, limits=Limits(store_retry_seconds=0.01))
    away = {"turns": 0}

    def refuse(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        # In turns: the claim of the first event, its record, the claim of the second.
        wanted = ("UPDATE deliveries", "INSERT INTO attempts", "UPDATE deliveries SET claimed")[away["turns"] % 3]
        if statement.replace('"', "").startswith(wanted) and away["turns"] < 3:
            away["turns"] += 1
            raise OperationalError(statement, {}, type("OperationalError", (Exception,), {})("database is locked"))

    async with Backend() as backend:
        listens(runtime, backend)
        watch.listen(runtime.store.engine, "before_cursor_execute", refuse)
        with capture_logs() as logs:
            await deliverer.deliver(happened(runtime, event(1), event(2)))
            await deliverer.drained()

    await deliverer.close()
    assert [event(1).id, event(2).id] == backend.ids
    assert 3 == [line["event"] for line in logs].count("deliver.store_unavailable")
    assert {"delivered"} == {row.status for row in delivery_rows(runtime.store).values()}


async def test_a_claim_that_lapses_is_not_acted_on(runtime, deliverer, clock):
    """Stopped between its claim and its request for as long as that lasts, a worker tells nobody: another one does."""
    slept = {"for_seconds": 20.0}

    def sleep(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.replace('"', "").startswith("UPDATE deliveries SET claimed"):
            clock.ahead_seconds += slept.pop("for_seconds", 0.0)

    async with Backend() as backend:
        listens(runtime, backend)
        ids = happened(runtime, event(1))
        watch.listen(runtime.store.engine, "before_cursor_execute", sleep)
        with capture_logs() as logs:
            await deliverer.deliver(ids)
            await deliverer.drained()
        assert [] == backend.ids
        clock.ahead_seconds += 60
        await sweep(runtime, deliverer)
        await deliverer.drained()

    assert [event(1).id] == backend.ids
    assert ["deliver.claim_lapsed"] == [line["event"] for line in logs]
    assert 1 == len(attempt_rows(runtime))


async def test_what_is_claimed_while_closing_is_given_back(runtime, deliverer):
    """A stop leaves no delivery claimed that nobody attempts: whoever goes on may take it at once."""
    # After a stop under load ten deliveries waited until their claims lapsed.
    claiming, closing = threading.Event(), threading.Event()

    def wait(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith('UPDATE "deliveries" SET "claimed_until_ms"'):
            claiming.set()
            closing.wait(10)

    async with Backend() as backend:
        listens(runtime, backend)
        ready = happened(runtime, event(1), event(1, user="user-7"))
        watch.listen(runtime.store.engine, "before_cursor_execute", wait)
        await deliverer.deliver(ready)
        await asyncio.to_thread(claiming.wait, 10)
        close = asyncio.create_task(deliverer.close())
        await asyncio.sleep(0)
        closing.set()
        await close
        assert [] == backend.ids

    assert [0, 0] == [row.claimed_until_ms for row in delivery_rows(runtime.store).values()]


async def test_a_commit_nobody_heard_of_is_recorded_once(runtime, deliverer):
    """Where the record of an attempt was committed and the answer of the database lost, it is one attempt."""
    # It was recorded again: two attempts in the history of one POST.
    lost = {"once": True}

    def lose(connection: Any) -> None:
        if recorded(connection) and lost.pop("once", False):
            connection.connection.driver_connection.commit()
            raise OperationalError("COMMIT", {}, type("OperationalError", (Exception,), {})("connection lost"))

    def recorded(connection: Any) -> int:
        return int(connection.execute(select(func.count()).select_from(attempts)).scalar_one())

    async with Backend() as backend:
        listens(runtime, backend)
        watch.listen(runtime.store.engine, "commit", lose)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    assert [event(1).id] == backend.ids
    assert not lost
    with runtime.store.read() as connection:
        assert 1 == recorded(connection)


async def test_a_mistake_of_ours_stops_nobody_else(runtime, deliverer):
    """If a turn breaks, its claims lapse; the deliverer goes on with what comes next."""
    broken = {"once": True}

    def refuse(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO attempts") and broken.pop("once", False):
            raise ValueError("no such thing")

    async with Backend() as backend:
        listens(runtime, backend)
        watch.listen(runtime.store.engine, "before_cursor_execute", refuse)
        with capture_logs() as logs:
            await deliverer.deliver(happened(runtime, event(1)))
            await deliverer.drained()
        await deliverer.deliver(happened(runtime, event(1, user="user-7")))
        await deliverer.drained()

    assert ["deliver.turn_failed"] == [line["event"] for line in logs]
    assert "delivered" == delivery_rows(runtime.store)[event(1, user="user-7").id].status


async def test_closing_records_what_ended_and_leaves_the_rest_to_others(runtime):
    """A stop waits a moment for what is in flight, begins nothing new, and loses nothing."""
    deliverer = Deliverer(runtime)
    arrived = asyncio.Event()

    async def slowly(_told: Told) -> web.Response:
        arrived.set()
        await asyncio.sleep(0.2)
        return web.Response()

    async with Backend(slowly) as backend:
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1), event(2)))
        await arrived.wait()
        await deliverer.close()

    assert [event(1).id] == backend.ids
    assert ["delivered", "pending"] == [row.status for row in delivery_rows(runtime.store).values()]


async def test_closing_waits_for_nobody_forever(runtime):
    """An attempt that does not end in time is dropped; its claim lapses, and another process makes it again."""
    deliverer = Deliverer(runtime, limits=Limits(grace_seconds=0.05))
    async with Backend() as backend:
        backend.answer = backend.hang
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await backend.has_been_told(1)
        await deliverer.close()
        await deliverer.drained()

    row = delivery_rows(runtime.store)[event(1).id]
    assert ("pending", 0) == (row.status, row.attempts)
    assert 0 < row.claimed_until_ms


async def test_closing_an_idle_deliverer_is_nothing(runtime):
    """One that never delivered anything closes at once."""
    await Deliverer(runtime).close()


async def test_an_attempt_that_breaks_us_is_a_failed_attempt(runtime, deliverer):
    """A mistake of ours costs that delivery an attempt; its lane goes on."""
    impossible = event(1).model_copy(update={"id": "evt_1\r\n"})
    async with Backend() as backend:
        listens(runtime, backend)
        with capture_logs() as logs:
            await deliverer.deliver(happened(runtime, impossible, event(1, user="user-7")))
            await deliverer.drained()

    assert [event(1, user="user-7").id] == backend.ids
    assert {"internal", None} == {row.error for row in attempt_rows(runtime)}
    assert "deliver.attempt_broke" in [line["event"] for line in logs]


async def test_more_hints_than_a_lane_holds_are_found_again(runtime):
    """Hints beyond the bound are dropped without harm: what they meant is still due in the outbox."""
    deliverer = Deliverer(runtime, limits=Limits(lane_waiting=5))
    async with Backend() as backend:
        listens(runtime, backend, order="none")
        await deliverer.deliver(happened(runtime, *(event(number) for number in range(1, 21))))
        await deliverer.drained()
        assert 5 == len(backend.told)
        for _ in range(3):
            await sweep(runtime, deliverer)
    await deliverer.close()

    assert 20 == len(set(backend.ids)) == len(backend.ids)
