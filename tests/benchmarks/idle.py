"""One notification on an idle system: from its POST to access that is taken away, and to the app's backend that hears.

The moment of the commit is told by PostgreSQL itself: a trigger of this benchmark alone notifies when an entitlement
changes, and PostgreSQL delivers that when the transaction has committed. Nothing polls. The backend is a socket here
that notes its first byte. A refund is sent when everything about the last one has been quiet for a while.
"""

import json
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from tests.benchmarks.drain import drain
from tests.benchmarks.figures import Figure, Goal, percentile
from tests.benchmarks.load import END_OF_HEAD, ends_at
from tests.benchmarks.piles import STRIPE
from tests.benchmarks.place import POSTGRESQL, Grounds, Place
from tests.benchmarks.scope import Scope
from worker.simulator.sale import Sale

QUIET_SECONDS = 0.05
WAIT_SECONDS_MAX = 30.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TRIGGER = """
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('revoked', NEW.user_id); RETURN NULL; END $$;
    CREATE TRIGGER tell AFTER INSERT OR UPDATE ON entitlements
        FOR EACH ROW WHEN (NOT NEW.active) EXECUTE FUNCTION tell();
"""
SECRET = "whsec_" + "c" * 43 + "="


@dataclass
class Backend:
    """The app's backend: what it heard since that was asked, each with the moment of its first byte."""

    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0), backlog=64))
    heard: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Give its address."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/events"

    def subscription(self) -> str:
        """Write the configuration that tells it."""
        return (
            f'\n[[subscribers]]\napp = "demo"\nurl = {json.dumps(self.url)}\nsecrets = [{json.dumps(SECRET)}]\n'
            "allow_private = true\n"
        )

    def listen(self) -> None:
        """Take connections until closed."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        held, began = b"", 0.0
        with connection:
            while data := connection.recv(65_536):
                if not held:
                    began = time.perf_counter()
                held += data
                if END_OF_HEAD in held and len(held) >= ends_at(held):
                    self.heard.append((began, held))
                    held = b""
                    connection.sendall(ANSWER)

    def heard_of(self, whom: str) -> float | None:
        """Tell when it first heard of a customer."""
        return next((began for began, said in self.heard if whom.encode() in said), None)

    def settle(self) -> None:
        """Wait until nothing more comes."""
        seen = -1
        while seen != len(self.heard):
            seen = len(self.heard)
            time.sleep(QUIET_SECONDS)
        self.heard.clear()


@contextmanager
def backend() -> Iterator[Backend]:
    """Be the app's backend."""
    made = Backend()
    threading.Thread(target=made.listen, daemon=True).start()
    yield made
    made.listener.close()


@dataclass(frozen=True)
class Waits:
    """Milliseconds from the first byte of the POST."""

    answered: float
    committed: float
    told: float


class Bell:
    """Posts one notification at a time, and hears what follows."""

    def __init__(self, place: Place, told: Backend) -> None:
        self._told = told
        self._door = socket.create_connection(("127.0.0.1", place.port))
        self._database = psycopg.connect(place.settings.store.url, autocommit=True)
        self._database.execute(TRIGGER)
        self._database.execute("LISTEN revoked")

    def ring(self, request: bytes, whom: str, port: int) -> Waits:
        """Post what takes a customer's access away, and wait for everything."""
        self._told.settle()
        if self._door.fileno() < 0 or _hung_up(self._door):
            self._door = socket.create_connection(("127.0.0.1", port))
        began = time.perf_counter()
        self._door.sendall(request)
        said = self._door.recv(65_536)
        answered = time.perf_counter()
        if not said.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"not accepted: {said!r}")
        for _ in self._database.notifies(timeout=WAIT_SECONDS_MAX, stop_after=1):
            committed = time.perf_counter()
            break
        else:
            raise TimeoutError("no entitlement was revoked")
        deadline = time.perf_counter() + WAIT_SECONDS_MAX
        while (told := self._told.heard_of(whom)) is None:
            if time.perf_counter() > deadline:
                raise TimeoutError("the backend heard nothing")
            time.sleep(0.0005)
        return Waits(*(1000 * (at - began) for at in (answered, committed, told)))

    def close(self) -> None:
        """Hang up."""
        self._door.close()
        self._database.close()


def _hung_up(connection: socket.socket) -> bool:
    """Tell whether the other side closed a connection that was idle for long."""
    connection.setblocking(False)  # noqa: FBT003 - the socket's own signature
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)  # noqa: FBT003 - the socket's own signature


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Measure an idle system, and one that was idle for long."""
    if not scope.wants("idle", "latency", "one notification"):
        return
    count, long = scope.size(200, quick=40), scope.size(2, quick=1, long=2)
    pauses = scope.size(10, quick=3, long=600)
    with (
        backend() as told,
        grounds.place(POSTGRESQL, more=told.subscription()) as place,
        place.running("work") as workers,
        place.running("serve"),
    ):
        sales = STRIPE.sales(count + long, time.time())
        drain(place, workers, STRIPE, STRIPE.purchases(place, sales, time.time()), {})
        bell = Bell(place, told)

        def ring(sale: Sale) -> Waits:
            (request,) = STRIPE.signed(place, [sale])  # now: what was signed minutes ago is refused
            return bell.ring(request, sale.user_id, place.port)

        for warm in sales[:5]:
            ring(warm)
        scope.say(f"one notification on an idle system: {count} of them")
        waits = [ring(sale) for sale in sales[5:count]]
        late = []
        for sale in sales[count:]:
            scope.say(f"idle for {pauses} s")
            time.sleep(pauses)
            late.append(ring(sale))
        bell.close()
    yield from _figures(waits, "one notification, idle", tails=True)
    yield from _figures(late, f"one notification after {pauses} s of idleness", tails=False)


def _figures(waits: Sequence[Waits], name: str, *, tails: bool) -> Iterator[Figure]:
    committed, told = [each.committed for each in waits], [each.told for each in waits]
    answered = [each.answered for each in waits]
    more: Mapping[str, float] = {"answered_p50_ms": statistics.median(answered), "told_p99_ms": percentile(told, 0.99)}
    yield Figure(3, f"{name}: POST to access revoked and committed", "ms", committed, goal=_most(10), more=more)
    if tails:
        yield Figure(3, f"{name}: the same, p99", "ms", [percentile(committed, 0.99)], goal=_most(25))
    yield Figure(3, f"{name}: POST to the backend's first byte", "ms", told, goal=_most(20))


def _most(bound: float) -> Goal:
    return Goal("ours", "most", bound)
