"""The feed as server-sent events.

Real: server, sockets, store. Double: the queue and the network of `service.py`.
"""

import asyncio
import itertools
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from config.settings import Server, Settings
from schemas.resources import Customer, Event
from tests.web import seed
from tests.web.listening import listening
from tests.web.service import TOKEN, Service, running, settings
from worker.metrics import Metrics
from worker.store import feed
from worker.store.feed import PRUNED
from worker.store.tables import events, marks
from worker.web.pages import encode
from worker.web.stream import KERNEL_BYTES, Streams

BEAT_SECONDS, STALL_SECONDS = 0.2, 1.0


def chosen(**server: Any) -> Settings:
    """Configure a service whose patience is short."""
    return settings(**{"stream_heartbeat_seconds": BEAT_SECONDS, "stream_stall_seconds": STALL_SECONDS, **server})


@pytest.fixture(name="service")
async def _service(url: str) -> AsyncIterator[Service]:
    async with running(url, chosen()) as service:
        yield service


async def test_the_stream_is_the_feed(service: Service) -> None:
    """A stream begins where the feed does, and goes on with what is told: each event as it was written, by its id."""
    told = [seed.event(n, type_=kind) for n, kind in enumerate(("refund.pending", "refund.failed", "balance.restored"))]
    seed.insert(service.store, *told[:2])

    async with listening(service) as ear:
        heard = await ear.hear(2)
        seed.insert(service.store, told[2])
        heard += await ear.hear(1)
        assert "text/event-stream; charset=utf-8" == ear.response.headers["Content-Type"]
        assert "no-store" == ear.response.headers["Cache-Control"]
        assert int(ear.retry) > 0

    assert told == [Event.model_validate(one["data"]) for one in heard]
    assert [one.type for one in told] == [one["type"] for one in heard]


async def test_a_stream_goes_on_where_it_broke_off(service: Service) -> None:
    """The last id that was seen leads on, in either way of reading, and counts more than where the stream had begun."""
    seed.insert(service.store, *(seed.event(n) for n in range(1, 5)))
    async with listening(service) as ear:
        first, second = await ear.hear(2)

    async with listening(service, last_id=second["id"], after=first["id"]) as ear:
        rest = await ear.hear(2)
    page = await service.get("/v1/events", after=first["id"], limit=1)
    async with listening(service, after=page["next_cursor"]) as ear:
        same = await ear.hear(2)
    async with listening(service, last_id="", cursor=first["id"]) as ear:
        more = await ear.hear(3)

    assert [seed.event(n).id for n in (3, 4)] == [one["data"]["id"] for one in rest]
    assert rest == same == more[1:]


@pytest.mark.parametrize(
    ("last_id", "status", "code"),
    [
        ("nonsense", 400, "parameter_invalid"),
        ("W10", 400, "parameter_invalid"),
        ("\u00e9", 400, "parameter_invalid"),
        ("latest", 400, "parameter_invalid"),
        (encode([1, "another"]), 400, "cursor_foreign"),
        (encode([4711]), 400, "cursor_foreign"),
        (encode([0]), 410, "cursor_expired"),
    ],
)
async def test_an_id_that_leads_nowhere_is_refused(service: Service, last_id: str, status: int, code: str) -> None:
    """An unknown Last-Event-ID is an error before the stream begins, never a stream with a gap."""
    seed.insert(service.store, seed.event(1), seed.event(2))
    with service.store.write() as connection:
        connection.execute(marks.insert().values(name=PRUNED, value="1"))

    async with service.http.get("/v1/events/stream", headers={"Last-Event-ID": last_id}) as response:
        error = (await response.json())["error"]

    assert (status, code, "Last-Event-ID") == (response.status, error["code"], error["param"])
    assert ("oldest_cursor" in error) is (status == 410)


async def test_filters_and_the_way_past_them(service: Service) -> None:
    """Only what is asked for is sent; and the id of a heartbeat moves on with what is not."""
    bob = Customer(user_id="bob")
    async with listening(service, types="refund.*", customer="bob", app="acme", environment="production") as ear:
        left_out = [seed.event(1), seed.event(2, customer=bob, environment="sandbox"), seed.event(3, app="other")]
        seed.insert(service.store, *left_out, seed.event(4, type_="refund.failed", customer=bob))
        assert [seed.event(4).id] == [one["data"]["id"] for one in await ear.hear(1)]
        before = ear.last_id
        seed.insert(service.store, seed.event(5))
        while ear.last_id == before:
            await ear.comment()

    page = await service.get("/v1/events", after=ear.last_id)
    assert ([], ear.last_id) == (page["data"], page["next_cursor"])


async def test_latest_is_told_nothing_old(service: Service) -> None:
    """A stream that begins with what is new has an id to come back with before anything was told."""
    seed.insert(service.store, seed.event(1))
    async with listening(service, after="latest") as ear:
        await ear.comment()
    seed.insert(service.store, seed.event(2))
    async with listening(service, last_id=ear.last_id) as ear:
        assert [seed.event(2).id] == [one["data"]["id"] for one in await ear.hear(1)]


