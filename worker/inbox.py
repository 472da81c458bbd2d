"""Accept verified notifications: durable, once, queued. What arrives together is committed together.

An idle inbox commits at once. While a commit is under way, whatever arrives waits for the next one, so that under
load one fsync and one queue message serve many requests, without a timer that would delay a single one.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import structlog

from handlers import ids
from schemas.received import Identity
from worker.bodies import PLAIN, Bodies
from worker.broker import ANSWER_SECONDS_MAX
from worker.flow import Flow
from worker.hinting import WouldWait
from worker.runtime import Queue, QueueUnavailable
from worker.store import inbox
from worker.store.awaiting import answered, ready
from worker.store.engine import Store, StoreUnavailable
from worker.store.kept import NotAtHand
from worker.tracing import TRACEPARENT

BATCH_MAX = 256
BATCH_BYTES_MAX = 1 << 21
"""What is more keeps an event loop too long: a thread writes it down. No platform's storm is near it."""
WAITING_MAX = 4096
"""Beyond this, a request is better answered 503 than kept waiting: every platform tries again."""

REST_SECONDS = 1.0
"""How long a connection stays after the last commit; one that rested longer would be looked at, or replaced."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified notification on its way into the inbox.

    Attributes:
        headers: the few that its platform's `read` needs.
        received_at: Unix seconds, before anything was read.
        verified_at: Unix seconds.
        traceparent: where its trace goes on; None: nobody looks at traces here.
    """

    app: str
    platform: str
    identity: Identity
    body: bytes
    headers: Mapping[str, str]
    received_at: float
    verified_at: float
    traceparent: str | None = None
    id: str = field(init=False)
    """Our id of it: the same for each repetition by the platform."""

    def __post_init__(self) -> None:
        made = ids.make("ntf", self.app, self.platform, self.identity.scope, self.identity.id)
        object.__setattr__(self, "id", made)


@dataclass(frozen=True, slots=True)
class Accepted:
    """It is on disk. `duplicate`: it was before."""

    id: str
    duplicate: bool


@runtime_checkable
class HintsFromLoop(Protocol):
    """A queue whose answers come over a socket, for which an event loop can wait."""

    def hinting(self, ids: Sequence[str]) -> AbstractContextManager[int]:
        """Hint, and give the socket to wait for within. Raises `WouldWait` or `QueueUnavailable`."""
        ...


