"""A subscriber that asked for a pace is told no faster, however many processes tell it."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from handlers.pace import BURST_SECONDS, Admitted, admit
from tests.effort import law

NOW_MS = 1767225600000
rates = st.floats(0.01, 2000)


@law
@given(rates, st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 50)), max_size=60))
def test_no_stretch_of_time_has_more_than_its_share(rate, turns):
    """Whatever is wanted when, between any two moments begin at most rate x seconds, one, and what was saved up."""
    not_before_ms, begun = 0, []
    for now_ms, wanted in zip(
        accumulate((gap for gap, _ in turns), initial=NOW_MS), (w for _, w in turns), strict=False
    ):
        admitted = admit(wanted, rate_per_second=rate, not_before_ms=not_before_ms, now_ms=now_ms)
        assert admitted.not_before_ms >= not_before_ms
        not_before_ms = admitted.not_before_ms
        begun.append((now_ms, admitted.granted))

    for first, (since_ms, _) in enumerate(begun):
        for last in range(first, len(begun)):
            seconds = (begun[last][0] - since_ms) / 1000
            together = sum(count for _, count in begun[first : last + 1])
            assert together <= rate * (seconds + BURST_SECONDS) + 1 + 1e-6


@law
@given(rates, st.integers(1, 50))
def test_whoever_comes_back_in_time_is_let_in(rate, wanted):
    """At the moment it was told, the next one may begin: a slow pace is no standstill."""
    first = admit(wanted, rate_per_second=rate, not_before_ms=0, now_ms=NOW_MS)
    again = admit(1, rate_per_second=rate, not_before_ms=first.not_before_ms, now_ms=max(NOW_MS, first.not_before_ms))

    assert first.granted >= 1
    assert again.granted == 1


def test_a_slow_pace_is_kept_to_the_millisecond():
    """Two a second: one now, none 499 ms later, one after 500."""
    first = admit(5, rate_per_second=2, not_before_ms=NOW_MS, now_ms=NOW_MS)

    assert Admitted(1, NOW_MS + 500) == first
    assert Admitted(0, NOW_MS + 500) == admit(5, rate_per_second=2, not_before_ms=NOW_MS + 500, now_ms=NOW_MS + 499)
    assert Admitted(1, NOW_MS + 1000) == admit(5, rate_per_second=2, not_before_ms=NOW_MS + 500, now_ms=NOW_MS + 500)


def test_without_a_pace_only_a_rest_holds_back():
    """All of it begins, once the subscriber may be disturbed again."""
    assert Admitted(7, 0) == admit(7, rate_per_second=None, not_before_ms=0, now_ms=NOW_MS)
    assert Admitted(0, NOW_MS + 1) == admit(7, rate_per_second=None, not_before_ms=NOW_MS + 1, now_ms=NOW_MS)
    assert Admitted(0, 0) == admit(0, rate_per_second=5, not_before_ms=0, now_ms=NOW_MS)
