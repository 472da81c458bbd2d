"""Who decided tells: a delivery that is born claimed is attempted at once, or given back where there is no room.

Real: the outbox on SQLite, the HTTP client, a backend on loopback. Double: nothing.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web

from tests.store.outbox_story import announce, delivery_rows, event, subscribe_by_api, subscriber
from tests.worker.backend import Backend, Clock, Told, new_runtime, ok, open_backend
from tests.worker.desk import Statements
from tests.worker.house import house
from worker.delivery import Deliverer
from worker.lanes import Limits
from worker.runtime import Runtime
from worker.store import listening, outbox
from worker.store.engine import Store
from worker.store.listening import Listener
from worker.store.outbox import Claim

__all__ = ["open_backend"]


@pytest.fixture(name="runtime")
def _runtime(tmp_path):
    made = new_runtime(tmp_path, Clock())
    yield made
    made.store.close()


def _listens(runtime: Runtime, backend: Backend) -> Listener:
    """Subscribe, and give the subscriber as it stands."""
    told = subscriber(backend.url, allow_private=True)
    subscribe_by_api(runtime.store, told, now=runtime.clock())
    with runtime.store.read() as connection:
        ((_types, *row),) = listening.ask_listening(connection, {"acme"})
    return Listener._make(row)


def _born(runtime: Runtime, count: int) -> Sequence[Claim]:
    """Commit an event for each of so many customers, with a delivery that is claimed."""
    ids = announce(runtime.store, [event(1, user=f"user-{n}") for n in range(count)], now=runtime.clock())
    with runtime.store.write() as connection:
        return outbox.claim(connection, ids, int(runtime.clock() * 1000)).claims


async def test_what_is_born_claimed_is_told_without_another_question(runtime, backend):
    """Between the decision and its subscriber hearing of it, the store is asked for nothing."""
    _listens(runtime, backend)
    deliverer = Deliverer(runtime)
    (claim,) = _born(runtime, 1)
    statements = Statements().watch(runtime.store)
    asked: list[int] = []

    def answer(told: Told) -> web.Response:
        asked.append(len(statements.texts))
        return ok(told)

    backend.answer = answer
    await deliverer.begin([claim])
    await deliverer.drained()
    await deliverer.close()

    assert ([claim.event_id], [0]) == (backend.ids, asked)
    assert "delivered" == delivery_rows(runtime.store)[claim.event_id].status


async def test_what_there_is_no_room_for_is_given_back_and_told_in_its_turn(runtime, backend):
    """A subscriber is never asked more at once than its lane allows, whatever was claimed for it."""
    _listens(runtime, backend)
    at_once, most = 0, 0

    async def answer(told: Told) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return ok(told)

    backend.answer = answer
    deliverer = Deliverer(runtime, limits=Limits(lane_in_flight=2))
    claims = _born(runtime, 5)
    await deliverer.begin(claims)
    await deliverer.drained()
    await deliverer.close()

    assert (sorted(one.event_id for one in claims), 2) == (sorted(backend.ids), most)


async def test_a_deliverer_that_closes_gives_back_what_it_was_to_begin(runtime, backend):
    """Whoever goes on need not wait until the claims of one that ended lapse."""
    _listens(runtime, backend)
    deliverer = Deliverer(runtime)
    claims = _born(runtime, 2)
    closing = asyncio.ensure_future(deliverer.close())
    await asyncio.sleep(0)
    await deliverer.begin(claims)
    await closing

    rows = delivery_rows(runtime.store)
    assert ([], [0, 0]) == (backend.ids, [rows[one.event_id].claimed_until_ms for one in claims])


async def test_there_is_room_at_an_idle_subscriber_alone(runtime, backend):
    """What is under way or failed a moment ago leaves no room, nor does one that closes or cannot sign."""
    whom = _listens(runtime, backend)
    limits = Limits()
    deliverer = Deliverer(runtime, limits=limits)
    idle = deliverer.room(whom)
    stranger = deliverer.room(whom._replace(origin="config"))
    backend.answer = backend.hang
    (claim,) = _born(runtime, 1)
    await deliverer.begin([claim])
    busy = deliverer.room(whom)
    backend.release()
    await deliverer.drained()
    failing = deliverer.room(whom)
    await deliverer.close()

    assert (limits.lane_born, 0, 0, 0, 0) == (idle, stranger, busy, failing, deliverer.room(whom))


@dataclass
class Noting:
    """A messenger with room for everything, which notes what it is to begin and how that stands in the store."""

    store: Store
    begun: list[Claim] = field(default_factory=list)
    stood: list[int] = field(default_factory=list)

    def room(self, _whom: Listener) -> int:
        """Have room."""
        return 100

    def begin(self, claims: Sequence[Claim]) -> None:
        """Look at them from outside of the transaction that claimed them."""
        self.begun += claims
        rows = delivery_rows(self.store)
        self.stood += [rows[claim.event_id].claimed_until_ms for claim in claims]


async def test_what_was_decided_is_begun_once_it_is_committed_and_hinted_at_no_more(tmp_path):
    """Where there is room deliveries are claimed as they are made, and nobody hears of what might be rolled back."""
    with house(tmp_path, time.time()) as home:
        messenger = Noting(home.store)
        home.runtime = replace(home.runtime, messenger=messenger)
        sale = home.till("stripe").sell(0, bought_ms=int(home.clock() * 1000) - 1000, subscription=False)

        await home.post("stripe", home.simulator("stripe").purchase(sale, home.clock()))

    assert messenger.begun
    assert [claim.claimed_until_ms for claim in messenger.begun] == messenger.stood
    assert set(home.queue.deliveries).isdisjoint(claim.id for claim in messenger.begun)