class Inbox:
    """The door of the store for notifications. Make one per event loop.

    Args:
        store: where they become durable.
        queue: where their ids are hinted at afterwards.
        retry_after_seconds: when the sweeper shall look after a row that nobody finished.
        bodies: seals what came.
        rest_seconds: how long the connection stays that is used next.
    """

    def __init__(
        self,
        store: Store,
        queue: Queue,
        *,
        retry_after_seconds: float = 10.0,
        bodies: Bodies = PLAIN,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._store = store
        self._queue = queue
        self._hints = queue if isinstance(queue, HintsFromLoop) else None
        self._bodies = bodies
        self._retry_after_ms = int(retry_after_seconds * 1000)
        self._waiting: deque[tuple[Arrival, asyncio.Future[Accepted]]] = deque()
        self._rest_seconds = rest_seconds
        self._kept = store.keep(lambda: store.answers_later or bool(self._waiting))
        self._rounds = 0
        self._flushing: asyncio.Task[None] | None = None
        self.flow = Flow()

    async def accept(self, arrival: Arrival) -> Accepted:
        """Return once the notification is committed and its id was offered to the queue.

        Raises:
            StoreUnavailable: it is not durable: the database is away, or too many are waiting.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise StoreUnavailable("overloaded")
        accepted: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, accepted))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return await accepted

    async def close(self) -> None:
        """Wait until everything that was offered has its answer."""
        if self._flushing is not None:
            await self._flushing
        self._kept.give_back()

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
                with self.flow.of(len(batch)):
                    await self._commit(batch)
        finally:
            self._flushing = None
            self._rounds += 1
            asyncio.get_running_loop().call_later(self._rest_seconds, self._rest, self._rounds)

    def _rest(self, rounds: int) -> None:
        """Give the connection back where nothing came since so many rounds."""
        if self._flushing is None and self._rounds == rounds:
            self._kept.give_back()

    async def _commit(self, batch: Sequence[tuple[Arrival, asyncio.Future[Accepted]]]) -> None:
        try:
            answers = await self._stored([arrival for arrival, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting, and nobody told 200
            await self._refuse(batch, error)
            return
        for (_, accepted), answer in zip(batch, answers, strict=True):
            # A client that hung up has cancelled its future; its notification is stored all the same.
            if not accepted.done():
                accepted.set_result(answer)

    async def _refuse(self, batch: Sequence[tuple[Arrival, asyncio.Future[Accepted]]], error: Exception) -> None:
        """Answer that nothing is stored; where the database is there and refused a row, the others try without it."""
        if len(batch) > 1 and not isinstance(error, StoreUnavailable):
            for each in batch:
                await self._commit([each])
            return
        for _, accepted in batch:
            if not accepted.done():
                accepted.set_exception(_unavailable(error))

    async def _stored(self, arrivals: Sequence[Arrival]) -> list[Accepted]:
        """Store and hint, without a thread where that is possible."""
        try:
            return await self._store_from_loop(arrivals)
        except NotAtHand:
            return await asyncio.to_thread(self._store_and_hint, arrivals)

    async def _store_from_loop(self, arrivals: Sequence[Arrival]) -> list[Accepted]:
        if sum([len(arrival.body) for arrival in arrivals]) > BATCH_BYTES_MAX:
            raise NotAtHand
        with self._store.write_from_loop(self._kept) as connection:
            found = inbox.insert_absent(connection, self._rows(arrivals))
            await answered(connection)
            new = set(found)
        await self._hint_from_loop(arrivals, new)
        return _answers(arrivals, new)

    async def _hint_from_loop(self, arrivals: Sequence[Arrival], new: Collection[str]) -> None:
        if len(new) == len(arrivals) and self._hints is not None:
            try:
                with self._hints.hinting(list(new)) as socket:
                    await ready(socket, seconds=ANSWER_SECONDS_MAX)
            except WouldWait:
                pass  # a thread tries again
            except QueueUnavailable:
                _missed(len(new))
                return
            else:
                return
        await asyncio.to_thread(self._hint_at, arrivals, new)

    def _store_and_hint(self, arrivals: Sequence[Arrival]) -> list[Accepted]:
        with self._store.write_in_a_row(self._kept) as connection:
            new = set(inbox.insert_absent(connection, self._rows(arrivals)))
        self._hint_at(arrivals, new)
        return _answers(arrivals, new)

    def _hint_at(self, arrivals: Sequence[Arrival], new: Collection[str]) -> None:
        self._hint([*new, *self._forgotten({arrival.id for arrival in arrivals}.difference(new))])

    def _rows(self, arrivals: Sequence[Arrival]) -> list[dict[str, object]]:
        return [self._row(arrival) for arrival in {arrival.id: arrival for arrival in arrivals}.values()]

    def _forgotten(self, repeated: Collection[str]) -> list[str]:
        """Find those among repetitions that nobody worked on yet: whoever was to hint at them may have died before."""
        if not repeated:
            return []
        try:
            with self._store.look() as connection:
                return inbox.untouched(connection, repeated)
        except StoreUnavailable:
            return []  # they are stored all the same, and the sweeper looks after them

    def _hint(self, ids: Sequence[str]) -> None:
        try:
            if ids:
                self._queue.put_notifications(ids)
        except QueueUnavailable:
            _missed(len(ids))

    def _row(self, arrival: Arrival) -> dict[str, object]:
        identity = arrival.identity
        received_at_ms = int(arrival.received_at * 1000)
        body, headers = self._bodies.put(arrival.id, arrival.body, arrival.headers)
        verified_ms = round((arrival.verified_at - arrival.received_at) * 1000, 3)
        traced = f', "{TRACEPARENT}": "{arrival.traceparent}"' if arrival.traceparent else ""
        return {
            "id": arrival.id,
            "app": arrival.app,
            "platform": arrival.platform,
            "environment": identity.environment,
            "scope": identity.scope,
            "notification_id": identity.id,
            "type": identity.type,
            "subtype": identity.subtype,
            "occurred_at_ms": identity.occurred_at_ms,
            "received_at_ms": received_at_ms,
            "body": body,
            "headers": headers,
            "status": "accepted",
            "attempts": 0,
            "retry_at_ms": received_at_ms + self._retry_after_ms,
            "stations": f'{{"verified": {verified_ms}{traced}}}',
        }


def _missed(hints: int) -> None:
    log.warning("queue.unavailable", queue="notifications", waiting=hints)


def _answers(arrivals: Sequence[Arrival], new: Collection[str]) -> list[Accepted]:
    """Answer each; of one that came several times the first is new."""
    unsaid = set(new)
    answers = []
    for arrival in arrivals:
        answers.append(Accepted(arrival.id, duplicate=arrival.id not in unsaid))
        unsaid.discard(arrival.id)
    return answers


def _unavailable(error: Exception) -> StoreUnavailable:
    if isinstance(error, StoreUnavailable):
        return error
    log.error("inbox.failed", error=type(error).__name__)
    return StoreUnavailable(type(error).__name__)
