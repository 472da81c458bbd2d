"""The outbox tables: who is to be told what, who is telling it right now, and how each attempt went.

| delivery | means |
|---|---|
| `pending`, `next_attempt_ms` passed, `claimed_until_ms` passed | due |
| `pending`, `claimed_until_ms` ahead | some process attempts it; if that one dies, the claim lapses by itself |
| `pending`, `next_attempt_ms` ahead | waits for its next attempt, or behind its customer's earlier event |
| `delivered`, `failed` | finished: a 2xx came, or the schedule is over |

A subscriber with order `per_customer` gets the events of one customer one after the other: a delivery is held back
while an earlier one of the same subscriber and customer is pending.
"""

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Integer, and_, bindparam, exists, literal_column, or_, select, tuple_, update

from worker.store import bulk
from worker.store.pacing import pace
from worker.store.postgresql import walk_in_order
from worker.store.tables import PENDING, deliveries, events, subscribers

LEASE_SLACK_MS = 15_000
"""How much longer than the subscriber's own time-out a claim lasts: time to record the attempt."""

LEASE_MS_MAX = 60_000 + LEASE_SLACK_MS
"""No claim lasts longer: `config/settings.py: Subscriber.timeout_seconds` has that bound."""
LATE_MS = 2_000
"""What is due for so long was swept, or waited behind others: hints of what is to be told just now are faster."""

Owners = Mapping[str, str]
"""Delivery → subscriber: whoever is hinted at deliveries with it need not ask whose they are."""
Customer = tuple[str, str, str]
"""Subscriber, app, user: within these, deliveries go out one after the other."""

# Each line is a stretch of the one index that has its order. Where three columns are to be equal, PostgreSQL looks into
# the smaller index of all that a subscriber waits for, as long as it has counted nothing and takes both for short.
# SQLite seeks by more than the first of several columns only where they are compared with what is no column itself.
_earlier = deliveries.alias("earlier")
_line = (_earlier.c.subscriber, _earlier.c.app, _earlier.c.user_id)
_mine = (deliveries.c.subscriber + "", deliveries.c.app + "", deliveries.c.user_id + "")
_after_another = (
    select(_earlier.c.id)
    .where(
        _earlier.c.status == PENDING,
        tuple_(*_line) >= tuple_(*_mine),
        tuple_(*_line, _earlier.c.sequence) < tuple_(*_mine, deliveries.c.sequence + literal_column("0")),
    )
    .order_by(*_line, _earlier.c.sequence)
    .limit(literal_column("1"))
    .correlate(deliveries)
    .scalar_subquery()
    .is_not(None)
)
_may_begin = and_(
    deliveries.c.next_attempt_ms <= bindparam("now_ms"),
    deliveries.c.claimed_until_ms <= bindparam("now_ms"),
    subscribers.c.state == "enabled",
    or_(subscribers.c.order != "per_customer", ~_after_another),
)
_told = deliveries.join(subscribers, subscribers.c.id == deliveries.c.subscriber)
_address = (
    subscribers.c.url,
    subscribers.c.secrets,
    subscribers.c.origin,
    subscribers.c.order,
    subscribers.c.allow_private,
    subscribers.c.timeout_seconds,
    subscribers.c.rate_per_second,
    subscribers.c.not_before_ms,
    subscribers.c.failing_since_ms,
)
_may_be_told = and_(subscribers.c.state == "enabled", subscribers.c.not_before_ms <= bindparam("now_ms"))
ANY_DUE: Final = exists().select_from(_told).where(deliveries.c.status == PENDING, _may_be_told, _may_begin)
"""Whether `due` would find anything at `now_ms`: a part of a statement."""

_longest_due = (
    select(deliveries.c.id)
    .select_from(_told)
    .where(deliveries.c.subscriber == bindparam("subscriber"), deliveries.c.status == PENDING, _may_begin)
    .order_by(deliveries.c.next_attempt_ms)
    .limit(bindparam("most", type_=Integer))
)

# Ids are given to statements that are there: one made for them is a circle, which keeps them until Python looks for
# garbage, and takes a deal longer than to ask it.
_those = deliveries.c.id.in_(bindparam("ids", expanding=True))
_whose = select(deliveries.c.id, deliveries.c.subscriber).where(_those, deliveries.c.status == "pending")
_claimable = (
    select(deliveries, *_address, events.c.document)
    .select_from(_told.join(events, events.c.id == deliveries.c.event_id))
    # The empty text keeps PostgreSQL from the indexes of what waits: each is looked up by its id and judged then.
    .where(_those, deliveries.c.status + "" == "pending", _may_begin)
    .with_for_update(of=deliveries, skip_locked=True)
)

_FIRST = """
    SELECT id FROM deliveries AS line
    WHERE line.status = 'pending' AND (line.subscriber, line.app, line.user_id)
        BETWEEN (asked.subscriber, asked.app, asked.user_id) AND (asked.subscriber, asked.app, asked.user_id)
    ORDER BY line.subscriber, line.app, line.user_id, line.sequence LIMIT 1"""
_CUSTOMER = ("subscriber", "app", "user_id")


