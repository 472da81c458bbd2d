"""What a worker decided is told at once where nothing else waits, and in its turn where something does.

Real: the broker and its worker, the event loop of its actors, the store, HTTP to a backend. Double: a queue that only
remembers.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from dramatiq import Worker

from tests.e2e.running import until
from tests.services import on_valkey, valkey
from tests.store.outbox_story import announce, event, subscribe_by_api, subscriber
from tests.worker.backend import Backend, Clock, new_runtime
from tests.worker.house import ListQueue
from worker.actors import _NearQueue, _Telling
from worker.broker import make_broker
from worker.gather import Gather
from worker.runtime import Runtime

__all__ = ["on_valkey", "valkey"]


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
    near = _NearQueue(far, post.telling, Gather(lambda _ids: None, size_max=1, at_once=1))

    near.put_deliveries(post.happened(1))
    await post.backend.has_been_told(1)

    assert ([event(1).id], []) == (post.backend.ids, far.deliveries)


async def test_busy_worker_leaves_it_to_the_broker(post):
    """While notifications wait, what is decided is told in its turn: to take access away comes before telling of it."""
    far, free = ListQueue(), threading.Event()

    def hold(_ids: Sequence[str]) -> None:
        free.wait()

    gather = Gather(hold, size_max=1, at_once=1)
    near = _NearQueue(far, post.telling, gather)
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

    _Telling(runtime).deliver_soon(["dlv_1"])

    runtime.store.close()
