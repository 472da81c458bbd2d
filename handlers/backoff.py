"""Judge an attempt to deliver, and tell when to try again: bounded, never sooner than last time, and it ends.

The schedule is the example of Standard Webhooks ("Deliverability and reliability"), about three days in all:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

_MINUTE = 60
_HOUR = 60 * _MINUTE

SCHEDULE_SECONDS = (
    0,
    5,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
"""How long to wait before each attempt. After the last one there is none."""

JITTER_SHARE = 0.1
"""At most so much is added to a wait, so that what failed together does not come back together."""

RETRY_AFTER_SECONDS_MAX = 24 * _HOUR
"""A subscriber may ask for more patience than the schedule has, up to this much."""

THROTTLING = frozenset({429, 502, 503, 504})
"""The subscriber says that all is too much, not that this event is wrong: it is left alone altogether for a while."""

REST_SECONDS = 5.0
"""For how long, if it does not say. Short: one event that always gets such an answer must not hold up the others."""

LONG_FAILURE_SECONDS = 5 * 24 * _HOUR
"""A subscriber that only failed for so long is told no more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt came to.

    Attributes:
        outcome: `delivered`, `failed` (it will be tried again) or `dead` (it will not).
        wait_seconds: how long until the next attempt; None: there is none.
        gone: the subscriber says that it will never be there again.
        rest_seconds: how long the subscriber wants to be left alone, with whatever else waits for it.
    """

    outcome: Literal["delivered", "failed", "dead"]
    wait_seconds: float | None = None
    gone: bool = False
    rest_seconds: float = 0.0


def judge(
    status_code: int | None, *, attempts: int, jitter: float, retry_after_seconds: float | None = None
) -> Verdict:
    """Take 2xx as delivered and all else as failed: a redirect is a failure, 410 says good-bye.

    Args:
        status_code: None where no answer came.
        attempts: how many were made, this one included.
        jitter: a number from 0 to 1, drawn by the caller.
        retry_after_seconds: what the subscriber asked for.
    """
    if status_code is not None and 200 <= status_code < 300:
        return Verdict("delivered")
    wait = delay_seconds(attempts, jitter=jitter, retry_after_seconds=retry_after_seconds)
    rest = _lengthened(REST_SECONDS, retry_after_seconds, jitter) if status_code in THROTTLING else 0.0
    return Verdict("dead" if wait is None else "failed", wait, gone=status_code == 410, rest_seconds=rest)


def delay_seconds(attempts: int, *, jitter: float, retry_after_seconds: float | None = None) -> float | None:
    """Tell how long to wait after so many attempts; None: it was the last.

    A Retry-After only ever lengthens the wait: one that shortened it would let a subscriber use its attempts up.
    """
    if attempts >= len(SCHEDULE_SECONDS):
        return None
    return _lengthened(SCHEDULE_SECONDS[attempts], retry_after_seconds, jitter)


def has_failed_long(failing_since_ms: int, now_ms: int) -> bool:
    """Tell whether a subscriber that has only failed since then is to be told no more."""
    return now_ms - failing_since_ms >= LONG_FAILURE_SECONDS * 1000


def _lengthened(seconds: float, asked: float | None, jitter: float) -> float:
    """Wait as long as the subscriber asks for, within bounds, and a little more."""
    longest = max(seconds, min(asked or 0.0, RETRY_AFTER_SECONDS_MAX))
    return longest * (1 + JITTER_SHARE * min(max(jitter, 0.0), 1.0))


def parse_retry_after(header: str | None, *, now: float) -> float | None:
    """Read Retry-After, seconds or an HTTP date (RFC 9110, 10.2.3), as seconds from `now`; None: it says nothing."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = parsedate_to_datetime(text)
        # "-0000" reads as a time without a zone; the machine's own zone must not decide what it means.
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
