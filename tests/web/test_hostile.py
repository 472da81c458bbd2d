"""What a stranger tries at the socket itself: silence, smuggled framing, dripping bodies, crooked paths and tokens.

Real: server, router, verification, store. Double: the queue and the network of `service.py`.
"""

import asyncio
import gzip
import hashlib
import hmac
import json
import tracemalloc
from collections.abc import Iterable, Sequence
from itertools import chain, repeat

import pytest
from aiohttp import web
from sqlalchemy import select

from config.settings import Admin
from tests.web.seed import APP, NOW
from tests.web.service import SECRET, TOKEN, Clock, Queue, Service, application, running, runtime_of, settings
from worker.store import tables
from worker.web.app import make_runner

WEBHOOK = f"POST /webhooks/stripe/{APP} HTTP/1.1\r\nHost: x\r\n"
HEALTH = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
ADMIN = f"Authorization: Bearer {TOKEN}\r\n"


async def say(port: int, text: str | bytes, *, seconds: float = 3.0) -> bytes:
    """Say something on a connection of its own, and read until the other side hangs up or says no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(text if isinstance(text, bytes) else text.encode())
        async with asyncio.timeout(seconds):
            while not answer.endswith(b"}") and (chunk := await reader.read(65536)):
                answer += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return answer


def statuses(answer: bytes) -> Sequence[int]:
    """List the statuses in what was answered, in their order."""
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.")]


async def test_a_connection_that_asks_nothing_is_hung_up_on(url: str) -> None:
    """Whoever connects has to ask within a bounded time, and is left alone once they did."""
    # aiohttp waits for the first request of a connection forever. A thousand connections that said `POST /webh` and no
    # more would each have kept a file descriptor until the process had none left for Apple, Google, Stripe or Amazon.
    queue = Queue()
    runtime = runtime_of(settings(), url, queue, Clock())
    runner = make_runner(application(runtime, queue), head_seconds=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    asked = asyncio.open_connection("127.0.0.1", port)
    reader, writer = await asked
    writer.write(HEALTH.replace("close", "keep-alive").encode())
    assert b"200 OK" in await reader.readuntil(b"}")

    silences = ("", "POST /webh", WEBHOOK + "Stripe-Signature: t=")
    answers = await asyncio.gather(*(_until_hung_up(port, silence) for silence in silences))

    assert [b"", b"", b""] == answers
    writer.write(HEALTH.encode())
    assert b"200 OK" in await reader.readuntil(b"}")
    writer.close()
    await runner.cleanup()
    runtime.store.close()


async def _until_hung_up(port: int, silence: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(silence.encode())
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: -5\r\n\r\nhello",
        "Content-Length: 99999999999999999999999\r\n\r\nhello",
        "Transfer-Encoding: xchunked\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}\r\n",
        "Stripe-Signature: t=1,\r\n v1=aa\r\nContent-Length: 2\r\n\r\n{}",
        "X: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
        "A: b\r\n" * 5000 + "\r\n",
    ],
)
async def test_framing_with_two_readings_is_refused_and_ends_the_connection(service: Service, framing: str) -> None:
    """A request whose end or headers two servers could see differently is 400, and nothing behind it is served."""
    answer = await say(service.port, WEBHOOK + framing + HEALTH)

    assert [400] == statuses(answer)
    assert b'"ok"' not in answer


@pytest.mark.parametrize("path", ["/v1/refunds", "/%76%31/refunds", "//v1/refunds", "/v1%2Frefunds", "/%2Fv1/refunds"])
@pytest.mark.parametrize("header", ["", "Authorization: Bearer \r\n", "Authorization: Bearer \u00e9\u20ac\r\n"])
async def test_no_spelling_of_a_path_goes_round_the_guard(service: Service, path: str, header: str) -> None:
    """However `/v1` is spelled, and whatever bytes stand for a token: 401, and never 200 or 500."""
    answer = await say(service.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n")

    assert [401] == statuses(answer)


@pytest.mark.parametrize(
    "path", ["/webhooks/%2e%2e/v1/refunds", "/healthz/../v1/refunds", "/V1/refunds", "/v1;/refunds", "/v1\\refunds"]
)
async def test_a_crooked_path_leads_nowhere(service: Service, path: str) -> None:
    """A path that only resembles one of ours is 404, or no path at all."""
    answer = await say(service.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n{ADMIN}\r\n")

    assert statuses(answer)[0] in {400, 404}


async def test_a_token_counts_in_its_header_alone(service: Service) -> None:
    """A token in the query, in a cookie or in a second header opens nothing: such places end in logs of others."""
    for request in (
        f"GET /v1/refunds?token={TOKEN}&access_token={TOKEN} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /v1/refunds HTTP/1.1\r\nHost: x\r\nCookie: token={TOKEN}\r\n\r\n",
        f"GET /v1/refunds HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\n{ADMIN}\r\n",
    ):
        assert [401] == statuses(await say(service.port, request))


async def test_empty_tokens_open_nothing(url: str) -> None:
    """Tokens that are empty or blank are no tokens, however they got past the configuration's own check."""
    chosen = settings().model_copy(update={"admin": Admin(tokens=("", "  "))})
    async with running(url, chosen) as service:
        for token in ("", " ", "  "):
            request = f"GET /v1/refunds HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            assert [401] == statuses(await say(service.port, request))


