"""The same judge after every fault: what was given 200 came to an end, took effect once, and everybody was told."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import func, select

from schemas.resources import Event
from tests.cli.processes import clawback
from tests.crash import figures
from tests.crash.burst import Burst, assert_each_took_effect_once
from tests.crash.house import House
from tests.e2e.running import until
from tests.effort import EFFORT
from tests.worker.backend import Backend
from worker.store import soundness, tables
from worker.store.engine import Store

BALANCE = ("inbox", "feed", "deliveries")
"""What `clawback doctor` calls the three parts of the balance."""


async def judge(house: House, burst: Burst, taken: Mapping[str, int]) -> None:
    """Hold all that was sent to this house against what became of it.

    Args:
        house: it runs, and its faults are over.
        burst: what was sent since the last judgment.
        taken: our id of each → how often it was refused before, as `pour` gives them.
    """
    house.given.update(taken)
    assert len(burst.shots) == len(taken)
    assert await until(lambda: not in_flight(house.store)), in_flight(house.store)
    events = await assert_each_took_effect_once(house.service, burst, set(taken))
    assert_nothing_lost(house.store, house.given)
    assert_numbered(house.store)
    assert await until(lambda: not waiting(house.store)), waiting(house.store)
    await assert_backend_heard(house.backend, events)
    if EFFORT.faults:
        await asyncio.to_thread(assert_doctor_agrees, house)
    figures.TOTAL.sent += len(taken)
    figures.TOTAL.refused += sum(taken.values())
    figures.TOTAL.told += len(events)


def assert_doctor_agrees(house: House) -> None:
    """What an operator asks says the same: nothing was lost on the way in, in the feed, or on the way out."""
    at = house.installation
    done = clawback("doctor", "--json", *at.options, environment=dict(at.environment))
    found = {(one["check"], one["verdict"]) for one in json.loads(done.stdout)["findings"] if one["check"] in BALANCE}
    assert {(check, "ok") for check in BALANCE} == found, done.stdout


def in_flight(store: Store) -> int:
    """Count what is accepted and not finished."""
    return outcomes(store)["accepted"]


def outcomes(store: Store) -> Counter[str]:
    """Count the inbox by what became of it."""
    status = tables.notifications.c.status
    with store.read() as connection:
        return Counter({row[0]: row[1] for row in connection.execute(select(status, func.count()).group_by(status))})


def waiting(store: Store) -> int:
    """Count deliveries that have not arrived."""
    statement = select(func.count()).where(tables.deliveries.c.status != "delivered")
    with store.read() as connection:
        return int(connection.execute(statement).scalar_one())


def assert_nothing_lost(store: Store, given: Iterable[str]) -> None:
    """Received = applied + ignored + quarantined + dead + in flight, and nothing is in flight."""
    with store.read() as connection:
        kept = set(connection.execute(select(tables.notifications.c.id)).scalars())
    counted, unheard = soundness.count_inbox(store)
    wrong = (unheard, soundness.lost_causes(store), soundness.broken_sequences(store)[1])
    assert set(given) == kept
    assert (len(kept), 0) == (counted.total(), counted["accepted"]), str(counted)
    assert [0, 0, 0] == [each.count for each in wrong], str(wrong)


def assert_numbered(store: Store) -> None:
    """Everybody's events are numbered from 1 without a gap, as many as their customer knows of, and no id is twice."""
    e = tables.events.c
    with store.read() as connection:
        rows = connection.execute(select(e.id, e.app, e.user_id, e.sequence).order_by(e.position)).all()
        known = {(row.app, row.user_id): row.sequence for row in connection.execute(select(tables.customers))}
        told = Counter(connection.execute(select(tables.deliveries.c.event_id)).scalars())
    numbers: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.user_id is not None:
            numbers.setdefault((row.app, row.user_id), []).append(row.sequence)
    assert len(rows) == len({row.id for row in rows})
    assert {who: list(range(1, len(found) + 1)) for who, found in numbers.items()} == numbers
    assert {who: len(found) for who, found in numbers.items()} == {who: last for who, last in known.items() if last}
    assert {row.id: 1 for row in rows} == told, "one subscriber, one delivery of each event"


async def assert_backend_heard(backend: Backend, told: Iterable[Event]) -> None:
    """Wait until the backend has every event: each customer's in order, at least once, and always the same."""
    expected = {event.id: event for event in told}
    assert await until(lambda: set(expected) <= set(backend.ids))
    heard: dict[str, list[int]] = {}
    for id_ in dict.fromkeys(id_ for id_ in backend.ids if id_ in expected):
        event = expected[id_]
        if event.customer and event.sequence:
            heard.setdefault(event.customer.user_id, []).append(event.sequence)
    assert {customer: sorted(sequences) for customer, sequences in heard.items()} == heard
    said: dict[str, set[str]] = {}
    for one in backend.told:
        said.setdefault(one.id, set()).add(json.dumps(json.loads(one.body), sort_keys=True))
    assert {1} == {len(bodies) for bodies in said.values()}
