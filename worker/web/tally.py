"""Write down together what the requests of one turn of the event loop are counted by.

Processes of one host share their counts through files, and each addition to one costs as much as an addition of many.
What is committed together is answered in one turn, so under load dozens of requests share what each would have paid.
Nothing is late for it: the next turn begins before anybody can read an answer.
"""

import asyncio
from collections import Counter, defaultdict

from prometheus_client import Counter as Count
from prometheus_client import Gauge

from worker.metrics import Times


class Tally:
    """Counts and times of the current turn. Make one per event loop."""

    def __init__(self) -> None:
        self._counts: Counter[Count | Gauge] = Counter()
        self._times: defaultdict[Times, list[float]] = defaultdict(list)

    def count(self, counted: Count | Gauge) -> None:
        """Count one."""
        self._open()
        self._counts[counted] += 1

    def time(self, timed: Times, seconds: float) -> None:
        """Count one by how long it took."""
        self._open()
        self._times[timed].append(seconds)

    def write(self) -> None:
        """Write down what there is."""
        for counted, many in self._counts.items():
            counted.inc(many)
        for timed, seconds in self._times.items():
            timed.observe_all(seconds)
        self._counts.clear()
        self._times.clear()

    def _open(self) -> None:
        if not self._counts and not self._times:
            asyncio.get_running_loop().call_soon(self.write)
