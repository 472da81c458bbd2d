"""Subscribers are told: signed, in order, at least once, and none waits for another.

Real: backends on loopback, the HTTP client, the SQLite outbox, and the independent `standardwebhooks` library as a
reader. Double: the clock, which a test can set forward. Asserted: what backends saw, what the outbox holds, what was
logged and counted.
"""

import asyncio
from base64 import b64encode

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from handlers.backoff import SCHEDULE_SECONDS
from tests.store.outbox_story import SECRET, delivery_rows, event
from tests.worker.backend import Backend, Told, attempt_rows, happened, listens, ok, sweep
from tests.worker.receiver import believe, doubts
from worker.delivery import Deliverer, deliver
from worker.lanes import Limits


async def test_a_subscriber_is_told_what_is_stored(runtime, deliverer):
    """The body is the stored document to the byte, signed so that independent readers believe it."""
    async with Backend() as backend:
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    (told,) = backend.told
    assert event(1).model_dump_json().encode() == told.body
    assert event(1).id == told.id
    believed = believe(told.headers, told.body, secret=SECRET, now=runtime.clock())
    assert event(1).model_dump(mode="json") == believed == Webhook(SECRET).verify(told.body, told.headers)
    assert "application/json" == told.headers["content-type"]
    assert told.headers["user-agent"].startswith("Clawback/")
    assert "delivered" == delivery_rows(runtime.store)[event(1).id].status


async def test_every_secret_signs_while_rotating(runtime, deliverer, clock):
    """Old and new secret, shared or private: whoever knows any one of them believes every attempt, each one fresh."""
    seed = bytes(range(32))
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    old, private = "whsec_" + b64encode(bytes(24)).decode(), "whsk_" + b64encode(seed).decode()
    known = (SECRET, old, "whpk_" + b64encode(public).decode())

    async with Backend(lambda _told: web.Response(status=500), secrets=known, clock=clock) as backend:
        listens(runtime, backend, secrets=(SECRET, old, private))
        happened(runtime, event(1))
        for _ in range(3):
            await sweep(runtime, deliverer)
            clock.ahead_seconds += 600

    assert 3 == len(backend.told) == len({told.headers["webhook-timestamp"] for told in backend.told})
    assert {event(1).id} == set(backend.ids)
    assert ["v1", "v1", "v1a"] == [
        token.split(",")[0] for token in backend.told[0].headers["webhook-signature"].split(" ")
    ]


async def test_readers_doubt_what_is_not_signed_for_them(runtime, deliverer):
    """Another secret, another public key or a changed byte is doubted: what every test here asserts can fail."""
    stranger = "whsec_" + b64encode(bytes(32)).decode()
    unknown = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    async with Backend() as backend:
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    (told,) = backend.told
    now = runtime.clock()
    for secret in (stranger, "whpk_" + b64encode(unknown).decode()):
        assert doubts(told.headers, told.body, secrets=[secret], now=now)
    assert doubts(told.headers, told.body + b" ", secrets=[SECRET], now=now)
    assert doubts(told.headers, told.body, secrets=[SECRET], now=now + 301)


async def test_the_module_function_delivers_to_the_end(runtime):
    """Without a deliverer of one's own, everything a hint leads to is told before it returns."""
    async with Backend() as backend:
        listens(runtime, backend)
        await deliver(runtime, happened(runtime, event(1), event(2), event(3)))

    assert [event(1).id, event(2).id, event(3).id] == backend.ids


async def test_hints_are_not_waited_for(runtime, deliverer):
    """A worker that passes a hint on has its thread back while the subscriber still thinks."""
    async with Backend() as backend:
        backend.answer = backend.hang
        listens(runtime, backend)

        await asyncio.wait_for(deliverer.deliver(happened(runtime, event(1))), 5)

        assert "pending" == delivery_rows(runtime.store)[event(1).id].status


async def test_a_repeated_hint_tells_nothing_twice(runtime, deliverer):
    """Hints are hints: however often one comes, before, during or after, the event is told once."""
    async with Backend() as backend:
        listens(runtime, backend)
        ready = happened(runtime, event(1))
        await asyncio.gather(*(deliverer.deliver(ready) for _ in range(5)))
        await deliverer.drained()
        await deliverer.deliver([*ready, "dlv_unknown"])
        await deliverer.drained()

    assert [event(1).id] == backend.ids


