"""What gathered while nobody was there is worked off by whoever comes back, and not as slowly as it is hinted at.

Real: backends on loopback, deliverers, the outbox on SQLite and on PostgreSQL. Double: the clock.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import event as watch
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from handlers.backoff import SCHEDULE_SECONDS
from tests.store.outbox_story import announce, event, new_store, subscribe_by_api, subscriber
from tests.worker.backend import Backend, Clock, Told, new_runtime
from tests.worker.desk import Statements
from worker.delivery import Deliverer
from worker.lanes import Limits
from worker.runtime import Runtime
from worker.store import outbox
from worker.store.outbox import LATE_MS
from worker.store.tables import attempts, deliveries

MANY = 150
"""More than a lane has in flight, and more than it looks for at once."""


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="runtime")
def _runtime(tmp_path: Path, store_url: str, clock: Clock) -> Iterator[Runtime]:
    made = new_runtime(tmp_path, clock)
    made.store.close()
    made = replace(made, store=new_store(store_url))
    yield made
    made.store.close()


def gathers(runtime: Runtime, clock: Clock, count: int = MANY, *, late: bool = True) -> None:
    """Have something happen to so many customers, and nobody hinted at it for a while."""
    announce(runtime.store, [event(1, user=f"user-{n}") for n in range(count)], now=runtime.clock())
    clock.ahead_seconds += 2 * LATE_MS / 1000 if late else 0


def hints(runtime: Runtime, count: int = 1) -> list[str]:
    """Find as much as a sweep with this little room would."""
    with runtime.store.read() as connection:
        return outbox.due(connection, int(runtime.clock() * 1000), count)


def states(runtime: Runtime) -> dict[tuple[str, int], int]:
    """Count deliveries by status and attempts."""
    kinds = deliveries.c.status, deliveries.c.attempts
    with runtime.store.read() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(select(*kinds, func.count()).group_by(*kinds))}


async def test_one_hint_is_enough(runtime: Runtime, clock: Clock) -> None:
    """Hinted at one delivery of each subscriber, a deliverer works off all that is due, and attempts each once."""
    async with Backend() as one, Backend() as other:
        subscribe_by_api(runtime.store, *(subscriber(each.url, allow_private=True) for each in (one, other)))
        gathers(runtime, clock)
        deliverer = Deliverer(runtime)
        await deliverer.deliver(hints(runtime, 2))
        await deliverer.drained()
        await deliverer.close()

    assert {("delivered", 1): 2 * MANY} == states(runtime)
    assert [MANY, MANY] == [len(set(each.ids)) for each in (one, other)] == [len(each.ids) for each in (one, other)]


async def test_a_store_that_is_away_meanwhile_costs_no_hint(runtime: Runtime, clock: Clock) -> None:
    """Where the database is away just as a late lane looks for more, the lane looks again once it is back."""
    broken: list[str] = []

    def break_once(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not broken and "ORDER BY deliveries.next_attempt_ms" in statement:
            broken.append(statement)
            raise OperationalError(statement, {}, type("OperationalError", (Exception,), {})("database is locked"))

    async with Backend() as backend:
        subscribe_by_api(runtime.store, subscriber(backend.url, allow_private=True))
        gathers(runtime, clock)
        hint = hints(runtime)
        watch.listen(runtime.store.engine, "before_cursor_execute", break_once)
        deliverer = Deliverer(runtime, limits=Limits(store_retry_seconds=0.01))
        await deliverer.deliver(hint)
        await deliverer.drained()
        await deliverer.close()

    assert 1 == len(broken)
    assert {("delivered", 1): MANY} == states(runtime)


async def test_several_work_off_the_same_backlog(runtime: Runtime, clock: Clock) -> None:
    """Deliverers of several processes that look for the same find each delivery once between them."""
    async with Backend() as backend:
        subscribe_by_api(runtime.store, subscriber(backend.url, allow_private=True))
        gathers(runtime, clock)
        several = [Deliverer(runtime) for _ in range(3)]
        for deliverer, hint in zip(several, hints(runtime, 3), strict=True):
            await deliverer.deliver([hint])
        await asyncio.gather(*(deliverer.drained() for deliverer in several))
        for deliverer in several:
            await deliverer.close()

    assert {("delivered", 1): MANY} == states(runtime)
    with runtime.store.read() as connection:
        assert MANY == connection.execute(select(func.count()).select_from(attempts)).scalar_one() == len(backend.told)


async def test_what_is_in_time_is_not_looked_for(runtime: Runtime, clock: Clock) -> None:
    """While deliveries are hinted at as they happen, no turn asks what else is due, or takes what is not its own."""
    async with Backend() as backend:
        subscribe_by_api(runtime.store, subscriber(backend.url, allow_private=True))
        gathers(runtime, clock, 3, late=False)
        statements = Statements().watch(runtime.store)
        deliverer = Deliverer(runtime)
        await deliverer.deliver(hint := hints(runtime))
        await deliverer.drained()
        await deliverer.close()

    assert {("delivered", 1): len(hint), ("pending", 0): 2} == states(runtime)
    assert 1 == sum("ORDER BY deliveries.next_attempt_ms" in text for text in statements.texts), "the hint's alone"


async def test_who_fails_or_rests_is_not_pressed(runtime: Runtime, clock: Clock) -> None:
    """Of a subscriber that fails, or wants to be left alone, no more is looked for than was hinted at."""

    def refuse(_told: Told) -> web.Response:
        return web.Response(status=503, headers={} if app == "fails" else {"Retry-After": "60"})

    for app in ("fails", "rests"):
        async with Backend(refuse) as backend:
            subscribe_by_api(runtime.store, subscriber(backend.url, allow_private=True, app=app), now=runtime.clock())
            told = [event(1, user=f"user-{n}", app=app) for n in range(20)]
            ready = announce(runtime.store, told, now=runtime.clock())
            clock.ahead_seconds += 2 * LATE_MS / 1000
            deliverer = Deliverer(runtime)
            await deliverer.deliver(ready[:3])
            await deliverer.drained()
            await deliverer.close()
            assert 3 == len(backend.told)


async def test_a_backlog_of_one_holds_up_no_other(runtime: Runtime, clock: Clock) -> None:
    """While a hanging subscriber's backlog waits, another one's is worked off from a single hint."""
    async with Backend() as well, Backend() as ill:
        ill.answer = ill.hang
        subscribe_by_api(runtime.store, *(subscriber(each.url, allow_private=True) for each in (well, ill)))
        gathers(runtime, clock)
        deliverer = Deliverer(runtime, limits=Limits(grace_seconds=0.1))
        await deliverer.deliver(hints(runtime, 2))
        async with asyncio.timeout(SCHEDULE_SECONDS[1] * 10):
            await well.has_been_told(MANY)
        await deliverer.close()

    assert MANY == len(set(well.ids))
