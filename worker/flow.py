"""Know how fast an inbox commits at the moment: as the last commits went, or slower if one is at it for longer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

RECENT_PART = 0.25
"""What the last commit says of the next, beside those before it."""
PER_SECOND_MAX = 1e6
"""Of an inbox that never committed anything."""


class Flow:
    """What commits took.

    Attributes:
        rows: that a commit has of late.
    """

    def __init__(self) -> None:
        self.rows = 0.0
        self._seconds = 0.0
        self._under_way = 0
        self._began = 0.0

    @contextmanager
    def of(self, rows: int) -> Iterator[None]:
        """Time one commit."""
        self._under_way, self._began = rows, time.monotonic()
        try:
            yield
        finally:
            self._under_way = 0
        seconds = time.monotonic() - self._began
        self.rows += (rows - self.rows) * RECENT_PART
        self._seconds += (seconds - self._seconds) * RECENT_PART

    def per_second(self) -> float:
        """Say how many are committed in a second."""
        usual = self.rows / self._seconds if self._seconds else PER_SECOND_MAX
        if not self._under_way:
            return usual
        return min(usual, self._under_way / max(time.monotonic() - self._began, 1 / PER_SECOND_MAX))
