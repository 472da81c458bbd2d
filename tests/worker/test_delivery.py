"""Subscribers are told: signed, in order, at least once, and none waits for another.

Real: backends on loopback, the HTTP client, the SQLite outbox, and the independent `standardwebhooks` library as a
reader. Double: the clock, which a test can set forward. Asserted: what backends saw, what the outbox holds, what was
logged and counted.
"""

import asyncio
import ssl
import threading
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import event as watch
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from handlers import outgoing
from handlers.backoff import SCHEDULE_SECONDS
from tests.store.outbox_story import SECRET, announce, delivery_rows, event, subscribe_by_api, subscriber
from tests.worker.backend import Backend, Told, listens, ok, sweep
from tests.worker.receiver import believe, doubts
from worker.delivery import Deliverer, deliver
from worker.lanes import Limits
from worker.post import EXCERPT_CHARACTERS_MAX, Poster
from worker.runtime import Runtime
from worker.store import outbox
from worker.store.tables import attempts


def happened(runtime: Runtime, *told: Any) -> list[str]:
    """Commit events, and give the deliveries that may begin."""
    return announce(runtime.store, told, now=runtime.clock())


def attempt_rows(runtime: Runtime) -> list[Any]:
    """Read every attempt, oldest first."""
    with runtime.store.read() as connection:
        return list(connection.execute(select(attempts).order_by(attempts.c.id)))


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


async def test_a_redirect_is_a_failure_and_is_not_followed(runtime, deliverer):
    """Where a subscriber points to is not where the operator said."""
    async with Backend() as elsewhere:
        async with Backend(lambda _told: web.Response(status=307, headers={"Location": elsewhere.url})) as backend:
            listens(runtime, backend)
            await deliverer.deliver(happened(runtime, event(1)))
            await deliverer.drained()

        assert [] == elsewhere.told
    assert [(307, "redirected")] == [(row.status_code, row.error) for row in attempt_rows(runtime)]


async def test_a_huge_answer_is_cut(runtime, deliverer):
    """Of a gigabyte two thousand characters are read and kept, without the NUL that a database cannot hold."""
    sent = 0

    async def boast(told: Told) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Length": str(2**30)})
        await response.prepare(told.request)
        try:
            while sent < 2**30:
                await response.write(b"\x00" + "é".encode() * 32_768)
                sent += 65_537
        except ConnectionError:
            pass
        return response

    async with Backend(boast) as backend:
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    (row,) = attempt_rows(runtime)
    assert (200, "é" * EXCERPT_CHARACTERS_MAX) == (row.status_code, row.response)
    assert sent < 2**30 // 16
    assert "delivered" == delivery_rows(runtime.store)[event(1).id].status


async def test_an_answer_whose_text_never_ends_is_still_an_answer(runtime, deliverer):
    """The status counts when it comes; a body that dribbles on costs two seconds and no more."""
    async with Backend() as backend:

        async def dribble(told: Told) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(told.request)
            await response.write(b"tha")
            await backend.hang(told)
            return response

        backend.answer = dribble
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    (row,) = attempt_rows(runtime)
    assert (200, "tha", None) == (row.status_code, row.response, row.error)


async def test_a_subscriber_that_answers_nothing_times_out(runtime, deliverer):
    """After `timeout_seconds` the attempt has failed, whatever the other side still intends."""
    async with Backend() as backend:
        backend.answer = backend.hang
        listens(runtime, backend, timeout_seconds=0.2)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    assert [(None, "timeout")] == [(row.status_code, row.error) for row in attempt_rows(runtime)]


async def test_private_addresses_are_refused_by_default(runtime, deliverer):
    """Without `allow_private` a subscriber on loopback is never connected to."""
    async with Backend() as backend:
        listens(runtime, backend, allow_private=False)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    assert [] == backend.told
    assert ["address_refused"] == [row.error for row in attempt_rows(runtime)]


async def test_what_may_go_to_private_addresses_shares_no_connection(runtime, deliverer):
    """An open connection of one subscriber never carries another's delivery past the address check."""
    async with Backend() as backend:
        told = [
            subscriber(backend.url, allow_private=True, order="none"),
            subscriber(backend.url + "?2", allow_private=False, order="none"),
        ]
        subscribe_by_api(runtime.store, *told, now=runtime.clock())
        await deliverer.deliver(happened(runtime, *(event(number) for number in range(1, 6))))
        await deliverer.drained()

    assert 5 == len(backend.told)
    assert 5 == sum(row.error == "address_refused" for row in attempt_rows(runtime))


