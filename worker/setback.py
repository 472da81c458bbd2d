"""Notice that a clock was set back: whatever waits for a moment that it had shown before would wait for it again."""

from collections.abc import Callable

STEP_SECONDS = 0.5
"""Less is the gentle drift of NTP, which nobody has to notice."""


class SetBack:
    """Watch one clock. Whoever asks often notices soon.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._latest = clock()

    def noticed(self) -> bool:
        """Tell whether it shows an earlier moment than the last time it was asked."""
        before, self._latest = self._latest, self._clock()
        return self._latest < before - STEP_SECONDS
