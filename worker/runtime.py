"""What every station of a running process shares, made once in `worker/bootstrap.py` and handed down."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from config.settings import Settings
from schemas.meaning import Confirm
from worker.bodies import PLAIN, Bodies
from worker.confirm import visit
from worker.lookups import Question
from worker.metrics import Metrics
from worker.sealing import NO_KEYS, Sealer
from worker.store.engine import Store
from worker.store.listening import Listener
from worker.store.outbox import Claim
from worker.tracing import OFF, Traces


class QueueUnavailable(Exception):
    """The broker took nothing. The rows are safe in the store: the sweeper queues them again."""


class Queue(Protocol):
    """Where hints go: ids of rows that are worth a look, one message for many of them."""

    def put_notifications(self, ids: Sequence[str]) -> None:
        """Hint at notifications to process. Raises `QueueUnavailable`."""
        ...

    def put_deliveries(self, ids: Collection[str]) -> None:
        """Hint at deliveries to attempt. A mapping to their subscribers spares asking. Raises `QueueUnavailable`."""
        ...


class Messenger(Protocol):
    """Who tells subscribers from this process, right after what they are told was decided in it."""

    def room(self, whom: Listener) -> int:
        """Tell how many deliveries of a subscriber could begin now."""
        ...

    def begin(self, claims: Sequence[Claim]) -> None:
        """Begin these, which were claimed for this process and are committed."""
        ...


class NoMessenger:
    """Tell nobody from here: whoever is hinted at deliveries does."""

    def room(self, whom: Listener) -> int:  # noqa: ARG002 - as whoever tells
        """Begin nothing."""
        return 0

    def begin(self, claims: Sequence[Claim]) -> None:
        """Leave what was claimed until its claims lapse; there is none without room."""


class Lookups(Protocol):
    """Who asks the platforms' APIs for what notifications leave out."""

    def can_ask(self, app: str, platform: str, kind: str) -> bool:
        """Tell whether an app has what it takes to ask for this."""
        ...

    def reopens_at(self, app: str, platform: str) -> float:
        """Tell from when on, in Unix seconds, a question can be answered."""
        ...

    def ask(self, questions: Iterable[Question]) -> Mapping[Question, Any]:
        """Give the facts that came in time."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


class NoLookups:
    """Ask nobody: what notifications leave out stays unknown."""

    def can_ask(self, app: str, platform: str, kind: str) -> bool:  # noqa: ARG002 - as whoever can
        """Tell that nothing can be asked."""
        return False

    def reopens_at(self, app: str, platform: str) -> float:  # noqa: ARG002 - as whoever can
        """Tell that there is nothing to wait for."""
        return 0.0

    def ask(self, questions: Iterable[Question]) -> Mapping[Question, Any]:  # noqa: ARG002 - as whoever can
        """Learn nothing."""
        return {}

    def close(self) -> None:
        """Give nothing back."""


NOBODY: Final = NoLookups()
ELSEWHERE: Final = NoMessenger()


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of one process.

    Attributes:
        clock: reads Unix seconds; the only clock that stations may read.
        visit: confirms an SNS subscription where the configuration asks for it.
        lookups: asks the platforms' APIs where the configuration has credentials for them.
        sealer: opens the secrets of subscribers that are in the store.
        bodies: seals and opens what platforms posted.
        traces: tells of what was done, where somebody looks at traces.
        messenger: tells subscribers from this process.
    """

    settings: Settings
    store: Store
    queue: Queue
    metrics: Metrics
    clock: Callable[[], float]
    visit: Callable[[Confirm], bool] = visit
    lookups: Lookups = NOBODY
    sealer: Sealer = NO_KEYS
    bodies: Bodies = PLAIN
    traces: Traces = OFF
    messenger: Messenger = ELSEWHERE
