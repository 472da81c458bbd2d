"""A clock that was an hour ahead is set right: nothing waits for the hour to come again.

Real: sweeper, inbox, outbox, deliverer, the backend on loopback, SQLite and PostgreSQL. Double: the queue and the
clock, which a test can set forward and back.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import event as watch
from sqlalchemy import select

from config.settings import Settings
from tests.store.outbox_story import announce, delivery_rows, event, subscribe, subscribe_by_api, subscriber
from tests.worker.backend import Backend, Clock, new_runtime, ok
from tests.worker.desk import Desk, arrival, desk
from worker.delivery import Deliverer
from worker.inbox import Inbox
from worker.rounds import Rounds
from worker.setback import SetBack
from worker.store import outbox, tables
from worker.sweeper import forget_future, look_ahead, sweep

HOUR = 3600.0


@pytest.fixture(name="at")
def _at(tmp_path: Path, store_url: str) -> Iterator[Desk]:
    with desk(tmp_path, url=store_url, settings=Settings()) as opened:
        yield opened


def test_a_step_back_is_noticed_once():
    """Forward and a gentle drift are no news; a step back is, to whoever asks first."""
    shown = iter([100.0, 101.0, 100.8, 5000.0, 1400.0, 1401.0])
    looking = SetBack(lambda: next(shown))

    assert [False, False, False, True, False] == [looking.noticed() for _ in range(5)]


async def test_what_was_accepted_in_the_future_is_looked_after_now(at: Desk):
    """A notification whose hint was lost while the clock was ahead is hinted at when the clock is right, then swept."""
    at.clock.now += HOUR
    await Inbox(at.store, at.queue, retry_after_seconds=HOUR + 10).accept(arrival(1))  # as `received_at` is the test's
    at.queue.notifications.clear()
    at.clock.now -= HOUR
    assert 0 == sweep(at.runtime)

    assert 1 == look_ahead(at.runtime)
    assert 0 == look_ahead(at.runtime)
    assert [arrival(1).id] == at.queue.notifications
    at.clock.now += at.runtime.settings.work.sweep_after_seconds
    assert 1 == sweep(at.runtime)


def test_what_happened_in_the_future_is_told_now(at: Desk):
    """A delivery that was queued or claimed while the clock was ahead is due soon; a retry keeps its time."""
    subscribe(at.store, subscriber(order="none"), now=at.clock())
    claimed, fresh = announce(at.store, [event(1), event(2)], now=at.clock() + HOUR)
    now_ms = int(at.clock() * 1000)
    with at.store.write() as connection:
        assert 1 == len(outbox.claim(connection, [claimed], now_ms + int(HOUR * 1000)).claims)
    retried = announce(at.store, [event(3)], now=at.clock())
    with at.store.write() as connection:
        connection.execute(
            tables.deliveries.update()
            .where(tables.deliveries.c.id == retried[0])
            .values(attempts=2, next_attempt_ms=now_ms + 300_000)
        )

    forget_future(at.runtime)

    with at.store.read() as connection:
        assert [fresh] == outbox.due(connection, now_ms, 10)
        lapsed_ms = now_ms + outbox.LEASE_MS_MAX
        assert {fresh, claimed} == set(outbox.due(connection, lapsed_ms, 10))
        assert {fresh, claimed, *retried} == set(outbox.due(connection, now_ms + 300_000, 10))


def test_what_was_decided_before_the_step_and_committed_after_it_is_told_now(at: Desk):
    """A set that had looked at the clock, and was slow to commit, leaves nothing behind that waits for an hour."""
    # On a busy machine a fifth of a set's deliveries had waited for the hour: they were written just after the look.
    subscribe(at.store, subscriber(order="none"), now=at.clock())
    rounds = Rounds(at.runtime)
    at.clock.now += HOUR
    rounds.go()
    at.clock.now -= HOUR
    rounds.go()
    late = announce(at.store, [event(1)], now=at.clock() + HOUR)
    rounds.go()

    with at.store.read() as connection:
        assert late == outbox.due(connection, int(at.clock() * 1000), 10)


def test_what_another_machine_told_in_its_future_is_told_now(at: Desk):
    """Where an endpoint's clock is ahead, and no worker's ever was, what it put in line is found all the same."""
    subscribe(at.store, subscriber(order="none"), now=at.clock())
    ahead = announce(at.store, [event(1)], now=at.clock() + HOUR)

    look_ahead(at.runtime)

    with at.store.read() as connection:
        assert ahead == outbox.due(connection, int(at.clock() * 1000), 10)


@pytest.mark.parametrize("held_by", ["its pace", "its rest"])
async def test_a_subscriber_is_not_held_for_the_hour(tmp_path, held_by):
    """A pace kept, or a rest asked for, while the clock was ahead silences nobody once it is right, in no process."""
    # `not_before_ms` and the lane's own rest were an hour ahead: nothing was told for so long.
    clock = Clock()
    runtime = new_runtime(tmp_path, clock)
    deliverer = Deliverer(runtime, jitter=lambda: 0.0)
    busy = web.Response(status=429, headers={"Retry-After": "1"})
    async with Backend() as backend:
        (who,) = subscribe_by_api(runtime.store, subscriber(backend.url, allow_private=True), now=clock())
        clock.ahead_seconds = HOUR
        if held_by == "its pace":
            with runtime.store.write() as connection:
                connection.execute(tables.subscribers.update().values(rate_per_second=20.0))
        else:
            backend.answer = lambda _told: busy
        await deliverer.deliver(announce(runtime.store, [event(1)], now=clock()))
        await deliverer.drained()
        clock.ahead_seconds, backend.answer = 0.0, ok
        with runtime.store.read() as connection:
            assert connection.execute(select(tables.subscribers.c.not_before_ms)).scalar_one() > clock() * 1000

        forget_future(runtime)
        await deliverer.deliver(announce(runtime.store, [event(1, user="user-7")], now=clock()))
        await deliverer.drained()

    await deliverer.close()
    assert "delivered" == delivery_rows(runtime.store)[event(1, user="user-7").id].status
    assert who


async def test_a_claim_that_lapsed_before_its_attempt_is_left_to_others(tmp_path):
    """Who was stopped between claiming and posting, for longer than the claim, posts nothing: others did, or will."""
    # It told its event late, when the customer's later ones had been told by another process.
    clock = Clock()
    runtime = new_runtime(tmp_path, clock)
    deliverer = Deliverer(runtime, jitter=lambda: 0.0)
    async with Backend() as backend:
        subscribe_by_api(runtime.store, subscriber(backend.url, allow_private=True), now=clock())
        ready = announce(runtime.store, [event(1)], now=clock())
        stops = iter([outbox.LEASE_MS_MAX / 1000])

        def stop(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith('UPDATE "deliveries" SET "claimed_until_ms"'):
                clock.ahead_seconds += next(stops, 0.0)

        watch.listen(runtime.store.engine, "before_cursor_execute", stop)
        await deliverer.deliver(ready)
        await deliverer.drained()
        assert [] == backend.told
        await deliverer.deliver(ready)
        await deliverer.drained()

    await deliverer.close()
    assert [event(1).id] == backend.ids
