"""What a worker decided is told at once where nothing else waits, and in its turn where something does.

Real: the broker and its worker, the event loop of its actors, the store, HTTP to a backend. Double: a queue that only
remembers.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
from dramatiq import Worker
from sqlalchemy import event as watch
from sqlalchemy import func, select

from tests.e2e.running import until
from tests.services import on_valkey, valkey
from tests.store.outbox_story import announce, event, subscribe_by_api, subscriber
from tests.worker.backend import Backend, Clock, new_runtime
from tests.worker.house import ListQueue
from worker.actors import _Here, _Telling, declare
from worker.broker import make_broker, queue_depths
from worker.gather import Gather
from worker.queue import BrokerQueue
from worker.runtime import Runtime
from worker.store import feed, listening, outbox
from worker.store.listening import Listener
from worker.store.tables import events

__all__ = ["on_valkey", "valkey"]

DAY_MS = 86_400_000
STORM = 300
"""So many notifications keep a single thread busy for seconds."""


def _take_time(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
    """Let a set of notifications take longer than it takes to fetch the next."""
    if "notifications" in statement:
        time.sleep(0.02)


def _listener(runtime: Runtime) -> Listener:
    """Give the only subscriber as it stands."""
    with runtime.store.read() as connection:
        ((_types, *row),) = listening.ask_listening(connection, {"acme"})
    return Listener._make(row)


@dataclass(frozen=True)
class Post:
    """A worker that tells, and a backend that it tells."""

    runtime: Runtime
    telling: _Telling
    backend: Backend

    def happened(self, sequence: int) -> list[str]:
        """Commit an event, and give the deliveries that may begin."""
        return announce(self.runtime.store, [event(sequence)], now=self.runtime.clock())


@pytest.fixture(name="post")
async def _post(on_valkey, tmp_path) -> AsyncIterator[Post]:
    runtime = new_runtime(tmp_path, Clock())
    broker = make_broker(on_valkey, consumes=True)
    telling = _Telling(runtime)
    broker.add_middleware(telling)
    worker = Worker(broker, worker_threads=1)
    async with Backend() as backend:
        subscribe_by_api(runtime.store, subscriber(backend.url, allow_private=True), now=runtime.clock())
        worker.start()
        yield Post(runtime, telling, backend)
        await asyncio.to_thread(worker.stop, 5_000)
    broker.close()
    runtime.store.close()


async def test_idle_worker_tells_at_once(post):
    """What is decided while nothing waits goes to its subscriber without the way through the broker."""
    far = ListQueue()
    near = _Here(far, post.telling, Gather(lambda _ids: None, size_max=1, at_once=1))

    near.put_deliveries(post.happened(1))
    await post.backend.has_been_told(1)

    assert ([event(1).id], []) == (post.backend.ids, far.deliveries)


@pytest.mark.parametrize("says_whose", [False, True])
async def test_hints_with_and_without_subscribers_are_understood(on_valkey, tmp_path, says_whose):
    """What an older process put on the queue names deliveries alone; it is told like what names whose they are."""
    runtime = new_runtime(tmp_path, Clock())
    broker = make_broker(on_valkey, consumes=True)
    declare(broker, runtime)
    worker = Worker(broker, worker_threads=1)
    async with Backend() as backend:
        told = subscriber(backend.url, allow_private=True)
        (whose,) = subscribe_by_api(runtime.store, told, now=runtime.clock())
        ids = announce(runtime.store, [event(1)], now=runtime.clock())
        BrokerQueue(broker).put_deliveries(dict.fromkeys(ids, whose) if says_whose else ids)
        worker.start()
        await asyncio.wait_for(backend.has_been_told(1), 60)
        await asyncio.to_thread(worker.stop, 5_000)
    broker.close()
    runtime.store.close()

    assert [event(1).id] == backend.ids


async def test_a_worker_that_is_asked_forgets_all_that_is_old(on_valkey, tmp_path):
    """A batch is a message and asks for the next one, until nothing is left that is older than it is kept."""
    plain = new_runtime(tmp_path, Clock())
    keeps = plain.settings.store.model_copy(update={"keep_events_days": 60})
    runtime = replace(plain, settings=plain.settings.model_copy(update={"store": keeps}))
    now_ms = int(runtime.clock() * 1000)
    with runtime.store.write() as connection:
        feed.append(connection, [event(number) for number in range(1, 1_203)], now_ms=now_ms - 99 * DAY_MS)
        feed.append(connection, [event(1_203)], now_ms=now_ms)
    broker = make_broker(on_valkey, consumes=True)
    declare(broker, runtime)
    BrokerQueue(broker).put_pruning()
    worker = Worker(broker, worker_threads=1)
    worker.start()

    def left() -> int:
        with runtime.store.read() as connection:
            return int(connection.execute(select(func.count()).select_from(events)).scalar_one())

    assert await until(lambda: left() == 1)
    await asyncio.to_thread(worker.stop, 5_000)
    broker.close()
    runtime.store.close()


async def test_a_storm_of_notifications_starves_no_subscriber(on_valkey, tmp_path):
    """What was decided is told while thousands of notifications still wait for the only thread, not after them."""
    runtime = new_runtime(tmp_path, Clock())
    broker = make_broker(on_valkey, consumes=True)
    declare(broker, runtime)
    watch.listen(runtime.store.engine, "before_cursor_execute", _take_time)
    hints = BrokerQueue(broker)
    worker = Worker(broker, worker_threads=1)
    async with Backend() as backend:
        subscribe_by_api(runtime.store, subscriber(backend.url, allow_private=True), now=runtime.clock())
        for number in range(STORM):
            hints.put_notifications([f"ntf_{number}"])
        hints.put_deliveries(announce(runtime.store, [event(1)], now=runtime.clock()))
        worker.start()
        await asyncio.wait_for(backend.has_been_told(1), 60)
        notifications, _ = queue_depths(broker, runtime.clock())
        await asyncio.to_thread(worker.stop, 5_000)
    broker.close()
    runtime.store.close()

    assert notifications.messages["ready"] > STORM / 2


async def test_idle_worker_begins_what_it_claimed_and_a_busy_one_claims_nothing(post):
    """There is room while nothing else waits, once this process has a deliverer; what is begun is told from here."""
    free = threading.Event()

    def hold(_ids: Sequence[str]) -> None:
        free.wait()

    gather = Gather(hold, size_max=1, at_once=1)
    here = _Here(ListQueue(), post.telling, gather)
    whom = _listener(post.runtime)
    before = here.room(whom)
    here.put_deliveries(post.happened(1))
    await post.backend.has_been_told(1)
    assert await until(lambda: here.room(whom))
    told = post.happened(2)
    with post.runtime.store.write() as connection:
        claims = outbox.claim(connection, told, int(post.runtime.clock() * 1000)).claims
    here.begin(claims)
    await post.backend.has_been_told(2)
    assert await until(lambda: here.room(whom))
    with ThreadPoolExecutor(2) as threads:
        for one in ("ntf_1", "ntf_2"):
            threads.submit(gather, [one])
        assert await until(lambda: gather.waiting)
        busy = here.room(whom)
        free.set()

    assert (0, 0, [event(1).id, event(2).id]) == (before, busy, post.backend.ids)


async def test_busy_worker_leaves_it_to_the_broker(post):
    """While notifications wait, what is decided is told through the broker, by whichever worker can spare a thread."""
    far, free = ListQueue(), threading.Event()

    def hold(_ids: Sequence[str]) -> None:
        free.wait()

    gather = Gather(hold, size_max=1, at_once=1)
    near = _Here(far, post.telling, gather)
    with ThreadPoolExecutor(2) as threads:
        for one in ("ntf_1", "ntf_2"):
            threads.submit(gather, [one])
        assert await until(lambda: gather.waiting)

        told = post.happened(1)
        near.put_deliveries(told)
        near.put_notifications(["ntf_3"])
        free.set()

    assert (told, ["ntf_3"], []) == (far.deliveries, far.notifications, post.backend.ids)


def test_without_a_loop_nothing_is_told_and_nothing_breaks(tmp_path):
    """A worker that is stopping leaves what it decided to the outbox, where it is due."""
    runtime = new_runtime(tmp_path, Clock())

    telling = _Telling(runtime)
    telling.deliver_soon(["dlv_1"])
    telling.begin_soon([])

    runtime.store.close()
