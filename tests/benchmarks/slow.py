"""A thousand clients that send one byte a second, beside the usual load: what they cost everybody else."""

import statistics
from collections.abc import Iterator

from tests.benchmarks.figures import Figure, Goal
from tests.benchmarks.load import Shooting, shoot
from tests.benchmarks.piles import STRIPE
from tests.benchmarks.place import POSTGRESQL, Grounds, servers
from tests.benchmarks.scope import Scope

WARM, SECONDS = 500, 2.0


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Load with and without them, in turns."""
    if not scope.wants("slow clients"):
        return
    alone: list[Shooting] = []
    beside: list[Shooting] = []
    with grounds.place(POSTGRESQL) as place, place.running("serve"):
        rate = shoot(place.port, STRIPE.requests(place, WARM)).rate
        each = scope.lasting(rate, SECONDS, least=1_000, most=15_000)
        for _ in scope.turns(f"1,000 slow clients, {each:,} others"):
            alone.append(shoot(place.port, STRIPE.requests(place, each)))
            pile = STRIPE.requests(place, each)
            with servers("slow", place.port):
                beside.append(shoot(place.port, pile))
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
