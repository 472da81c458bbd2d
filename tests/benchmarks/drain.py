"""Processed in a second: `clawback work` beside a Dramatiq actor that does nothing, in turns, on the same broker.

Processed means: decided, entitlement revoked, refund recorded, event written, inbox finished. Workers are up and warm,
and stopped (SIGSTOP) while their backlog is queued. The clock runs from SIGCONT to the last acknowledgement.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import func, select

from tests.benchmarks.figures import Figure, Goal
from tests.benchmarks.ingest import stored
from tests.benchmarks.piles import APPLE, STRIPE, Kind
from tests.benchmarks.place import POSTGRESQL, SQLITE, SWEEP_AFTER_SECONDS, Grounds, Place, Running, servers
from tests.benchmarks.scope import Scope
from tests.benchmarks.servers import NOOP_NAMESPACE, NOOP_QUEUE, noop_actor
from tests.benchmarks.usage import family
from worker.broker import NOTIFICATIONS, make_broker
from worker.queue import BrokerQueue
from worker.simulator.sale import Shot
from worker.store.tables import entitlements, events, notifications, refunds

CASES = ((POSTGRESQL, STRIPE, 2), (POSTGRESQL, STRIPE, 1), (POSTGRESQL, APPLE, 2), (SQLITE, STRIPE, 2))
ARRIVE_TOGETHER = 64
"""As many as a door with 128 connections commits at a time, and so queues in one message: others arrive meanwhile."""
WARM = 500
"""Customers before the first run."""
LOOK_SECONDS = 0.005
DRAIN_SECONDS_MAX = 300.0
FOLLOW_SECONDS_MAX = 10.0


@dataclass
class Turns:
    """What all runs of one pair showed."""

    purchases: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    noop: list[float] = field(default_factory=list)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Measure each case."""
    for store, kind, count in CASES:
        if scope.wants("drain", "processed", store, kind.name, f"{count}p"):
            with (
                grounds.place(store) as place,
                place.running("work", count) as workers,
                servers("noop", place.valkey.socket, count) as idle,
            ):
                yield from _pair(place, kind, count, scope, (workers, idle))


def _pair(
    place: Place, kind: Kind, count: int, scope: Scope, running: tuple[Running, Sequence[Running]]
) -> Iterator[Figure]:
    name = f"processed, {kind.name} refunds, {place.store_name}, {count}p"
    workers, idle = running
    turns, seen = Turns(), WARM
    each = scope.size(10_000, quick=5_000)
    _both(place, workers, kind, WARM, Turns())
    for _ in scope.turns(f"{name}, {each:,} each"):
        _both(place, workers, kind, each, turns)
        seen += each
        check(place, seen)
        turns.noop.append(_noop(place, idle, each))
    goal = Goal("ratio", "least", 1.5) if place.store_name == POSTGRESQL and kind is STRIPE else None
    yield Figure(2, name, "/s", turns.ours, turns.noop, "no-op actor", goal, turns.cpu_ms)
    yield Figure(2, f"  {name}: processor time of work", "ms", turns.cpu_ms["work"])
    if "postgresql" in turns.cpu_ms:
        yield Figure(2, f"  {name}: of the database", "ms", turns.cpu_ms["postgresql"])
    yield Figure(2, f"  {name}: the purchases before", "/s", turns.purchases)


def _both(place: Place, workers: Running, kind: Kind, count: int, turns: Turns) -> float:
    """Let so many customers buy, and then be refunded; give the rate of the refunds."""
    sales = kind.sales(count, time.time())
    turns.purchases.append(drain(place, workers, kind, kind.purchases(place, sales, time.time()), {}))
    turns.ours.append(drain(place, workers, kind, kind.refunds(place, sales, time.time()), turns.cpu_ms))
    return turns.ours[-1]


def drain(place: Place, workers: Running, kind: Kind, shots: Sequence[Shot], cpu_ms: dict[str, list[float]]) -> float:
    """Store what was posted, queue it, and let workers take it off; give the rate."""
    ids = stored(place.store(), kind.platform, shots, retry_after_seconds=SWEEP_AFTER_SECONDS)
    return drained(place, workers, ids, cpu_ms)


def drained(place: Place, workers: Running, ids: Sequence[str], cpu_ms: dict[str, list[float]]) -> float:
    """Queue what is stored, and let workers take it off; give the rate."""
    queue = BrokerQueue(make_broker(place.settings))
    with stopped([workers]) as let_go:
        for start in range(0, len(ids), ARRIVE_TOGETHER):
            queue.put_notifications(ids[start : start + ARRIVE_TOGETHER])
        before = {"work": workers.cpu_seconds(), **place.cpu_seconds()}
        seconds = _timed(place, f"{place.settings.broker.namespace}:{NOTIFICATIONS}", let_go)
    queue.close()
    finished(place)
    for name, spent in {"work": workers.cpu_seconds(), **place.cpu_seconds()}.items():
        cpu_ms.setdefault(name, []).append(1000 * (spent - before[name]) / len(ids))
    return len(ids) / seconds


def check(place: Place, customers: int) -> None:
    """Look whether every row is as it must be: so many customers bought something, and lost it."""
    wanted = {
        "notifications processed": (notifications, notifications.c.status == "processed", 2 * customers),
        "refunds": (refunds, refunds.c.status == "succeeded", customers),
        "entitlements revoked": (entitlements, entitlements.c.active.is_(False), customers),
        "events of revocation": (events, events.c.type == "entitlement.revoked", customers),
    }
    with place.store().read() as connection:
        for name, (table, true, count) in wanted.items():
            found = connection.execute(select(func.count()).select_from(table).where(true)).scalar_one()
            if found != count:
                raise RuntimeError(f"{name}: {found}, and not {count}")


@contextmanager
def stopped(processes: Sequence[Running]) -> Iterator[Callable[[], None]]:
    """Hold processes still until they are let go."""
    pids = [pid for process in processes for pid in family(process.pid)]

    def let_go() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield let_go
    finally:
        let_go()


def _noop(place: Place, idle: Sequence[Running], count: int) -> float:
    """Let workers do nothing so many times; give the rate."""
    actor = noop_actor(str(place.valkey.socket))
    with stopped(idle) as let_go:
        for number in range(count):
            actor.send(f"ntf_{number:026}")
        seconds = _timed(place, f"{NOOP_NAMESPACE}:{NOOP_QUEUE}", let_go)
    actor.broker.close()
    return count / seconds


def _timed(place: Place, queue: str, let_go: Callable[[], None]) -> float:
    """Wait until all of a queue is acknowledged; give the seconds."""
    broker = place.broker()
    began = time.monotonic()
    let_go()
    while broker.hlen(f"{queue}.msgs"):
        if time.monotonic() - began > DRAIN_SECONDS_MAX:
            raise TimeoutError(f"{queue} is not empty")
        time.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - began
    broker.close()
    return seconds


def finished(place: Place, seconds_max: float = FOLLOW_SECONDS_MAX) -> None:
    """See that nothing is left behind, which the sweeper would find an hour later."""
    deadline = time.monotonic() + seconds_max
    statement = select(func.count()).where(notifications.c.status == "accepted")
    while True:
        with place.store().read() as connection:
            left = connection.execute(statement).scalar_one()
        if not left:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{left} notifications were acknowledged and are not finished")
        time.sleep(0.05)
