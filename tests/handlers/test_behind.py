"""How much is let in while the workers are behind: laws, for any readings of any inbox.

Real: the decision. Doubles: none; readings are made up, by chance or by a small model of an inbox.
"""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from handlers.behind import PACE_MIN, STUCK_SECONDS, Behind, Reading, go_on

AGE_SECONDS_MAX = 900.0
PENDING_MIN = 10_000
NOW = 1_800_000_000.0
ANY = st.builds(
    Reading,
    at=st.floats(NOW, NOW + 100_000),
    pending=st.integers(0, 100_000),
    oldest=st.none() | st.floats(NOW - 100_000, NOW + 100_000),
    taken=st.integers(0, 1_000_000),
)
READINGS = st.lists(ANY, max_size=12).map(lambda readings: sorted(readings, key=lambda reading: reading.at))


def after(readings: list[Reading], behind: Behind | None = None) -> Behind:
    """Take readings in, one after the other."""
    behind = behind or Behind()
    for reading in readings:
        behind = go_on(behind, reading, age_seconds_max=AGE_SECONDS_MAX, pending_min=PENDING_MIN)
    return behind


def storm(seconds: int, *, comes: int, done: int, pending: int = 200_000) -> Behind:
    """Look every two seconds at an inbox to which so many come in a second, and of which so many are finished."""
    behind, taken, oldest = Behind(), 0, NOW - 2 * AGE_SECONDS_MAX
    for at in range(0, seconds, 2):
        let_in = 2 * (comes if behind.pace is None else min(comes, behind.pace))
        taken, pending, oldest = taken + int(let_in), max(0, int(pending + let_in - 2 * done)), oldest + bool(done)
        behind = after([Reading(NOW + at, pending, oldest if pending else None, taken)], behind)
    return behind


@given(READINGS)
def test_some_are_always_let_in(readings: list[Reading]):
    """However it looks, a door that is slowed down takes some."""
    pace = after(readings).pace

    assert pace is None or pace >= PACE_MIN


@given(READINGS, st.integers(0, PENDING_MIN - 1))
def test_a_few_old_ones_slow_nothing_down(readings: list[Reading], pending: int):
    """One that keeps failing is as old as can be; while there are few it is no sign of a storm."""
    last = Reading(NOW + 200_000, pending, NOW - 1e6, 10**7)

    assert after([*readings, last]).pace is None


@given(READINGS, st.floats(0, AGE_SECONDS_MAX))
def test_what_is_young_slows_nothing_down(readings: list[Reading], age: float):
    """However much waits, it is no concern while it does not wait long."""
    last = Reading(NOW + 200_000, 10**6, NOW + 200_000 - age, 10**7)

    assert after([*readings, last]).pace is None


@given(st.integers(PENDING_MIN, 10**6), st.integers(0, 5_000), st.integers(1, 50))
def test_dead_workers_slow_nothing_down_for_long(pending: int, comes: int, looks: int):
    """Where nobody works, nothing is gained by refusing what could be kept: the door opens again."""
    oldest = NOW - 10 * AGE_SECONDS_MAX
    readings = [Reading(NOW + 2 * n, pending + comes * n, oldest, comes * n) for n in range(looks)]
    later = Reading(NOW + 2 * looks + STUCK_SECONDS, pending + comes * looks + 1, oldest, comes * looks)

    assert after([*readings, later]).pace is None


@given(READINGS)
def test_what_shrinks_is_slowed_down_no_more_than_before(readings: list[Reading]):
    """While less waits than before, the pace only rises."""
    before = after(readings)
    if before.last is None:
        return
    last = replace(before.last, at=before.last.at + 2, pending=max(0, before.last.pending - 1), taken=before.last.taken)
    pace = after([last], before).pace

    assert pace is None or (before.pace is not None and pace >= before.pace)


def test_the_pace_comes_to_what_workers_do():
    """A storm that workers cannot follow is let in about as fast as they work."""
    pace = storm(600, comes=2_000, done=500).pace

    assert pace is not None
    assert 200 <= pace <= 900


def test_what_workers_can_follow_is_not_slowed_down():
    """However old the inbox is: as long as it shrinks, everybody is let in."""
    assert storm(200, comes=300, done=800).pace is None
