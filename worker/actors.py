"""What the queue can ask for: a table of actors, each a few lines around a station.

An actor says nothing back. What it finds out is in the rows; what it could not do stays due in the store, and the
sweeper asks again. So a store that is away costs one line here, and never a retry or a dead letter.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dramatiq
import structlog
from dramatiq import Broker, Middleware, Worker
from dramatiq.asyncio import get_event_loop_thread

from worker.broker import DELIVERIES, NOTIFICATIONS
from worker.delivery import Deliverer
from worker.gather import Gather
from worker.process import process
from worker.runtime import Queue, Runtime
from worker.store.engine import StoreUnavailable
from worker.store.listening import Listener
from worker.store.outbox import Claim
from worker.sweeper import NEW_ROUND, Round, prune

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Row:
    """One actor: what it is called on the queue, what it runs, where it waits, what it may take.

    Attributes:
        priority: smaller goes first where both wait for a thread.
    """

    name: str
    function: Callable[..., Any]
    queue: str
    priority: int
    time_limit_ms: int
    max_retries: int


def declare(broker: Broker, runtime: Runtime) -> Gather:
    """Make the actors of this broker. Names are on the queue: to change one strands what waits there.

    Returns:
        What runs sets of notifications here.
    """
    telling = _Telling(runtime)
    broker.add_middleware(telling)

    def process_set(ids: Sequence[str]) -> None:
        try:
            process(near, ids)
        except StoreUnavailable as error:
            log.warning("process.store_unavailable", waiting=len(ids), error=str(error))

    work = runtime.settings.work
    gather = Gather(process_set, size_max=work.set_size, at_once=work.sets)
    here = _Here(runtime.queue, telling, gather)
    near = replace(runtime, queue=here, messenger=here)

    def process_ids(ids: Sequence[str]) -> None:
        gather(ids)

    async def deliver_ids(ids: Collection[str]) -> None:
        await telling.deliver(ids)

    def prune_batch(so_far: Round = NEW_ROUND) -> None:
        try:
            further = prune(runtime, so_far)
        except StoreUnavailable as error:
            log.warning("prune.store_unavailable", error=str(error))
        else:
            if further:
                broker.get_actor("prune").send(further)

    table = (
        # Retries: for mistakes of ours that may pass, few and soon.
        Row("process", process_ids, NOTIFICATIONS, priority=0, time_limit_ms=60_000, max_retries=3),
        # Only lines deliveries up, so it never holds a thread for a slow subscriber. First, as it is over in a moment:
        # behind `process` it would wait until a whole storm of notifications is worked off.
        Row("deliver", deliver_ids, DELIVERIES, priority=-10, time_limit_ms=60_000, max_retries=3),
        # Whoever sweeps does as much every hour. A batch is a message: after each, whatever else waits comes first.
        Row("prune", prune_batch, NOTIFICATIONS, priority=10, time_limit_ms=60_000, max_retries=3),
    )
    for row in table:
        make = dramatiq.actor(
            broker=broker,
            actor_name=row.name,
            queue_name=row.queue,
            priority=row.priority,
            time_limit=row.time_limit_ms,
            max_retries=row.max_retries,
        )
        make(row.function)
    return gather


class _Here:
    """Queue and messenger as `process` sees them: while nothing else waits, what it decided is told from here at once.

    A worker that has more to do leaves telling to the broker, so that whichever worker has a thread to spare takes it.
    """

    def __init__(self, far: Queue, telling: "_Telling", gather: Gather) -> None:
        self._far, self._telling, self._gather = far, telling, gather

    def put_notifications(self, ids: Sequence[str]) -> None:
        """Hint at notifications to process. Raises `QueueUnavailable`."""
        self._far.put_notifications(ids)

    def put_deliveries(self, ids: Collection[str]) -> None:
        """Hint at deliveries to attempt. Raises `QueueUnavailable`."""
        if self._gather.waiting:
            self._far.put_deliveries(ids)
        else:
            self._telling.deliver_soon(ids)

    def room(self, whom: Listener) -> int:
        """Tell how many deliveries of a subscriber could begin now."""
        return 0 if self._gather.waiting else self._telling.room(whom)

    def begin(self, claims: Sequence[Claim]) -> None:
        """Begin these."""
        self._telling.begin_soon(claims)


class _Telling(Middleware):
    """Own this process's deliverer, which lives on the event loop of the async actors.

    Added after `AsyncIO`, so that its `after_…` hook runs before the loop is closed.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._deliverer: Deliverer | None = None

    async def deliver(self, ids: Collection[str]) -> None:
        """Line deliveries up at the one deliverer, made on the loop at its first use."""
        if self._deliverer is None:
            self._deliverer = Deliverer(self._runtime)
        try:
            await self._deliverer.deliver(ids)
        except StoreUnavailable as error:
            log.warning("deliver.store_unavailable", waiting=len(ids), error=str(error))

    def deliver_soon(self, ids: Collection[str]) -> None:
        """Line deliveries up from any thread, without waiting for it. What breaks is due in the store."""
        _soon(self.deliver(ids))

    def room(self, whom: Listener) -> int:
        """Tell from any thread how many deliveries of a subscriber could begin now."""
        return self._deliverer.room(whom) if self._deliverer else 0

    def begin_soon(self, claims: Sequence[Claim]) -> None:
        """Begin claimed deliveries from any thread, without waiting for it. What breaks is due when they lapse."""
        if self._deliverer:
            _soon(self._deliverer.begin(claims))

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002 - the hook's signature
        loop = get_event_loop_thread()
        if self._deliverer is not None and loop is not None:
            loop.run_coroutine(self._deliverer.close())


def _soon(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run this on the loop of the async actors; without one, the process is about to end."""
    thread = get_event_loop_thread()
    if thread is None:
        coroutine.close()
    else:
        asyncio.run_coroutine_threadsafe(coroutine, thread.loop)