async def test_what_operators_ask_is_not_on_the_public_port(url: str) -> None:
    """With a port of its own, nothing of the operators' side answers on the public one, token or not."""
    async with running(url, settings(admin_port=1)) as service:
        for path in ("/v1/refunds", "/metrics", "/readyz", "/openapi.json", "/v1/notifications"):
            answer = await say(service.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n{ADMIN}\r\n")
            assert [404] == statuses(answer), path


async def test_headers_that_nothing_vouches_for_are_not_kept(service: Service) -> None:
    """With a notification only those headers are stored that its platform's reader needs."""
    # Pub/Sub's metadata headers went to disk with whatever came, be it beside a body that Stripe had signed: text of a
    # stranger's choice in a row that stands for what a platform said.
    event = {"object": "event", "id": "evt_annual_plan", "type": "customer.created", "created": NOW, "livemode": True}
    body = json.dumps(event)
    mac = hmac.new(SECRET.encode(), f"{NOW}.{body}".encode(), hashlib.sha256).hexdigest()
    head = f"Stripe-Signature: t={NOW},v1={mac}\r\nX-Goog-Pubsub-Message-Id: 4711\r\nContent-Length: {len(body)}\r\n"

    assert [200] == statuses(await say(service.port, f"{WEBHOOK}{head}\r\n{body}"))

    with service.store.read() as connection:
        assert ["{}"] == list(connection.execute(select(tables.notifications.c.headers)).scalars())


async def _dripped(port: int, head: str, drips: Iterable[bytes], *, pause_seconds: float) -> tuple[bytes, float]:
    """Send a head, and then a little at a time until there is an answer; give it, and how long it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = asyncio.get_running_loop().time()
    writer.write((WEBHOOK + head).encode())
    answer = asyncio.create_task(reader.readuntil(b"}}"))
    for drip in drips:
        writer.write(drip)
        await asyncio.wait([answer], timeout=pause_seconds)
        if answer.done():
            break
    async with asyncio.timeout(60):
        said = await answer
    writer.close()
    return said, asyncio.get_running_loop().time() - began


@pytest.mark.parametrize(
    ("head", "drips"),
    [
        ("Content-Length: 1000000\r\n\r\n", repeat(b"{")),
        ("Transfer-Encoding: chunked\r\n\r\n", repeat(b"1\r\n{\r\n")),
        ("Transfer-Encoding: chunked\r\n\r\n", chain([b"ff"], repeat(b";a=b"))),
        ("Content-Length: 1000\r\n\r\n", repeat(b"")),
        ("Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n", repeat(b"")),
    ],
    ids=["bytes", "chunks", "extensions of a chunk", "nothing", "nothing after 100"],
)
async def test_a_body_that_drips_has_one_time_in_all(service: Service, head: str, drips: Iterable[bytes]) -> None:
    """However little comes at a time, a body has `body_timeout_seconds` from its head on, and then 503."""
    answer, seconds = await _dripped(service.port, head, drips, pause_seconds=0.02)

    assert 503 == statuses(answer)[-1]
    assert b'"slow_body"' in answer
    assert b"Connection: close" in answer or b"HTTP/1.0" in answer
    assert seconds < 10 * service.runtime.settings.server.body_timeout_seconds
    assert [200] == statuses(await say(service.port, HEALTH))


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_body_in_chunks_is_the_body(service: Service, size: int) -> None:
    """How a genuine body is cut into chunks changes nothing: it is verified as a whole, and taken."""
    event = {"object": "event", "id": "evt_1", "type": "customer.created", "created": NOW, "livemode": True}
    body = json.dumps(event).encode()
    mac = hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()
    cut = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + size]), body[at : at + size]) for at in range(0, len(body), size)
    )
    head = f"Stripe-Signature: t={NOW},v1={mac}\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert [200] == statuses(await say(service.port, WEBHOOK.encode() + head.encode() + cut + b"0\r\n\r\n"))


async def test_a_bomb_is_never_unpacked(service: Service) -> None:
    """A body of 64 KiB that would unpack to 64 MiB is refused by its header, and costs its own size."""
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    head = f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    tracemalloc.start()

    answer = await say(service.port, (WEBHOOK + head).encode() + bomb)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ([400], True) == (statuses(answer), b'"compressed_body"' in answer)
    assert most < 4 * 1024 * 1024


@pytest.mark.parametrize("length", ["1048577", "1099511627776"])
async def test_a_length_that_is_too_much_is_refused_before_it_comes(service: Service, length: str) -> None:
    """Whoever announces more than 1 MiB is told so by the head alone: nothing of the body is waited for."""
    answer = await say(service.port, f"{WEBHOOK}Content-Length: {length}\r\n\r\n")

    assert ([413], True) == (statuses(answer), b'"body_too_large"' in answer)