@dataclass(frozen=True, slots=True)
class Claim:
    """One delivery that this process alone may attempt until the claim lapses.

    Attributes:
        origin: where its subscriber's secrets are: `config`, or `api` and sealed in `secrets` (`worker/keyring.py`).
        failing_since_ms: since when its subscriber has only failed; None: it does not.
        late: it had been due for long, so there may be more of its subscriber that nobody hinted at.
        traceparent: where the trace of what caused the event goes on; None: nobody looks at it, or nothing caused it.
    """

    id: str
    event_id: str
    document: str = field(repr=False)
    subscriber: str
    url: str = field(repr=False)
    origin: str
    secrets: str = field(repr=False)
    allow_private: bool
    timeout_seconds: float
    app: str
    user_id: str | None = field(repr=False)
    sequence: int | None
    order: str
    attempts: int
    created_at_ms: int
    claimed_until_ms: int
    failing_since_ms: int | None
    late: bool = False
    traceparent: str | None = None

    @property
    def customer(self) -> Customer | None:
        """Name whose turn this is; None: it waits for nobody and nobody for it."""
        if self.order != "per_customer" or self.user_id is None:
            return None
        return (self.subscriber, self.app, self.user_id)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was taken, and who wants to be left alone.

    Attributes:
        resting: subscriber → Unix milliseconds before which nothing more of it may begin.
        strange: subscribers that this process cannot sign for: theirs are left as they are, to others.
    """

    claims: Sequence[Claim] = ()
    resting: Mapping[str, int] = field(default_factory=dict)
    strange: Collection[str] = frozenset()


def due(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """List deliveries to attempt now, each subscriber's longest due first.

    Every subscriber that does not rest has an equal share of `limit`: the backlog of a dead one must not hide the
    others. Where there are more of them than that, chance says whose turn it is.
    """
    enabled = select(subscribers.c.id).where(_may_be_told)
    listening = list(connection.execute(enabled, {"now_ms": now_ms}).scalars())
    if len(listening) > limit:
        random.shuffle(listening)  # by any order of ours, those beyond the limit would be the same each time
    share = max(1, limit // max(1, len(listening)))
    found: list[str] = []
    for subscriber in listening:
        if len(found) >= limit:
            break
        found += due_of(connection, subscriber, now_ms, share)
    return found


def due_of(connection: Connection, subscriber: str, now_ms: int, limit: int) -> Sequence[str]:
    """List a subscriber's deliveries to attempt now, the longest due first."""
    walk_in_order(connection)
    asked = {"subscriber": subscriber, "now_ms": now_ms, "most": limit}
    return connection.execute(_longest_due, asked).scalars().all()


def owners(connection: Connection, ids: Iterable[str]) -> dict[str, str]:
    """Tell whose each unfinished delivery is: delivery → subscriber, in the order asked for."""
    wanted = list(ids)
    found = {row.id: row.subscriber for row in connection.execute(_whose, {"ids": wanted})}
    return {one: found[one] for one in wanted if one in found}


def _everybody(_row: Any) -> bool:
    return True


def claim(
    connection: Connection, ids: Iterable[str], now_ms: int, *, knows: Callable[[Any], bool] = _everybody
) -> Claimed:
    """Take the due ones among these for this process, until their claims lapse, as far as their subscribers' pace goes.

    What another process just takes is passed over.

    Args:
        connection: a transaction.
        ids: of deliveries.
        now_ms: Unix milliseconds.
        knows: tells of a row whether this process can sign for its subscriber.
    """
    place = {id_: at for at, id_ in enumerate(ids)}
    if not place:
        return Claimed()
    walk_in_order(connection)
    found = connection.execute(_claimable, {"ids": list(place), "now_ms": now_ms}).all()
    rows = [row for row in found if knows(row)]
    strange = frozenset(row.subscriber for row in found if not knows(row)) if len(rows) < len(found) else frozenset()
    paced = pace(connection, sorted(rows, key=lambda row: place[row.id]), now_ms)
    claims = [_claim(row, now_ms) for row in paced.rows]
    bulk.change(connection, deliveries, ("id", "claimed_until_ms"), [(one.id, one.claimed_until_ms) for one in claims])
    return Claimed(claims, paced.resting, strange)


def give_back(connection: Connection, claims: Iterable[Claim]) -> None:
    """Let others take at once what was claimed and will not be attempted; what somebody else has by now is theirs."""
    mine = [{"one": claim.id, "ours": claim.claimed_until_ms} for claim in claims]
    if mine:
        connection.execute(_give_back, mine)


def first_in_line(connection: Connection, customers: Iterable[Customer]) -> dict[Customer, str]:
    """Find the first unfinished delivery of each of these customers, in one statement."""
    return first_of(ask_first(connection, set(customers)))


def ask_first(connection: Connection, wanted: Collection[Customer]) -> Iterable[Any]:
    """Ask for the first unfinished delivery of each of these customers: `first_of` reads the answer."""
    if wanted:
        walk_in_order(connection)
    return bulk.ask_each(connection, _FIRST, _CUSTOMER, wanted)


def first_of(found: Iterable[Any]) -> dict[Customer, str]:
    """Read what `ask_first` found: customer → delivery."""
    return {(subscriber, app, user_id): first for subscriber, app, user_id, first in found if first is not None}


def lease_ms(timeout_seconds: float) -> int:
    """Tell how long a claim on a delivery lasts, by its subscriber's time-out."""
    return int(timeout_seconds * 1000) + LEASE_SLACK_MS


def _claim(row: Any, now_ms: int) -> Claim:
    return Claim(
        id=row.id,
        event_id=row.event_id,
        document=row.document,
        subscriber=row.subscriber,
        url=row.url,
        origin=row.origin,
        secrets=row.secrets,
        allow_private=row.allow_private,
        timeout_seconds=row.timeout_seconds,
        app=row.app,
        user_id=row.user_id,
        sequence=row.sequence,
        order=row.order,
        attempts=row.attempts,
        created_at_ms=row.created_at_ms,
        claimed_until_ms=now_ms + lease_ms(row.timeout_seconds),
        failing_since_ms=row.failing_since_ms,
        late=row.next_attempt_ms <= now_ms - LATE_MS,
    )


_give_back = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("one"), deliveries.c.claimed_until_ms == bindparam("ours"))
    .values(claimed_until_ms=0)
)
