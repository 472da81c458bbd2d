"""Put hints on the queue: ids of rows that are worth a look."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import redis
from dramatiq import Message
from dramatiq.brokers.redis import RedisBroker

from worker.broker import DELIVERIES, NOTIFICATIONS, said
from worker.hinting import WouldWait
from worker.runtime import QueueUnavailable

IDS_PER_MESSAGE_MAX = 128
"""What one message carries: as much as a worker makes one set of, unless it is told otherwise."""


SILENT_SECONDS = 5.0
"""A broker that did not answer in time is asked nothing for so long: who is to say 200 would wait for it each time."""


class BrokerQueue:
    """The queue of a running service.

    It sends by actor name, so the side that puts needs none of the code that takes (`worker/actors.py`).
    """

    def __init__(self, broker: RedisBroker) -> None:
        self.broker = broker
        self._silent_until = 0.0

    def put_notifications(self, ids: Sequence[str]) -> None:
        """Hint at notifications to process. Raises `QueueUnavailable`."""
        self._put("process", NOTIFICATIONS, ids)

    @contextmanager
    def hinting(self, ids: Sequence[str]) -> Iterator[int]:
        """Hint as `put_notifications` does, and wait for nothing: within, wait until this socket may be read.

        Raises:
            WouldWait: nobody knows whether they were put; a thread has to, which can wait.
            QueueUnavailable: no answer came.
        """
        if len(ids) > IDS_PER_MESSAGE_MAX or time.monotonic() < self._silent_until:
            raise WouldWait
        message: Message[None] = Message(NOTIFICATIONS, "process", args=(list(ids),), kwargs={}, options={})
        try:
            with said(self.broker, lambda: self.broker.enqueue(message)) as socket:
                yield socket
        except redis.TimeoutError as error:
            self._silent_until = time.monotonic() + SILENT_SECONDS
            raise QueueUnavailable("silent") from error
        except redis.RedisError as error:
            raise WouldWait from error

    def put_deliveries(self, ids: Collection[str]) -> None:
        """Hint at deliveries to attempt, with their subscribers where they are known. Raises `QueueUnavailable`."""
        self._put("deliver", DELIVERIES, ids)

    def put_pruning(self) -> None:
        """Ask a worker to forget what is older than it is to be kept. Raises `QueueUnavailable`."""
        self._send([Message(NOTIFICATIONS, "prune", args=(), kwargs={}, options={})])

    def close(self) -> None:
        """Give every connection back."""
        self.broker.close()

    def _put(self, actor: str, queue: str, ids: Collection[str]) -> None:
        each = list(ids)
        chunks = (each[start : start + IDS_PER_MESSAGE_MAX] for start in range(0, len(each), IDS_PER_MESSAGE_MAX))
        portions = ({id_: ids[id_] for id_ in chunk} if isinstance(ids, Mapping) else chunk for chunk in chunks)
        self._send(Message(queue, actor, args=(one,), kwargs={}, options={}) for one in portions)

    def _send(self, messages: Iterable[Message[None]]) -> None:
        if time.monotonic() < self._silent_until:
            raise QueueUnavailable("silent")
        try:
            for message in messages:
                self.broker.enqueue(message)
        except redis.TimeoutError as error:
            self._silent_until = time.monotonic() + SILENT_SECONDS
            raise QueueUnavailable("silent") from error
        except redis.RedisError as error:
            raise QueueUnavailable(type(error).__name__) from error
