"""Law 10: retries are bounded, non-decreasing up to jitter, and end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.backoff import (
    JITTER_SHARE,
    RETRY_AFTER_SECONDS_MAX,
    SCHEDULE_SECONDS,
    Verdict,
    delay_seconds,
    has_failed_long,
    judge,
    parse_retry_after,
)
from tests.effort import law

NOW = 1767225600.0  # 2026-01-01T00:00:00Z
jitters = st.floats(0, 1)
patience = st.none() | st.floats(allow_nan=False, allow_infinity=True, min_value=0)


def test_the_schedule_is_the_published_one():
    """At once, 5 seconds, 5 and 30 minutes, then 2, 5, 10, 14, 20 and 24 hours: three days and a bit."""
    waits = [delay_seconds(attempts, jitter=0) for attempts in range(10)]

    assert [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400] == waits


@law
@given(st.integers(0, 9), jitters, patience)
def test_every_wait_is_bounded(attempts, jitter, asked):
    """No jitter and no Retry-After makes a wait shorter than the schedule or longer than a day and its jitter."""
    wait = delay_seconds(attempts, jitter=jitter, retry_after_seconds=asked)

    assert wait is not None
    assert SCHEDULE_SECONDS[attempts] <= wait <= RETRY_AFTER_SECONDS_MAX * (1 + JITTER_SHARE)


@law
@given(st.lists(jitters, min_size=10, max_size=10))
def test_waits_never_shrink_by_more_than_jitter(drawn):
    """Each wait is at least the one before, jitter aside."""
    waits = [delay_seconds(attempts, jitter=jitter) or 0.0 for attempts, jitter in enumerate(drawn)]

    assert all(later >= earlier / (1 + JITTER_SHARE) for earlier, later in pairwise(waits))


@law
@given(st.integers(10, 1000), jitters, patience)
def test_it_ends(attempts, jitter, asked):
    """After the last attempt there is no other, whatever the subscriber asks for."""
    assert delay_seconds(attempts, jitter=jitter, retry_after_seconds=asked) is None


def test_retry_after_lengthens_and_never_shortens():
    """A subscriber that asks for two minutes gets them; one that asks for less than the schedule gets the schedule."""
    assert 120 == delay_seconds(1, jitter=0, retry_after_seconds=120)
    assert 300 == delay_seconds(2, jitter=0, retry_after_seconds=120)


@pytest.mark.parametrize("status_code", [200, 201, 202, 204, 299])
def test_two_hundreds_are_delivered(status_code):
    """Any 2xx is an acknowledgment, and only that is."""
    assert Verdict("delivered") == judge(status_code, attempts=1, jitter=0)


@pytest.mark.parametrize("status_code", [None, 100, 199, 300, 301, 302, 307, 400, 401, 404, 408, 500, 501])
def test_everything_else_failed(status_code):
    """No answer, a redirect, a refusal and a breakdown are all tried again."""
    assert Verdict("failed", 5.0) == judge(status_code, attempts=1, jitter=0)


@pytest.mark.parametrize("status_code", [429, 502, 503, 504])
def test_who_says_that_all_is_too_much_is_left_alone(status_code):
    """The subscriber rests, not only this delivery: five seconds, or as long as it asks for, up to a day."""
    assert Verdict("failed", 5.0, rest_seconds=5.0) == judge(status_code, attempts=1, jitter=0)
    assert 5.0 == judge(status_code, attempts=7, jitter=0).rest_seconds
    assert 5.0 == judge(status_code, attempts=7, jitter=0, retry_after_seconds=1).rest_seconds
    assert 120.0 == judge(status_code, attempts=1, jitter=0, retry_after_seconds=120).rest_seconds
    assert 86400.0 == judge(status_code, attempts=1, jitter=0, retry_after_seconds=10**9).rest_seconds
    assert Verdict("dead", rest_seconds=5.0) == judge(status_code, attempts=10, jitter=0)


@law
@given(jitters, patience)
def test_every_rest_is_bounded(jitter, asked):
    """Whatever it asks for, a subscriber rests at least five seconds and at most a day and its jitter."""
    rest = judge(503, attempts=1, jitter=jitter, retry_after_seconds=asked).rest_seconds

    assert 5.0 <= rest <= RETRY_AFTER_SECONDS_MAX * (1 + JITTER_SHARE)


def test_five_days_are_long():
    """To the millisecond."""
    five_days_ms = 5 * 86_400_000

    assert has_failed_long(0, five_days_ms)
    assert not has_failed_long(0, five_days_ms - 1)


def test_the_last_failure_is_the_end():
    """When the schedule is over the delivery is dead, and a success on the last attempt still counts."""
    assert Verdict("dead") == judge(500, attempts=10, jitter=0)
    assert Verdict("delivered") == judge(204, attempts=10, jitter=0)


def test_410_says_good_bye():
    """Gone is a failure that also ends the subscription."""
    assert Verdict("failed", 5.0, gone=True) == judge(410, attempts=1, jitter=0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120),
        ("Thu, 01 Jan 2026 00:02:00 -0000", 120),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Thu, 01 Jan 99999999999999999999 00:02:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    """Both forms of RFC 9110 are read, and anything else says nothing."""
    assert seconds == parse_retry_after(header, now=NOW)


@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,9} Jan [0-9]{1,9} [0-9:]{1,9} [A-Z+0-9-]{1,6}"))
def test_no_header_breaks_the_reader(header):
    """Whatever a stranger writes there, it is a bounded wait or nothing."""
    seconds = parse_retry_after(header, now=NOW)

    assert seconds is None or seconds >= 0
