"""Who listens to what happens: one delivery in line for each, and some of them claimed as they are made.

A delivery that whoever decided has room for is *born claimed*: its insert claims it, so that it is told right after the
commit, without another transaction. All others are hinted at, and claimed when they are attempted: `outbox.py`.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection

from handlers import ids as identify
from handlers.outgoing import matches
from schemas.resources import Event
from worker.store import bulk
from worker.store.documents import Documents
from worker.store.outbox import Claim, Customer, Owners, ask_first, first_of, lease_ms
from worker.store.tables import deliveries

_LISTENING = """
    SELECT types, id, app, "order", environment, state, url, secrets, origin, allow_private, timeout_seconds,
        rate_per_second, not_before_ms, failing_since_ms
    FROM subscribers WHERE app IN ? AND state <> 'disabled'"""
_COLUMNS = ("id", "event_id", "subscriber", "app", "user_id", "sequence", "claimed_until_ms")
_WAITING = {"status": "pending", "attempts": 0}


class Listener(NamedTuple):
    """A subscriber, as far as it matters to what it is told."""

    id: str
    app: str
    order: str
    environment: str | None
    state: str
    url: str
    secrets: str
    origin: str
    allow_private: bool
    timeout_seconds: float
    rate_per_second: float | None
    not_before_ms: int
    failing_since_ms: int | None

    def hears(self, event: Event) -> bool:
        """Tell whether it listens to what happens there, whatever the type."""
        return self.app == event.app and self.environment in (None, event.environment)

    def is_well(self, now_ms: int) -> bool:
        """Tell whether nothing holds it back: no pause, no rest, no pace, and its last attempt did not fail."""
        free = self.not_before_ms <= now_ms and not self.rate_per_second
        return self.state == "enabled" and free and self.failing_since_ms is None


Room = Callable[[Listener], int]
"""How many deliveries of a subscriber this process would begin at once."""


def no_room(_whom: Listener) -> int:
    """Begin nothing: whoever is hinted at it will."""
    return 0


@dataclass(frozen=True, slots=True)
class Queued:
    """What may be attempted once its transaction has committed.

    Attributes:
        owners: whoever is hinted at it first.
        claims: this process.
    """

    owners: Owners = field(default_factory=dict)
    claims: Sequence[Claim] = ()


def enqueue(
    connection: Connection,
    events: Sequence[Event],
    listening: Iterable[Any],
    now_ms: int,
    room: Room = no_room,
    documents: Documents | None = None,
) -> Callable[[], Queued]:
    """Put one delivery per event and subscriber that asked for it into the outbox, in two statements.

    A delivery for which this process has room is *born claimed*: who decided tells, without another transaction. That
    it is the first of its customer is known once it is inserted; where it is not, a third statement lets it wait.

    Args:
        connection: a transaction.
        events: what is told.
        listening: who may be told, as `ask_listening` found.
        now_ms: Unix milliseconds.
        room: who may be told from here, right after the commit.
        documents: where what is written of events once is found again.

    Returns:
        To be called for the deliveries that may be attempted at once: not those held back by an earlier one, nor by
        their subscriber, which is paused.
    """
    new = list(_wanted(events, listening))
    born = _born(new, room, now_ms)
    put(connection, [(*_delivery(*each), born.get(each[0], 0)) for each in new], now_ms)
    queued = [(id_, event, whom, _customer(event, whom)) for id_, event, whom in new if whom.state == "enabled"]
    ordered = {customer for *_, customer in queued if customer is not None}
    first = ask_first(connection, ordered)

    def at_once() -> Queued:
        line = first_of(first)
        ready = {
            id_: (event, whom) for id_, event, whom, customer in queued if customer is None or line.get(customer) == id_
        }
        early = born.keys() - ready.keys()
        bulk.change(connection, deliveries, ("id", "claimed_until_ms"), [(id_, 0) for id_ in sorted(early)])
        write = (documents or Documents()).of_event
        told = [(id_, *ready[id_], until_ms) for id_, until_ms in born.items() if id_ in ready]
        claims = [_claim_new(id_, event, write(event), whom, now_ms, until_ms) for id_, event, whom, until_ms in told]
        return Queued({id_: whom.id for id_, (_, whom) in ready.items() if id_ not in born}, claims)

    return at_once


def put(connection: Connection, rows: bulk.Rows, now_ms: int) -> Callable[[], int]:
    """Put deliveries in line, each an id, event, subscriber, app, user, sequence and claim; what is there stays.

    Returns:
        To be called for how many were not there.
    """
    now = {"next_attempt_ms": now_ms, "created_at_ms": now_ms}
    return bulk.insert_absent(connection, deliveries, _COLUMNS, rows, {**_WAITING, **now})


def ask_listening(connection: Connection, apps: Collection[str]) -> Iterable[Any]:
    """Ask for the subscribers of these apps, paused ones too: what happens meanwhile waits for them."""
    return bulk.ask(connection, _LISTENING, apps) if apps else ()


def _born(new: Iterable[tuple[str, Event, Listener]], room: Room, now_ms: int) -> dict[str, int]:
    """Choose what is claimed as it is made, delivery → end of its claim: what may be first of its customer here."""
    left: dict[str, int] = {}
    born: dict[str, int] = {}
    led: set[Customer] = set()
    for id_, event, whom in new:
        customer = _customer(event, whom)
        if customer in led:
            continue
        if customer is not None:
            led.add(customer)
        if whom.id not in left:
            left[whom.id] = room(whom) if whom.is_well(now_ms) else 0
        if left[whom.id] > 0:
            left[whom.id] -= 1
            born[id_] = now_ms + lease_ms(whom.timeout_seconds)
    return born


def _wanted(events: Sequence[Event], listening: Iterable[Any]) -> Iterable[tuple[str, Event, Listener]]:
    """Pair each event with everybody who asked for it, and name the delivery: the same one, whenever it is asked."""
    asked = [(Listener._make(row), json.loads(types)) for types, *row in listening]
    who: dict[tuple[str, str, str], list[Listener]] = {}
    for event in events:
        kind = (event.app, event.environment, event.type)
        if kind not in who:
            who[kind] = [whom for whom, types in asked if whom.hears(event) and matches(types, event.type)]
        for whom in who[kind]:
            yield identify.make("dlv", event.id, whom.id), event, whom


def _customer(event: Event, subscriber: Listener) -> Customer | None:
    """Name whose turn it is; None: it waits for nobody."""
    if event.customer is None or subscriber.order != "per_customer":
        return None
    return (subscriber.id, event.app, event.customer.user_id)


def _delivery(id_: str, event: Event, subscriber: Listener) -> tuple[Any, ...]:
    user_id = event.customer.user_id if event.customer else None
    return (id_, event.id, subscriber.id, event.app, user_id, event.sequence)


def _claim_new(id_: str, event: Event, document: str, whom: Listener, now_ms: int, until_ms: int) -> Claim:
    """Say of a delivery that is made now what `claim` would read of it."""
    return Claim(
        id=id_,
        event_id=event.id,
        document=document,
        subscriber=whom.id,
        url=whom.url,
        origin=whom.origin,
        secrets=whom.secrets,
        allow_private=whom.allow_private,
        timeout_seconds=whom.timeout_seconds,
        app=whom.app,
        user_id=event.customer.user_id if event.customer else None,
        sequence=event.sequence,
        order=whom.order,
        attempts=0,
        created_at_ms=now_ms,
        claimed_until_ms=until_ms,
        failing_since_ms=None,
    )
