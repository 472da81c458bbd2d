"""Record how deliveries were attempted, and what follows for them, for what waits behind them, and for subscribers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from handlers.backoff import Verdict
from worker.store import customers, standing
from worker.store.outbox import Claim, first_in_line
from worker.store.standing import Outcome
from worker.store.tables import PENDING, attempts, deliveries

_d = deliveries.c
_held = (
    select(_d.id, _d.claimed_until_ms)
    .where(_d.id.in_(bindparam("ids", expanding=True)), _d.status == "pending")
    .order_by(_d.id)
    .with_for_update()
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that is over.

    Attributes:
        error: a snake_case name; None: it was delivered.
        response: the beginning of the answer, for a person who looks for the cause.
        doubtful: it may have been recorded already, by a commit of which nobody heard whether it came through.
    """

    claim: Claim
    verdict: Verdict
    attempted_at_ms: int
    duration_ms: float
    status_code: int | None
    error: str | None
    response: str | None = field(default=None, repr=False)
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """What follows.

    Attributes:
        following: delivery → subscriber, of deliveries that waited behind one that is finished now.
        disabled: subscriber → reason, of those who are told nothing from now on.
    """

    following: Mapping[str, str] = field(default_factory=dict)
    disabled: Mapping[str, str] = field(default_factory=dict)


def record(connection: Connection, ended: Sequence[Attempt], now_ms: int) -> Recorded:
    """Write down each attempt, and move on what it decided.

    A success counts even if the claim lapsed meanwhile. A failure under a lapsed claim is kept as an attempt and
    decides nothing, for its delivery, for what waits behind it, or for its subscriber: whoever took over does.
    """
    if not ended:
        return Recorded()
    _hold_customers(connection, ended)
    if new := _without_recorded(connection, ended):
        connection.execute(attempts.insert(), [_row(attempt) for attempt in new])
    decisive = _decisive(connection, ended)
    _close(connection, decisive, now_ms)
    _postpone(connection, decisive, now_ms)
    following = _release(connection, decisive, now_ms)
    return Recorded(following, standing.settle(connection, _outcomes(decisive, now_ms), now_ms))


def _without_recorded(connection: Connection, ended: Sequence[Attempt]) -> Sequence[Attempt]:
    """Leave out what an earlier commit of this turn wrote after all."""
    doubtful = {attempt.claim.id for attempt in ended if attempt.doubtful}
    if not doubtful:
        return ended
    a = attempts.c
    written = connection.execute(select(a.delivery, a.attempted_at_ms).where(a.delivery.in_(doubtful)))
    there = {(row.delivery, row.attempted_at_ms) for row in written}
    return [one for one in ended if (one.claim.id, one.attempted_at_ms) not in there]


def _decisive(connection: Connection, ended: Sequence[Attempt]) -> Sequence[Attempt]:
    """Leave out failures whose claim lapsed and was taken by another; from here on nobody can take the others.

    The end of a claim is its fence: whoever claims later writes a later one, and whoever records writes zero. It is
    asked of the row and not of a clock, as a process that was stopped knows an old time.
    """
    failed = {attempt.claim.id: attempt.claim.claimed_until_ms for attempt in ended if _has_failed(attempt)}
    if not failed:
        return ended
    ours = {tuple(row) for row in connection.execute(_held, {"ids": list(failed)})} & set(failed.items())
    lapsed = failed.keys() - {id_ for id_, _ in ours}
    return [attempt for attempt in ended if not _has_failed(attempt) or attempt.claim.id not in lapsed]


def _has_failed(attempt: Attempt) -> bool:
    return attempt.verdict.outcome != "delivered"


def _hold_customers(connection: Connection, ended: Sequence[Attempt]) -> None:
    """Let nobody tell these customers more before this is committed, else neither side would see what may begin now."""
    customers.hold(connection, {(a.claim.app, a.claim.user_id) for a in ended if a.claim.customer and a.claim.user_id})


def _row(attempt: Attempt) -> dict[str, Any]:
    return {
        "delivery": attempt.claim.id,
        "attempted_at_ms": attempt.attempted_at_ms,
        "duration_ms": attempt.duration_ms,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "response": attempt.response,
    }


