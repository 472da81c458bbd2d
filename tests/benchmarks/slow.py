"""A thousand clients that send one byte a second, beside the usual load: what they cost everybody else."""

import statistics
from collections.abc import Iterator

from tests.benchmarks.figures import Figure, Goal
from tests.benchmarks.load import Shooting, shoot
from tests.benchmarks.piles import STRIPE
from tests.benchmarks.place import POSTGRESQL, Grounds, servers
from tests.benchmarks.scope import Scope

WARM = 500


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Load with and without them, in turns."""
    if not scope.wants("slow clients"):
        return
    each = scope.size(5_000, quick=2_000)
    alone: list[Shooting] = []
    beside: list[Shooting] = []
    with grounds.place(POSTGRESQL) as place, place.running("serve"):
        pile = STRIPE.requests(place, WARM + 2 * scope.rounds * each)
        shoot(place.port, pile[:WARM])
        for number in scope.turns("1,000 slow clients"):
            start = WARM + 2 * number * each
            alone.append(shoot(place.port, pile[start : start + each]))
            with servers("slow", place.port):
                beside.append(shoot(place.port, pile[start + each : start + 2 * each]))
    refused = sum(shooting.refused for shooting in (*alone, *beside))
    yield _figure("accepted", "/s", beside, alone, Goal("ratio", "least", 0.9), refused)
    yield _figure("p50", "ms", beside, alone, Goal("ratio", "most", 1.1), refused)
    yield _figure("p99", "ms", beside, alone, None, refused)


def _figure(
    name: str, unit: str, beside: list[Shooting], alone: list[Shooting], goal: Goal | None, refused: int
) -> Figure:
    def of(shooting: Shooting) -> float:
        return shooting.rate if unit == "/s" else shooting.wait_ms({"p50": 0.5, "p99": 0.99}[name])

    ours, others = [of(each) for each in beside], [of(each) for each in alone]
    what = f"beside 1,000 slow clients: {name}"
    more = {"refused": refused, "spread": statistics.pstdev(others)}
    return Figure(7, what, unit, ours, others, "without them", goal, more)
