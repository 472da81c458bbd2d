"""Let no more begin of each subscriber than it wants to hear of now: its pace and its rest are kept in its row.

Many processes may have deliveries of one subscriber in hand. Each moves `subscribers.not_before_ms` under the row's
lock as it claims, so that all of them together keep the pace. Only rows of subscribers that have a pace are locked,
none is waited for, and no other subscriber notices.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from handlers.pace import admit
from worker.store.tables import subscribers

BUSY_MS = 20
"""How long a subscriber is left alone whose row another process holds: that one moves its pace right now."""

_s = subscribers.c
_free = (
    select(_s.id, _s.rate_per_second, _s.not_before_ms)
    .where(_s.id.in_(bindparam("ids", expanding=True)))
    .order_by(_s.id)
    # Not waited for: a turn must not hang on another process, nor two of them on each other.
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, slots=True)
class Paced:
    """What may begin, and who has to wait.

    Attributes:
        rows: deliveries that may be attempted now.
        resting: subscriber → Unix milliseconds before which nothing more of it may begin.
    """

    rows: Sequence[Any]
    resting: Mapping[str, int] = field(default_factory=dict)


def pace(connection: Connection, rows: Sequence[Any], now_ms: int) -> Paced:
    """Choose what may begin, the first ones of each subscriber.

    Two statements more if any subscriber has a pace, however many there are; none otherwise.

    Args:
        connection: a transaction.
        rows: deliveries that are due, each with its `subscriber`, `not_before_ms` and `rate_per_second`.
        now_ms: Unix milliseconds.
    """
    resting = {row.subscriber: row.not_before_ms for row in rows if row.not_before_ms > now_ms}
    wanted = Counter(row.subscriber for row in rows if row.rate_per_second and row.subscriber not in resting)
    room: dict[str, int] = dict.fromkeys(resting, 0)
    if wanted:
        moved = _move(connection, wanted, now_ms)
        room |= {subscriber: count for subscriber, (count, _) in moved.items()}
        resting |= {one: until_ms for one, (count, until_ms) in moved.items() if count < wanted[one]}
    return Paced(_first(rows, room), resting)


def _move(connection: Connection, wanted: Mapping[str, int], now_ms: int) -> dict[str, tuple[int, int]]:
    """Move on the pace of these: subscriber → how many may begin, and until when the others wait."""
    held = connection.execute(_free, {"ids": list(wanted)}).all()
    moved = dict.fromkeys(wanted, (0, now_ms + BUSY_MS))
    for row in held:
        rate, before_ms = row.rate_per_second, row.not_before_ms
        moved[row.id] = admit(wanted[row.id], rate_per_second=rate, not_before_ms=before_ms, now_ms=now_ms)
    if begun := [{"one": one, "until_ms": until_ms} for one, (count, until_ms) in sorted(moved.items()) if count]:
        connection.execute(_advance, begun)
    return moved


def _first(rows: Sequence[Any], room: dict[str, int]) -> list[Any]:
    """Keep as many rows of each subscriber as there is room for; who is not named has room for all."""
    kept = []
    for row in rows:
        left = room.get(row.subscriber)
        if left is None or left > 0:
            kept.append(row)
        if left:
            room[row.subscriber] = left - 1
    return kept


_advance = update(subscribers).where(subscribers.c.id == bindparam("one")).values(not_before_ms=bindparam("until_ms"))