async def test_silence_is_filled(service: Service) -> None:
    """While nothing happens a comment comes now and then, also on a feed without a single event."""
    async with listening(service) as ear:
        began = time.monotonic()
        for _ in range(3):
            await ear.comment()

    assert time.monotonic() - began >= BEAT_SECONDS * 1.5
    assert "" == ear.last_id


async def test_a_stream_asks_for_a_token(service: Service) -> None:
    """A stream is closed to whoever shows no token, like everything under /v1."""
    async with service.http.get("/v1/events/stream", headers={"Authorization": "Bearer no"}) as response:
        assert 401 == response.status


async def test_a_head_is_answered_and_over(service: Service) -> None:
    """HEAD tells what a GET would be, and streams nothing."""
    async with asyncio.timeout(60), service.http.head("/v1/events/stream") as response:
        assert (200, "text/event-stream") == (response.status, response.content_type)
    async with service.http.head("/v1/events/stream", params={"types": "refund"}) as response:
        assert 400 == response.status
    async with service.http.post("/v1/events/stream") as response:
        assert (405, "GET,HEAD") == (response.status, response.headers["Allow"])


async def test_only_so_many_listen(url: str) -> None:
    """Beyond the bound it is 503 with Retry-After, long before connections run out; a place that is free is given."""
    async with running(url, chosen(streams_max=2)) as service:
        async with listening(service) as one, listening(service) as other:
            async with service.http.get("/v1/events/stream") as response:
                error = (await response.json())["error"]
                assert (503, "too_many_streams") == (response.status, error["code"])
                assert int(response.headers["Retry-After"]) > 0
            await one.comment()
            await other.comment()
        async with asyncio.timeout(60), listening(service) as again:
            await again.comment()


@pytest.mark.parametrize(("files", "streams"), [(1_024, 512), (20_000, 5_000), (resource.RLIM_INFINITY, 5_000)])
def test_listeners_leave_connections_to_the_platforms(files: int, streams: int) -> None:
    """However many may listen, half of what the process may have open is left for everybody else."""
    gauge = Metrics(CollectorRegistry()).streams_open
    assert streams == Streams(Server(), files_max=files, gauge=gauge).max


async def test_how_many_listen_is_scraped(service: Service) -> None:
    """A scrape says how many listen at the moment: those who went, or were not let in, are not among them."""
    async with listening(service) as one:
        await one.comment()
        async with listening(service) as other:
            await other.comment()
            assert 2 == await streams_open(service)
        await service.refused("/v1/events/stream", 400, types="refund")
        async with asyncio.timeout(60):
            while await streams_open(service) > 1:
                await one.comment()
    # Each look is a request of its own, and gives the server the time to notice.
    async with asyncio.timeout(60):
        while await streams_open(service) > 0:
            pass


async def streams_open(service: Service) -> float:
    """Scrape how many listen."""
    async with service.http.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith("clawback_streams_open ")]
    return float(value)


async def test_a_shutdown_ends_streams_cleanly(url: str) -> None:
    """A stop ends every stream at once and whole: nobody waits for it, and nobody takes it for a broken connection."""
    async with running(url, chosen(stream_heartbeat_seconds=30)) as service:
        seed.insert(service.store, seed.event(1))
        async with listening(service) as ear:
            await ear.hear(1)
            began = time.monotonic()
            stopping = asyncio.create_task(service.runner.cleanup())
            assert b"" == await ear.end()
            async with asyncio.timeout(60):
                await stopping

    assert time.monotonic() - began < 10


async def test_a_shutdown_waits_for_nobody_who_does_not_read(url: str) -> None:
    """Who takes nothing holds a stop up for a second, however patient the service is otherwise."""
    async with running(url, chosen(stream_stall_seconds=60)) as service:
        seed.insert(service.store, *map(big, range(60)))
        deaf = deaf_client(service.port)
        async with listening(service) as ear:
            await ear.hear(60)
            began = time.monotonic()
            await service.runner.cleanup()
    deaf.close()

    assert time.monotonic() - began < 10


def big(number: int) -> Event:
    """Tell something large."""
    return seed.event(number, type_="refund.failed", customer=Customer(user_id="ada" * 5_000))


async def test_who_never_reads_is_dropped(service: Service) -> None:
    """A client that never reads is hung up on in a bounded time; little is kept for it, and the others go on."""
    seed.insert(service.store, *map(big, range(60)))
    deaf = deaf_client(service.port)

    with capture_logs() as logs:
        began = time.monotonic()
        async with asyncio.timeout(60):
            while not any(line["event"] == "stream.dropped" for line in logs):
                async with listening(service, after="latest") as ear:
                    await ear.comment()
        assert time.monotonic() - began < 10 * STALL_SECONDS
    taken = len(drained(deaf))
    assert taken < 4 * KERNEL_BYTES + 200_000
    async with listening(service) as ear:
        assert 60 == len(await ear.hear(60))


