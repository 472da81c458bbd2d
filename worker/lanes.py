"""A lane: what one subscriber has waiting and in flight in one process, and what bounds it."""

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a deliverer.

    Attributes:
        lane_in_flight: attempts at one subscriber at the same time.
        lane_born: attempts that one set of notifications may begin by itself at an idle subscriber. A few sets at the
            same time must not be more than its lane has room for.
        lane_waiting: hints kept per subscriber; more are dropped, and found by a lane that is late, or by the sweeper.
        lane_more: how much a late lane looks for at once. Few: others may look for the same.
        in_flight: attempts at the same time in all.
        lane_rest_seconds: how long a lane keeps what waits while its subscriber rests. After longer rests the sweeper
            finds it again, in whichever process.
        lane_memory_seconds: how long a lane takes its subscriber to rest without asking the store again, where the rest
            may have been ended: it was an hour of a wrong clock.
        grace_seconds: how long closing waits for attempts to end.
        store_retry_seconds: how long to wait for a store that is away.
    """

    lane_in_flight: int = 16
    lane_born: int = 4
    lane_waiting: int = 10_000
    lane_more: int = 64
    in_flight: int = 400
    lane_rest_seconds: float = 2.0
    lane_memory_seconds: float = 30.0
    grace_seconds: float = 5.0
    store_retry_seconds: float = 1.0


@dataclass(slots=True)
class Lane:
    """What one subscriber has in flight and waiting in this process."""

    waiting: dict[str, None] = field(default_factory=dict)
    in_flight: int = 0
    failing: bool = False
    strange: bool = False
    late: bool = False
    rests_until: float = 0.0
    alarm: asyncio.TimerHandle | None = None

    def free(self, limits: Limits) -> bool:
        """Tell whether an attempt may begin; a subscriber that fails is asked one thing at a time."""
        return self.in_flight < (1 if self.failing else limits.lane_in_flight)

    def room(self, limits: Limits, now: float) -> int:
        """Tell how much may begin unasked: some, where nothing is under way and nothing is the matter."""
        is_idle = not (self.in_flight or self.waiting or self.failing or self.rests_until > now)
        return limits.lane_born if is_idle else 0

    def wants_more(self, now: float) -> bool:
        """Tell whether to look for what nobody hints at: not of who fails or rests, for whom the sweeper is enough."""
        return self.late and not self.waiting and not self.failing and self.rests_until <= now

    def rings(self, alarm: asyncio.TimerHandle | None) -> None:
        """Be looked at again when the rest is over, and not before."""
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm = alarm
