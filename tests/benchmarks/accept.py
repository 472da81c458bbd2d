"""Accepted in a second: `clawback serve` beside the bare framework, in turns, under the same generator.

Accepted means: proved, committed with fsync, its id queued, 200. Apple is also held against verification alone on the
processor time that `serve` got; that ratio does not move when somebody else uses the machine.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from sqlalchemy import func, select

from tests.benchmarks import alone
from tests.benchmarks.figures import Figure, Goal
from tests.benchmarks.load import Shooting, request, shoot
from tests.benchmarks.piles import KINDS, STRIPE, Kind
from tests.benchmarks.place import POSTGRESQL, STORES, Grounds, Place, Running, servers
from tests.benchmarks.scope import Scope
from tests.clusters import _free_port
from worker.simulator.sale import Shot
from worker.store.tables import notifications

PROCESSES = (1, 2)
WARM = 500


@dataclass
class Turns:
    """What all runs of one pair showed."""

    ours: list[Shooting] = field(default_factory=list)
    bare: list[Shooting] = field(default_factory=list)
    serve_ms: list[float] = field(default_factory=list)
    bare_ms: list[float] = field(default_factory=list)
    alone_ms: list[float] = field(default_factory=list)
    behind_ms: dict[str, list[float]] = field(default_factory=dict)


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Measure every platform on every database with one and two processes."""
    for store in STORES:
        for count in PROCESSES:
            kinds = [kind for kind in KINDS if scope.wants("accept", store, str(count), kind.name)]
            if not kinds:
                continue
            with ExitStack() as stack:
                place = stack.enter_context(grounds.place(store))
                serving = stack.enter_context(place.running("serve", count))
                port = _free_port()
                bare = stack.enter_context(servers("bare", port, count))
                for kind in kinds:
                    yield from _pair(place, serving, bare, port, kind, count, scope)


def ceiling(_: Grounds, scope: Scope) -> Iterator[Figure]:
    """Measure what the generator itself can do."""
    if scope.wants("generator"):
        port = _free_port()
        pile = [request("/", b"x" * 4_082, {})] * scope.size(30_000, quick=10_000)
        with servers("mute", port):
            shots = [shoot(port, pile) for _ in scope.turns("generator")]
        cpu = statistics.median(1e6 * each.cpu_seconds / each.accepted for each in shots)
        what = "the load generator's own ceiling, 4 KB"
        yield Figure(1, what, "/s", [each.rate for each in shots], more={"generator_us": cpu})


def _pair(
    place: Place, serving: Running, bare: Sequence[Running], port: int, kind: Kind, count: int, scope: Scope
) -> Iterator[Figure]:
    name = f"accepted, {kind.name}, {place.store_name}, {count}p"
    each = scope.size(6_000, quick=2_000) if kind is STRIPE else scope.size(2_500, quick=800)
    scope.say(f"{name}: signing {scope.rounds * each:,}")
    shots = _signed(place, kind, WARM + scope.rounds * each)
    pile = [request(kind.path, shot.body, shot.headers) for shot in shots]
    _warm(place, port, pile[:WARM])
    turns = Turns()
    prove = alone.ours(place, kind)
    prove.rate(shots[:WARM])
    for number in scope.turns(name):
        start = WARM + number * each
        turns.alone_ms.append(1000 / prove.rate(shots[start : start + each]))
        _run(place, serving, bare, port, pile[start : start + each], turns)
    _check(place, kind, len(pile))
    yield from _figures(name, kind, place, turns, len(pile[0]))


def _signed(place: Place, kind: Kind, count: int) -> list[Shot]:
    now = time.time()
    return kind.refunds(place, kind.sales(count, now), now)


def _warm(place: Place, port: int, pile: Sequence[bytes]) -> None:
    for where in (place.port, port):
        if shoot(where, pile).accepted != len(pile):
            raise RuntimeError("not everything was accepted: see serve.log")


def _run(
    place: Place, serving: Running, bare: Sequence[Running], port: int, pile: Sequence[bytes], turns: Turns
) -> None:
    """Load ours, then the other, and note what each cost."""
    before, behind = serving.cpu_seconds(), place.cpu_seconds()
    turns.ours.append(shoot(place.port, pile))
    after, since = serving.cpu_seconds(), place.cpu_seconds()
    turns.serve_ms.append(1000 * (after - before) / len(pile))
    for name in behind:
        turns.behind_ms.setdefault(name, []).append(1000 * (since[name] - behind[name]) / len(pile))
    before = sum(each.cpu_seconds() for each in bare)
    turns.bare.append(shoot(port, pile))
    turns.bare_ms.append(1000 * (sum(each.cpu_seconds() for each in bare) - before) / len(pile))


def _check(place: Place, kind: Kind, count: int) -> None:
    """Believe no 200: look whether the rows are there."""
    statement = select(func.count()).where(notifications.c.platform == kind.platform)
    with place.store().read() as connection:
        found = connection.execute(statement).scalar_one()
    if found < count:
        raise RuntimeError(f"{count} were accepted, and {found} are stored")


def _figures(name: str, kind: Kind, place: Place, turns: Turns, size: int) -> Iterator[Figure]:
    more = {
        "bytes": size,
        "refused": sum(each.refused for each in turns.ours),
        "p50_ms": statistics.median(each.wait_ms(0.50) for each in turns.ours),
        "p99_ms": statistics.median(each.wait_ms(0.99) for each in turns.ours),
        "generator_ms": statistics.median(1000 * each.cpu_seconds / each.accepted for each in turns.ours),
        "serve_ms": turns.serve_ms,
        "bare_ms": turns.bare_ms,
        **{f"{server}_ms": samples for server, samples in turns.behind_ms.items()},
    }
    main = place.store_name == POSTGRESQL
    goal = Goal("ratio", "least", 0.30) if main and kind is STRIPE else None
    rates = [each.rate for each in turns.ours]
    yield Figure(1, name, "/s", rates, [each.rate for each in turns.bare], "bare aiohttp", goal, more)
    yield Figure(1, f"  {name}: p99", "ms", [each.wait_ms(0.99) for each in turns.ours])
    yield Figure(1, f"  {name}: processor time of serve", "ms", turns.serve_ms, turns.bare_ms, "bare aiohttp")
    goal = Goal("ratio", "least", 0.70) if main and kind is not STRIPE else None
    share = [1 / each for each in turns.serve_ms]
    allowed = [1 / each for each in turns.alone_ms]
    yield Figure(
        1,
        f"  {name}: a core-second of serve",
        "k",
        share,
        allowed,
        "verification alone",
        goal,
    )
