"""Let attempts at one subscriber begin no faster than it asked for, whoever makes them.

The state is one number, the moment from which on the next may begin: every process that reads and moves it under
one lock keeps the same pace. It is the "virtual scheduling" form of the leaky bucket (ITU-T I.371, GCRA).
"""

import math
from typing import NamedTuple

BURST_SECONDS = 0.1
"""What an idle subscriber saves up: enough for a turn that comes late, too little to be felt as a burst."""


class Admitted(NamedTuple):
    """How many may begin now, and from when on the next one may.

    Attributes:
        not_before_ms: Unix milliseconds.
    """

    granted: int
    not_before_ms: int


def admit(wanted: int, *, rate_per_second: float | None, not_before_ms: int, now_ms: int) -> Admitted:
    """Admit as many as the pace allows: in any stretch of time at most its share, one, and what was saved up.

    Args:
        wanted: how many would begin.
        rate_per_second: None: as many as there are, once the subscriber's rest is over.
        not_before_ms: as the last admission, or the subscriber's wish to rest, left it.
        now_ms: Unix milliseconds.
    """
    if not_before_ms > now_ms or wanted <= 0:
        return Admitted(0, not_before_ms)
    if rate_per_second is None:
        return Admitted(wanted, not_before_ms)
    every_ms = 1000 / rate_per_second
    begin_ms = max(not_before_ms, now_ms - int(BURST_SECONDS * 1000))
    granted = min(wanted, int((now_ms - begin_ms) / every_ms) + 1)
    return Admitted(granted, math.ceil(begin_ms + granted * every_ms))
