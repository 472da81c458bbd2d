"""How a subscriber stands: whether it wants to rest, since when it has only failed, and whether it is told at all.

| what came back | what follows |
|---|---|
| a success | `failing_since_ms` is cleared |
| a failure | `failing_since_ms` is set, if it was not |
| 429, 502, 503, 504 | `not_before_ms`: nothing of this subscriber begins before |
| 410; a failure after five days of nothing else | it is disabled: what happens from now on is not queued |

`missed_after` keeps from where in the feed on it was not told any more, until that was made up for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, or_, select, update

from handlers.backoff import LONG_FAILURE_SECONDS, has_failed_long
from worker.store.tables import events, subscribers

_s = subscribers.c
_Rows = Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Outcome:
    """What the attempts of one turn say of one subscriber.

    Attributes:
        failing_since_ms: since when it failed, as these attempts were claimed.
        failed_at_ms: when the first of them that failed was made; None: none failed.
        rest_until_ms: when it may be disturbed again.
    """

    subscriber: str
    failing_since_ms: int | None = None
    failed_at_ms: int | None = None
    rest_until_ms: int = 0
    delivered: bool = False
    gone: bool = False


def settle(connection: Connection, outcomes: Iterable[Outcome], now_ms: int) -> dict[str, str]:
    """Write down how these subscribers stand; nothing of it where all is well and was.

    Returns:
        Subscriber → reason, of those that are told nothing from now on.
    """
    ordered = sorted(outcomes, key=lambda one: one.subscriber)
    _recover(connection, [one for one in ordered if one.delivered and one.failing_since_ms is not None])
    failed = [one for one in ordered if (one.failed_at_ms is not None and not one.delivered) or one.rest_until_ms]
    if failed:
        connection.execute(_fail, [_failure(one) for one in failed])
    reasons: dict[str, str] = {}
    for one in ordered:
        if reason := _reason(one, now_ms):
            long_ago = [_failing_for_long(now_ms)] if reason == "long_failure" else []
            if disable(connection, one.subscriber, reason, now_ms, *long_ago):
                reasons[one.subscriber] = reason
    return reasons


def disable(
    connection: Connection, subscriber: str, reason: str, now_ms: int, *conditions: ColumnElement[bool]
) -> bool:
    """Tell a subscriber nothing more, unless that is so already; tell whether it was not.

    What it missed before and was not made up for yet stays missed. Enabled again, it begins with a clean slate.
    """
    that = update(subscribers).where(_s.id == subscriber, _s.state != "disabled", *conditions)
    return connection.execute(that.values(**disabled(reason, now_ms))).rowcount > 0


def disabled(reason: str, now_ms: int) -> dict[str, Any]:
    """Give the columns of a subscriber that is disabled now."""
    newest = select(func.coalesce(func.max(events.c.position), 0)).scalar_subquery()
    return {
        "state": "disabled",
        "reason": reason,
        "changed_at": now_ms // 1000,
        "missed_after": func.coalesce(_s.missed_after, newest),
        "failing_since_ms": None,
        "not_before_ms": 0,
    }


def _recover(connection: Connection, recovered: Sequence[Outcome]) -> None:
    if recovered:
        connection.execute(_fails_no_more, [{"one": one.subscriber} for one in recovered])


def _failure(one: Outcome) -> dict[str, Any]:
    failed_at_ms = None if one.delivered else one.failed_at_ms
    return {"one": one.subscriber, "since_ms": failed_at_ms, "until_ms": one.rest_until_ms}


def _reason(one: Outcome, now_ms: int) -> str | None:
    if one.gone:
        return "gone"
    since_ms = one.failing_since_ms
    if one.failed_at_ms is not None and not one.delivered and since_ms is not None:
        return "long_failure" if has_failed_long(since_ms, now_ms) else None
    return None


def _failing_for_long(now_ms: int) -> ColumnElement[bool]:
    """Tell whether it still stands so: another process may have got through meanwhile."""
    return _s.failing_since_ms <= now_ms - int(LONG_FAILURE_SECONDS * 1000)


_since = bindparam("since_ms", type_=_s.failing_since_ms.type)
_until = bindparam("until_ms", type_=_s.not_before_ms.type)
# One that fails and rests already is not written again.
_fail = (
    update(subscribers)
    .where(
        _s.id == bindparam("one"),
        _s.state != "disabled",
        or_(_s.failing_since_ms.is_(None) & _since.is_not(None), _s.not_before_ms < _until),
    )
    .values(
        failing_since_ms=func.coalesce(_s.failing_since_ms, _since),
        not_before_ms=case((_s.not_before_ms < _until, _until), else_=_s.not_before_ms),
    )
)
_fails_no_more = update(subscribers).where(_s.id == bindparam("one")).values(failing_since_ms=None)