async def test_an_attempt_that_could_not_be_recorded_is_made_again(runtime, deliverer, clock):
    """Killed between POST and record: when the claim lapses the event comes again, with the same id, signed anew."""
    async with Backend(clock=clock) as backend:
        listens(runtime, backend)
        ready = happened(runtime, event(1))
        with runtime.store.write() as connection:
            (claimed,) = outbox.claim(connection, ready, int(clock() * 1000)).claims
        body = outgoing.body(claimed.document)
        headers = outgoing.headers(claimed.event_id, body, keys=outgoing.keys([SECRET]), now=clock())
        poster = Poster()
        await poster.post(claimed.url, body, headers, allow_private=True, timeout_seconds=5)
        await poster.close()

        await deliverer.deliver(ready)
        await deliverer.drained()
        assert 1 == len(backend.told)
        clock.ahead_seconds += claimed.timeout_seconds + outbox.LEASE_SLACK_MS / 1000 + 1
        await sweep(runtime, deliverer)

    first, second = backend.told
    assert first.id == second.id
    assert first.body == second.body
    assert int(first.headers["webhook-timestamp"]) < int(second.headers["webhook-timestamp"])


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


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/", "not_connected"),
        ("http://" + "long" * 16 + ".example/", "name_not_resolved"),
        ("not a url", "invalid_url"),
        ("ftp://127.0.0.1/", "invalid_url"),
        ("http://2130706433/", "invalid_url"),
    ],
)
async def test_what_goes_wrong_has_a_name(runtime, deliverer, url, error):
    """A bad address is a failed attempt with a reason, never an exception."""
    subscribe_by_api(runtime.store, subscriber(url, allow_private=True), now=runtime.clock())
    await deliverer.deliver(happened(runtime, event(1)))
    await deliverer.drained()

    assert [(None, error)] == [(row.status_code, row.error) for row in attempt_rows(runtime)]


async def test_a_stranger_who_speaks_no_http_is_a_failed_attempt(runtime, deliverer):
    """Garbage instead of an answer, and a connection that just ends, have names too."""

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 smtp.acme.example ESMTP\r\n")
        writer.close()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    for handler in (garbage, hang_up):
        async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            told = subscriber(f"http://127.0.0.1:{port}/", allow_private=True, app=handler.__name__)
            subscribe_by_api(runtime.store, told)
            await deliverer.deliver(happened(runtime, event(1, app=handler.__name__)))
            await deliverer.drained()

    assert ["not_http", "disconnected"] == [row.error for row in attempt_rows(runtime)]


async def test_a_certificate_that_nobody_vouches_for_is_refused(runtime, deliverer, tmp_path):
    """TLS is verified: a self-signed backend is not told anything."""
    async with Backend(ssl_context=self_signed(tmp_path)) as backend:
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    assert [] == backend.told
    assert ["certificate_refused"] == [row.error for row in attempt_rows(runtime)]


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


