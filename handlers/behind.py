"""Decide how much may be let in while the workers are behind: as much as they finish, found by trying.

What waits in the inbox is safe, and to refuse it would only have it come later. So a door is slowed down for one thing
alone: that the storm of one platform makes everybody's notifications old. It takes all of these: what waits is old,
there is much of it, it becomes more, and the workers are at work. While they are not, nothing is gained by refusing.
"""

from dataclasses import dataclass, replace
from typing import Final

STUCK_SECONDS: Final = 60.0
"""Workers that finished nothing for so long are not at work."""
PACE_MIN: Final = 20.0
"""So many a second are let in, however far behind the workers are."""
LESS: Final = 0.7
MORE: Final = 1.25


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of the inbox at one moment.

    Attributes:
        at: Unix seconds.
        oldest: when the oldest came of what is pending and nobody tried, in Unix seconds; None: all was tried.
        taken: how many this door has let in so far.
    """

    at: float
    pending: int
    oldest: float | None
    taken: int


@dataclass(frozen=True, slots=True)
class Behind:
    """How it stands.

    Attributes:
        pace: how many a second may be let in; None: any number.
        last: the last reading.
        moved_at: when workers were last seen at work, in Unix seconds.
    """

    pace: float | None = None
    last: Reading | None = None
    moved_at: float = 0.0


def go_on(behind: Behind, now: Reading, *, age_seconds_max: float, pending_min: int) -> Behind:
    """Take the next reading in.

    Args:
        behind: how it stood.
        now: the reading.
        age_seconds_max: what is younger is not old.
        pending_min: fewer are no backlog, however old.
    """
    last = behind.last
    if last is None:
        return Behind(None, now, now.at)
    moved = now.oldest != last.oldest or now.pending < last.pending
    seen = replace(behind, last=now, moved_at=now.at if moved else behind.moved_at)
    old = now.oldest is not None and now.at - now.oldest > age_seconds_max
    if not old or now.pending < pending_min or now.at - seen.moved_at > STUCK_SECONDS:
        return replace(seen, pace=None)
    if now.pending <= last.pending:
        return replace(seen, pace=None if behind.pace is None else behind.pace * MORE)
    taken = (now.taken - last.taken) / max(now.at - last.at, 1.0)
    pace = taken if behind.pace is None else min(behind.pace, taken)
    return replace(seen, pace=max(PACE_MIN, pace * LESS))