async def test_who_never_reads_a_little_is_dropped_too(url: str) -> None:
    """Also where less waits than would stop us from writing, somebody who takes none of it is hung up on."""
    async with running(url, chosen(stream_stall_seconds=60, stream_heartbeat_seconds=0.05)) as service:
        deaf = deaf_client(service.port)
        with capture_logs() as logs:
            async with asyncio.timeout(60), listening(service, types="balance.restored") as ear:
                for number in itertools.count():
                    seed.insert(service.store, big(number))
                    for _ in range(3):
                        await ear.comment()
                    if any(line["event"] == "stream.dropped" for line in logs):
                        break
        deaf.close()


def deaf_client(port: int) -> socket.socket:
    """Ask for the stream, and never read."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", port))
    deaf.sendall(f"GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    return deaf


def drained(connection: socket.socket) -> bytes:
    """Read what is left of a connection that the other side gave up."""
    connection.settimeout(60)
    said = b""
    try:
        while more := connection.recv(65_536):
            said += more
    except ConnectionError:
        pass
    finally:
        connection.close()
    return said


async def test_a_burst_reaches_everybody(url: str) -> None:
    """More events at once than are kept for all reach each listener, once and in order."""
    # Who listens lives in the server's own process here. On a busy machine that stood still for more than the second of
    # patience of the other tests, and those who listened could take nothing meanwhile: they were hung up on.
    count, patient = 1_200, chosen(stream_stall_seconds=30)
    row = {"app": "acme", "environment": "production", "timestamp_ms": 0, "type": "refund.failed"}
    rows = [row | {"id": f"evt_{n}", "document": f'{{"n":{n},"pad":"{"x" * 5_000}"}}'} for n in range(count)]
    async with running(url, patient) as service, listening(service) as one, listening(service) as other:
        await one.comment()
        with service.store.write() as connection:
            connection.execute(events.insert(), rows)
        heard = await asyncio.gather(one.hear(count, seconds=30), other.hear(count, seconds=30))

    assert [list(range(count))] * 2 == [[one["data"]["n"] for one in each] for each in heard]


async def test_who_fell_behind_what_is_kept_is_told_so(service: Service) -> None:
    """When what a listener would be sent next has been pruned, its stream ends: its last id tells it of the gap."""
    seed.insert(service.store, seed.event(1))
    async with listening(service) as ear:
        await ear.hear(1)
        with service.store.write() as connection:
            connection.execute(marks.insert().values(name=PRUNED, value="1000000"))
            connection.execute(events.insert(), [{**_row(2), "position": 1_000_001, "document": "{}" * 3_000_000}])
        assert b"data" not in await ear.end()
    async with service.http.get("/v1/events/stream", headers={"Last-Event-ID": ear.last_id}) as response:
        assert (410, "cursor_expired") == (response.status, (await response.json())["error"]["code"])


def _row(number: int) -> dict[str, Any]:
    told = seed.event(number)
    return {"id": told.id, "app": told.app, "environment": told.environment, "type": told.type, "timestamp_ms": 0}


@contextmanager
def uncommitted(service: Service, number: int) -> Iterator[threading.Event]:
    """Append an event in a transaction of its own, which is committed when what this gives is set."""
    written, go = threading.Event(), threading.Event()

    def hold() -> None:
        with service.store.write() as connection:
            feed.append(connection, [seed.event(number)], now_ms=seed.NOW * 1000 + number)
            connection.exec_driver_sql("SELECT 1")  # what was sent before has been done
            written.set()
            assert go.wait(20)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        try:
            assert written.wait(20)
            yield go
        finally:
            go.set()
            holder.result(20)


async def test_no_commit_out_of_turn_is_missed(emptied: str) -> None:
    """Of two transactions the one that would overtake the other waits: list and stream have both, in order."""
    # A number is taken when a row is written, and seen when it is committed. The second of two transactions would be
    # seen first; its readers would go on from there, and never see the first.
    async with running(emptied, chosen()) as service:
        seed.insert(service.store, seed.event(1))
        async with listening(service) as ear:
            heard = await ear.hear(1)
            page = await service.get("/v1/events")
            with ThreadPoolExecutor(1) as pool, uncommitted(service, 2) as go:
                second = pool.submit(seed_by_append, service, 3)
                seen = [await service.get("/v1/events", after=page["next_cursor"], wait=1)]
                overtaken = second.done()
                go.set()
                await asyncio.to_thread(second.result, 20)
            heard += await ear.hear(2)
        seen.append(await service.get("/v1/events", after=seen[0]["next_cursor"]))

    told = [seed.event(n).id for n in (1, 2, 3)]
    assert not overtaken
    assert told[1:] == [event["id"] for page in seen for event in page["data"]]
    assert told == [one["data"]["id"] for one in heard]


def seed_by_append(service: Service, number: int) -> None:
    """Append an event as processing does."""
    with service.store.write() as connection:
        feed.append(connection, [seed.event(number)], now_ms=seed.NOW * 1000 + number)