async def test_a_store_that_is_away_costs_no_record(runtime):
    """What was told while the database was away is written down when it is back, and not told again."""
    deliverer = Deliverer(runtime, limits=Limits(store_retry_seconds=0.01))
    away = {"turns": 0}

    def refuse(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        # In turns: the claim of the first event, its record, the claim of the second.
        wanted = ("UPDATE deliveries", "INSERT INTO attempts", "UPDATE deliveries SET claimed")[away["turns"] % 3]
        if statement.replace('"', "").startswith(wanted) and away["turns"] < 3:
            away["turns"] += 1
            raise OperationalError(statement, {}, type("OperationalError", (Exception,), {})("database is locked"))

    async with Backend() as backend:
        listens(runtime, backend)
        watch.listen(runtime.store.engine, "before_cursor_execute", refuse)
        with capture_logs() as logs:
            await deliverer.deliver(happened(runtime, event(1), event(2)))
            await deliverer.drained()

    await deliverer.close()
    assert [event(1).id, event(2).id] == backend.ids
    assert 3 == [line["event"] for line in logs].count("deliver.store_unavailable")
    assert {"delivered"} == {row.status for row in delivery_rows(runtime.store).values()}


async def test_a_claim_that_lapses_is_not_acted_on(runtime, deliverer, clock):
    """Stopped between its claim and its request for as long as that lasts, a worker tells nobody: another one does."""
    slept = {"for_seconds": 20.0}

    def sleep(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.replace('"', "").startswith("UPDATE deliveries SET claimed"):
            clock.ahead_seconds += slept.pop("for_seconds", 0.0)

    async with Backend() as backend:
        listens(runtime, backend)
        ids = happened(runtime, event(1))
        watch.listen(runtime.store.engine, "before_cursor_execute", sleep)
        with capture_logs() as logs:
            await deliverer.deliver(ids)
            await deliverer.drained()
        assert [] == backend.ids
        clock.ahead_seconds += 60
        await sweep(runtime, deliverer)
        await deliverer.drained()

    assert [event(1).id] == backend.ids
    assert ["deliver.claim_lapsed"] == [line["event"] for line in logs]
    assert 1 == len(attempt_rows(runtime))


async def test_what_is_claimed_while_closing_is_given_back(runtime, deliverer):
    """A stop leaves no delivery claimed that nobody attempts: whoever goes on may take it at once."""
    # After a stop under load ten deliveries waited until their claims lapsed.
    claiming, closing = threading.Event(), threading.Event()

    def wait(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith('UPDATE "deliveries" SET "claimed_until_ms"'):
            claiming.set()
            closing.wait(10)

    async with Backend() as backend:
        listens(runtime, backend)
        ready = happened(runtime, event(1), event(1, user="user-7"))
        watch.listen(runtime.store.engine, "before_cursor_execute", wait)
        await deliverer.deliver(ready)
        await asyncio.to_thread(claiming.wait, 10)
        close = asyncio.create_task(deliverer.close())
        await asyncio.sleep(0)
        closing.set()
        await close
        assert [] == backend.ids

    assert [0, 0] == [row.claimed_until_ms for row in delivery_rows(runtime.store).values()]


async def test_a_commit_nobody_heard_of_is_recorded_once(runtime, deliverer):
    """Where the record of an attempt was committed and the answer of the database lost, it is one attempt."""
    # It was recorded again: two attempts in the history of one POST.
    lost = {"once": True}

    def lose(connection: Any) -> None:
        if recorded(connection) and lost.pop("once", False):
            connection.connection.driver_connection.commit()
            raise OperationalError("COMMIT", {}, type("OperationalError", (Exception,), {})("connection lost"))

    def recorded(connection: Any) -> int:
        return int(connection.execute(select(func.count()).select_from(attempts)).scalar_one())

    async with Backend() as backend:
        listens(runtime, backend)
        watch.listen(runtime.store.engine, "commit", lose)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    assert [event(1).id] == backend.ids
    assert not lost
    with runtime.store.read() as connection:
        assert 1 == recorded(connection)


async def test_a_mistake_of_ours_stops_nobody_else(runtime, deliverer):
    """If a turn breaks, its claims lapse; the deliverer goes on with what comes next."""
    broken = {"once": True}

    def refuse(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO attempts") and broken.pop("once", False):
            raise ValueError("no such thing")

    async with Backend() as backend:
        listens(runtime, backend)
        watch.listen(runtime.store.engine, "before_cursor_execute", refuse)
        with capture_logs() as logs:
            await deliverer.deliver(happened(runtime, event(1)))
            await deliverer.drained()
        await deliverer.deliver(happened(runtime, event(1, user="user-7")))
        await deliverer.drained()

    assert ["deliver.turn_failed"] == [line["event"] for line in logs]
    assert "delivered" == delivery_rows(runtime.store)[event(1, user="user-7").id].status


async def test_closing_records_what_ended_and_leaves_the_rest_to_others(runtime):
    """A stop waits a moment for what is in flight, begins nothing new, and loses nothing."""
    deliverer = Deliverer(runtime)
    arrived = asyncio.Event()

    async def slowly(_told: Told) -> web.Response:
        arrived.set()
        await asyncio.sleep(0.2)
        return web.Response()

    async with Backend(slowly) as backend:
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1), event(2)))
        await arrived.wait()
        await deliverer.close()

    assert [event(1).id] == backend.ids
    assert ["delivered", "pending"] == [row.status for row in delivery_rows(runtime.store).values()]


async def test_closing_waits_for_nobody_forever(runtime):
    """An attempt that does not end in time is dropped; its claim lapses, and another process makes it again."""
    deliverer = Deliverer(runtime, limits=Limits(grace_seconds=0.05))
    async with Backend() as backend:
        backend.answer = backend.hang
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await backend.has_been_told(1)
        await deliverer.close()
        await deliverer.drained()

    row = delivery_rows(runtime.store)[event(1).id]
    assert ("pending", 0) == (row.status, row.attempts)
    assert 0 < row.claimed_until_ms


async def test_closing_an_idle_deliverer_is_nothing(runtime):
    """One that never delivered anything closes at once."""
    await Deliverer(runtime).close()


async def test_an_attempt_that_breaks_us_is_a_failed_attempt(runtime, deliverer):
    """A mistake of ours costs that delivery an attempt; its lane goes on."""
    impossible = event(1).model_copy(update={"id": "evt_1\r\n"})
    async with Backend() as backend:
        listens(runtime, backend)
        with capture_logs() as logs:
            await deliverer.deliver(happened(runtime, impossible, event(1, user="user-7")))
            await deliverer.drained()

    assert [event(1, user="user-7").id] == backend.ids
    assert {"internal", None} == {row.error for row in attempt_rows(runtime)}
    assert "deliver.attempt_broke" in [line["event"] for line in logs]


async def test_more_hints_than_a_lane_holds_are_found_again(runtime):
    """Hints beyond the bound are dropped without harm: what they meant is still due in the outbox."""
    deliverer = Deliverer(runtime, limits=Limits(lane_waiting=5))
    async with Backend() as backend:
        listens(runtime, backend, order="none")
        await deliverer.deliver(happened(runtime, *(event(number) for number in range(1, 21))))
        await deliverer.drained()
        assert 5 == len(backend.told)
        for _ in range(3):
            await sweep(runtime, deliverer)
    await deliverer.close()

    assert 20 == len(set(backend.ids)) == len(backend.ids)


def self_signed(directory: Path) -> ssl.SSLContext:
    """Make a certificate for 127.0.0.1 that nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today)
        .not_valid_after(today + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem = directory / "self-signed.pem"
    pem.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
