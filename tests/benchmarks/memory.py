"""What `serve` and `work` hold in memory while notifications go through them, and whether it grows."""

import time
from collections.abc import Iterator, Sequence

from tests.benchmarks.drain import finished
from tests.benchmarks.figures import Figure, Goal
from tests.benchmarks.load import request, shoot
from tests.benchmarks.piles import STRIPE
from tests.benchmarks.place import POSTGRESQL, Grounds, Place
from tests.benchmarks.scope import Scope
from tests.benchmarks.usage import resident_mb

CHUNK = 2_500
"""Customers who buy and are refunded between two looks: twice as many notifications."""
SECONDS_MAX = 90.0
"""A slow machine stops before all are through, and the table says how far it came."""
SERVE_MB_MAX, WORK_MB_MAX = 120, 150


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Put notifications through one of each, and look now and then."""
    if not scope.wants("memory"):
        return
    count = scope.size(50_000, quick=10_000, long=1_000_000)
    seen: list[tuple[int, float, float]] = []
    with grounds.place(POSTGRESQL) as place, place.running("serve") as serve, place.running("work") as work:
        began, through = time.monotonic(), 0
        while through < count and (scope.long or time.monotonic() - began < SECONDS_MAX):
            _through(place)
            through += 2 * CHUNK
            seen.append((through, resident_mb(serve.pid), resident_mb(work.pid)))
            scope.say("{:,} through: serve {:.0f} MB, work {:.0f} MB".format(*seen[-1]))
    later = seen[len(seen) // 2 :]
    for column, (name, bound) in enumerate((("serve", SERVE_MB_MAX), ("work", WORK_MB_MAX)), start=1):
        samples = [row[column] for row in seen]
        more = {"through": [row[0] for row in seen]}
        what = f"memory of {name} after {seen[-1][0]:,} notifications"
        yield Figure(6, what, "MB", [samples[-1]], goal=Goal("ours", "most", bound), more={**more, "mb": samples})
        grown = slope([row[0] / 100_000 for row in later], [row[column] for row in later])
        yield Figure(6, f"memory of {name}: growth over the later half", "MB per 100,000", [grown])


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """Give the slope of the straight line that fits best; 0 of fewer than two points."""
    if len(at) < 2:
        return 0.0
    middle, level = sum(at) / len(at), sum(values) / len(values)
    spread = sum((x - middle) ** 2 for x in at)
    return sum((x - middle) * (y - level) for x, y in zip(at, values, strict=True)) / spread if spread else 0.0


def _through(place: Place) -> None:
    """Let customers buy, and be refunded, and wait until all of it is processed."""
    sales = STRIPE.sales(CHUNK, time.time())
    for say in (STRIPE.purchases, STRIPE.refunds):
        shots = say(place, sales, time.time())
        if shoot(place.port, [request(STRIPE.path, shot.body, shot.headers) for shot in shots]).refused:
            raise RuntimeError("not everything was accepted: see serve.log")
        finished(place, seconds_max=SECONDS_MAX)