def _close(connection: Connection, ended: Sequence[Attempt], now_ms: int) -> None:
    became = {"delivered": "delivered", "dead": "failed"}
    over = [
        {"one": attempt.claim.id, "became": status, "now_ms": now_ms}
        for outcome, status in became.items()
        for attempt in _with(ended, outcome)
    ]
    if over:
        connection.execute(_finish, over)


def _postpone(connection: Connection, ended: Sequence[Attempt], now_ms: int) -> None:
    """Put failed deliveries off, and what waits behind them with them, so that nobody looks at that in vain."""
    failed = [_postponed(attempt, now_ms) for attempt in _with(ended, "failed")]
    if failed:
        connection.execute(_try_again, failed)
    behind = [row for row in failed if row["in_order"]]
    if behind:
        connection.execute(_put_off_followers, behind)


def _postponed(attempt: Attempt, now_ms: int) -> dict[str, Any]:
    claim = attempt.claim
    return {
        "one": claim.id,
        "at_ms": now_ms + int((attempt.verdict.wait_seconds or 0.0) * 1000),
        "in_order": claim.customer is not None,
        "whose": claim.subscriber,
        "of_app": claim.app,
        "user": claim.user_id,
        "after": claim.sequence,
    }


def _release(connection: Connection, ended: Sequence[Attempt], now_ms: int) -> dict[str, str]:
    """Let go what waited behind deliveries that are finished now, delivered or not."""
    over = {a.claim.customer for a in ended if a.verdict.outcome != "failed" and a.claim.customer is not None}
    following = {delivery: customer[0] for customer, delivery in first_in_line(connection, over).items()}
    if following:
        connection.execute(_let_go, [{"one": delivery, "now_ms": now_ms} for delivery in following])
    return following


def _outcomes(ended: Sequence[Attempt], now_ms: int) -> Iterable[Outcome]:
    """Sum up what the attempts say of their subscribers."""
    found: dict[str, Outcome] = {}
    for attempt in ended:
        claim, verdict = attempt.claim, attempt.verdict
        one = found.setdefault(claim.subscriber, Outcome(claim.subscriber, claim.failing_since_ms))
        if one.failing_since_ms is None:
            one.failing_since_ms = claim.failing_since_ms
        one.gone = one.gone or verdict.gone
        if verdict.outcome == "delivered":
            one.delivered = True
        else:
            one.failed_at_ms = min(one.failed_at_ms or attempt.attempted_at_ms, attempt.attempted_at_ms)
        if verdict.rest_seconds:
            one.rest_until_ms = max(one.rest_until_ms, now_ms + int(verdict.rest_seconds * 1000))
    return found.values()


def _with(ended: Iterable[Attempt], outcome: str) -> list[Attempt]:
    return [attempt for attempt in ended if attempt.verdict.outcome == outcome]


_end_claim = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("one"), deliveries.c.status == "pending")
    .values(attempts=deliveries.c.attempts + 1, claimed_until_ms=0)
)
_finish = _end_claim.values(status=bindparam("became"), finished_at_ms=bindparam("now_ms"))
_try_again = _end_claim.values(next_attempt_ms=bindparam("at_ms"))
_put_off_followers = (
    update(deliveries)
    .where(
        deliveries.c.subscriber == bindparam("whose"),
        deliveries.c.status == PENDING,
        deliveries.c.app == bindparam("of_app"),
        deliveries.c.user_id == bindparam("user"),
        deliveries.c.sequence > bindparam("after"),
        deliveries.c.next_attempt_ms < bindparam("at_ms"),
    )
    .values(next_attempt_ms=bindparam("at_ms"))
)

# What was attempted before waits out its own schedule.
_let_go = (
    update(deliveries)
    .where(
        deliveries.c.id == bindparam("one"),
        deliveries.c.attempts == 0,
        deliveries.c.next_attempt_ms > bindparam("now_ms"),
    )
    .values(next_attempt_ms=bindparam("now_ms"))
)