async def test_two_processes_tell_it_once(runtime, deliverer):
    """Of two that are hinted at the same delivery, one gets it."""
    other = Deliverer(runtime)
    async with Backend() as backend:
        listens(runtime, backend, order="none")
        ready = happened(runtime, *(event(number) for number in range(1, 31)))
        await asyncio.gather(deliverer.deliver(ready), other.deliver(ready))
        await asyncio.gather(deliverer.drained(), other.drained())
    await other.close()

    assert 30 == len(backend.ids) == len(set(backend.ids))


async def test_a_failing_event_holds_back_only_its_customer(runtime, deliverer, clock):
    """Customer 42's second event waits for the first; customer 7's does not; then all arrives in order."""
    broken = event(1).id

    async with Backend(lambda told: web.Response(status=500) if told.id == broken else ok(told)) as backend:
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1), event(2), event(3), event(1, user="user-7")))
        await deliverer.drained()
        assert {broken, event(1, user="user-7").id} == set(backend.ids)

        backend.answer = ok
        backend.told.clear()
        clock.ahead_seconds += 5.1
        await sweep(runtime, deliverer)

    assert [event(1).id, event(2).id, event(3).id] == backend.ids


async def test_a_dead_subscriber_delays_nobody(runtime, deliverer):
    """While one subscriber answers nothing at all, the other hears of hundreds of events."""
    async with Backend() as dead, Backend() as alive:
        dead.answer = dead.hang
        listens(runtime, dead, alive)
        told = [event(1, user=f"user-{number}") for number in range(200)]

        await deliverer.deliver(happened(runtime, *told))
        await alive.has_been_told(200)

        assert Limits().lane_in_flight == len(dead.told)


async def test_a_failing_subscriber_is_asked_one_thing_at_a_time(runtime, deliverer):
    """After a failure attempts follow one another, and a success opens the lane again."""
    together, most = 0, 0

    async def refuse(_told: Told) -> web.Response:
        nonlocal together, most
        together += 1
        most = max(most, together) if len(backend.told) > Limits().lane_in_flight else 0
        await asyncio.sleep(0.005)  # long enough to be seen together
        together -= 1
        return web.Response(status=500)

    async with Backend(refuse) as backend:
        listens(runtime, backend, order="none")
        await deliverer.deliver(happened(runtime, *(event(number) for number in range(1, 31))))
        await deliverer.drained()

    assert 30 == len(backend.told)
    assert 1 == most


async def test_the_whole_schedule_ends(runtime, deliverer, clock):
    """Ten attempts in three days, by the published schedule, then the delivery is dead."""
    async with Backend(lambda _told: web.Response(status=500)) as backend:
        listens(runtime, backend)
        happened(runtime, event(1))
        for wait in (*SCHEDULE_SECONDS, SCHEDULE_SECONDS[-1]):
            clock.ahead_seconds += wait
            await sweep(runtime, deliverer)

    assert 10 == len(backend.told)
    row = delivery_rows(runtime.store)[event(1).id]
    assert ("failed", 10) == (row.status, row.attempts)


async def test_nothing_is_ever_sent_unsigned(runtime, deliverer):
    """A subscriber without a usable secret gets a failed attempt with that reason, and no POST."""
    async with Backend() as backend:
        listens(runtime, backend, secrets=("whsec_…",))
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    assert [] == backend.told
    assert ["no_secret"] == [row.error for row in attempt_rows(runtime)]


async def test_an_attempt_is_one_line_and_one_count(runtime, deliverer):
    """Each attempt is logged with everything there is to know and nothing that is secret, and is counted."""
    async with Backend() as backend:
        (who,) = listens(runtime, backend)
        (ready,) = happened(runtime, event(1))
        with capture_logs() as logs:
            await deliverer.deliver([ready])
            await deliverer.drained()

    (line,) = logs
    assert 0 < line.pop("duration_ms")
    assert {
        "event": "deliver.attempted",
        "log_level": "info",
        "delivery": ready,
        "event_id": event(1).id,
        "subscriber": who,
        "app": "acme",
        "sequence": 1,
        "attempt": 1,
        "outcome": "delivered",
        "status_code": 200,
        "error": None,
        "retry_in_seconds": None,
    } == line
    value = runtime.metrics.registry.get_sample_value
    assert 1 == value("clawback_deliveries_total", {"outcome": "delivered"})
    assert 1 == value("clawback_delivery_lag_seconds_count")
