"""What every station of a running process shares, made once in `worker/bootstrap.py` and handed down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from config.settings import Settings
from schemas.meaning import Confirm
from worker.confirm import visit
from worker.metrics import Metrics
from worker.store.engine import Store


class QueueUnavailable(Exception):
    """The broker took nothing. The rows are safe in the store: the sweeper queues them again."""


class Queue(Protocol):
    """Where hints go: ids of rows that are worth a look, one message for many of them."""

    def put_notifications(self, ids: Sequence[str]) -> None:
        """Hint at notifications to process. Raises `QueueUnavailable`."""
        ...

    def put_deliveries(self, ids: Sequence[str]) -> None:
        """Hint at deliveries to attempt. Raises `QueueUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of one process.

    Attributes:
        clock: reads Unix seconds; the only clock that stations may read.
        visit: confirms an SNS subscription where the configuration asks for it.
    """

    settings: Settings
    store: Store
    queue: Queue
    metrics: Metrics
    clock: Callable[[], float]
    visit: Callable[[Confirm], bool] = visit
