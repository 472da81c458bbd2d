"""Accepted in a second: `clawback serve` beside the bare framework, in turns, under the same generator.

Accepted means: proved, committed with fsync, its id queued, 200. Apple is also held against verification alone on the
processor time that `serve` got; that ratio does not move when somebody else uses the machine.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select

from tests.benchmarks import alone
from tests.benchmarks.figures import Figure, Goal
from tests.benchmarks.load import Shooting, request, shoot
from tests.benchmarks.piles import APPLE, KINDS, STRIPE, Kind
from tests.benchmarks.place import POSTGRESQL, SQLITE, Grounds, Place, Running, servers
from tests.benchmarks.scope import Scope
from tests.clusters import free_port
from worker.store.tables import notifications

CASES: Sequence[tuple[str, int, Sequence[Kind]]] = (
    (POSTGRESQL, 1, KINDS),
    (POSTGRESQL, 2, KINDS),
    (SQLITE, 1, (STRIPE,)),
    (SQLITE, 2, (STRIPE, APPLE)),
)
"""Database, processes, what is posted."""
WARM = 500
SECONDS, BARE_REQUESTS = 1.0, 6_000
"""How long a run of ours lasts about, and how many requests one of the bare framework is at least."""


@dataclass
class Turns:
    """What all runs of one pair showed."""

    ours: list[Shooting] = field(default_factory=list)
    bare: list[Shooting] = field(default_factory=list)
    serve_ms: list[float] = field(default_factory=list)
    bare_ms: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    behind_ms: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """What runs, and what is posted to it."""

    place: Place
    serving: Running
    bare: Sequence[Running]
    port: int
    kind: Kind
    count: int

    @property
    def name(self) -> str:
        """Call it in the table."""
        return f"accepted, {self.kind.name}, {self.place.store_name}, {self.count}p"


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Measure every platform on every database with one and two processes."""
    for store, count, kinds in CASES:
        wanted = [kind for kind in kinds if scope.wants("accept", store, f"{count}p", kind.name)]
        if not wanted:
            continue
        port = free_port()
        with (
            grounds.place(store) as place,
            place.running("serve", count) as serving,
            servers("bare", port, count) as bare,
        ):
            for kind in wanted:
                yield from _pair(Pair(place, serving, bare, port, kind, count), scope)


def ceiling(_: Grounds, scope: Scope) -> Iterator[Figure]:
    """Measure what the generator itself can do."""
    if scope.wants("generator"):
        port = free_port()
        pile = [request("/", b"x" * 4_082, {})] * scope.size(30_000, quick=10_000)
        with servers("mute", port):
            shots = [shoot(port, pile) for _ in scope.turns("generator")]
        cpu = statistics.median(1e6 * each.cpu_seconds / each.accepted for each in shots)
        what = "the load generator's own ceiling, 4 KB"
        yield Figure(1, what, "/s", [each.rate for each in shots], more={"generator_us": cpu})


def _pair(pair: Pair, scope: Scope) -> Iterator[Figure]:
    place, kind, turns, prove = pair.place, pair.kind, Turns(), alone.ours(pair.place, pair.kind)
    rate = _warm(pair, prove)
    each = scope.lasting(rate, SECONDS, least=300, most=10_000)
    for _ in scope.turns(f"{pair.name}, {each:,} each"):
        now = time.time()
        shots = kind.refunds(place, kind.sales(each, now), now)
        turns.alone.append(prove.rate(shots))
        _run(pair, [request(kind.path, shot.body, shot.headers) for shot in shots], turns)
    _check(place, kind, WARM + scope.rounds * each)
    yield from _figures(pair, turns, len(shots[0].body))


def _warm(pair: Pair, prove: alone.Alone) -> float:
    """Have everything done once; give the rate of ours."""
    now = time.time()
    shots = pair.kind.refunds(pair.place, pair.kind.sales(WARM, now), now)
    prove.rate(shots)
    pile = [request(pair.kind.path, shot.body, shot.headers) for shot in shots]
    shoot(pair.port, pile)
    shooting = shoot(pair.place.port, pile)
    if shooting.accepted != WARM:
        raise RuntimeError("not everything was accepted: see serve.log")
    return shooting.rate


def _run(pair: Pair, pile: Sequence[bytes], turns: Turns) -> None:
    """Load ours, then the other, and note what each cost."""
    before, behind = pair.serving.cpu_seconds(), pair.place.cpu_seconds()
    turns.ours.append(shoot(pair.place.port, pile))
    after, since = pair.serving.cpu_seconds(), pair.place.cpu_seconds()
    turns.serve_ms.append(1000 * (after - before) / len(pile))
    for name in behind:
        turns.behind_ms.setdefault(name, []).append(1000 * (since[name] - behind[name]) / len(pile))
    many = [*pile] * -(-BARE_REQUESTS // len(pile))
    before = sum(each.cpu_seconds() for each in pair.bare)
    turns.bare.append(shoot(pair.port, many))
    turns.bare_ms.append(1000 * (sum(each.cpu_seconds() for each in pair.bare) - before) / len(many))


def _check(place: Place, kind: Kind, count: int) -> None:
    """Believe no 200: look whether the rows are there."""
    statement = select(func.count()).where(notifications.c.platform == kind.platform)
    with place.store().read() as connection:
        found = connection.execute(statement).scalar_one()
    if found < count:
        raise RuntimeError(f"{count} were sent, and {found} are stored")


def _figures(pair: Pair, turns: Turns, size: int) -> Iterator[Figure]:
    name, on_postgresql, stripe = pair.name, pair.place.store_name == POSTGRESQL, pair.kind is STRIPE
    more = {
        "bytes": size,
        "refused": sum(each.refused for each in turns.ours),
        "p50_ms": statistics.median(each.wait_ms(0.50) for each in turns.ours),
        "bare_p50_ms": statistics.median(each.wait_ms(0.50) for each in turns.bare),
        "generator_ms": statistics.median(1000 * each.cpu_seconds / each.accepted for each in turns.ours),
        **{f"{server}_ms": samples for server, samples in turns.behind_ms.items()},
    }
    goal = Goal("ratio", "least", 0.30) if on_postgresql and stripe else None
    bare = [each.rate for each in turns.bare]
    yield Figure(1, name, "/s", [each.rate for each in turns.ours], bare, "bare aiohttp", goal, more)
    waits, others = ([each.wait_ms(0.99) for each in shootings] for shootings in (turns.ours, turns.bare))
    yield Figure(1, f"  {name}: p99", "ms", waits, others, "bare aiohttp")
    yield Figure(1, f"  {name}: processor time of serve", "ms", turns.serve_ms, turns.bare_ms, "bare aiohttp")
    goal = Goal("ratio", "least", 0.70) if on_postgresql and not stripe else None
    share = [1000 / each for each in turns.serve_ms]
    yield Figure(1, f"  {name}: by serve", "/s of a core", share, turns.alone, "verification alone", goal)
