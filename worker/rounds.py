"""What a worker does by itself, without being asked: each thing as often as it must be done."""

import time
from collections.abc import Callable

from worker.runtime import Runtime
from worker.setback import SetBack
from worker.sweeper import NEW_ROUND, forget_future, give_up_silent, look_ahead, make_due, prune, sweep, tidy

GIVE_UP_EVERY_SECONDS = 5.0
LOOK_AHEAD_EVERY_SECONDS = 10.0
TIDY_EVERY_SECONDS = 3600.0
LATE_SECONDS = 60.0
"""Who looked at a clock before it was set back may take so long to commit what was decided by it."""


class Rounds:
    """Remembers when each thing is due. One that failed is due again at once.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._due: dict[Callable[[Runtime], object], float] = {}
        self._watch = SetBack(runtime.clock)
        self._set_back = True  # nobody knows what the clock was like before this process
        self._late_until = 0.0
        self._prune_at, self._forgetting = 0.0, NEW_ROUND

    def go(self) -> None:
        """Sweep, and do what else is due.

        Raises:
            StoreUnavailable: what was not done is done the next time.
        """
        if self._watch.noticed():
            self._set_back, self._late_until = True, time.monotonic() + LATE_SECONDS
        self._every(GIVE_UP_EVERY_SECONDS, give_up_silent)  # first: a sweep would wait for what the silent hold
        if self._set_back:
            forget_future(self._runtime)
            self._set_back = False
        elif self._late_until:
            # Whoever rests is not woken each time for what may come late, but once in the end.
            over = time.monotonic() >= self._late_until
            (forget_future if over else make_due)(self._runtime)
            self._late_until = 0.0 if over else self._late_until
        sweep(self._runtime)
        self._every(LOOK_AHEAD_EVERY_SECONDS, look_ahead)
        self._every(TIDY_EVERY_SECONDS, tidy)
        self._prune()

    def _every(self, seconds: float, do: Callable[[Runtime], object]) -> None:
        if time.monotonic() >= self._due.get(do, 0.0):
            do(self._runtime)
            self._due[do] = time.monotonic() + seconds

    def _prune(self) -> None:
        if time.monotonic() < self._prune_at:
            return
        # What is more than a batch goes a batch with each round: nothing waits for it.
        further = prune(self._runtime, self._forgetting)
        self._prune_at = time.monotonic() + (0.0 if further else TIDY_EVERY_SECONDS)
        self._forgetting = further or NEW_ROUND
