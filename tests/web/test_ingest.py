"""What platforms and strangers send, over a real socket, and what becomes of it.

Real: the server, the verification, the inbox, the store. Doubles: the queue, the network (away), the clock (stands).
What may be asserted: the status, exactly one line, exactly one count, and that the inbox holds it or does not.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from sqlalchemy import select
from structlog.testing import capture_logs
from yarl import URL

from handlers.errors import Malformed, Rejected, Unauthentic, WrongApp
from handlers.platform import Platform
from schemas.received import Received
from tests.web import seed
from tests.web.service import SECRET, TOPIC, Service, running
from worker.simulator.stripe import sign
from worker.store.tables import notifications
from worker.web.ingest import OUTCOMES, Headers, Taken

STRIPE = f"/webhooks/stripe/{seed.APP}"
MEBIBYTE = 1024 * 1024


@pytest.fixture(name="lines")
def _lines() -> Iterator[list[dict[str, Any]]]:
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]  # structlog's entries are these


@dataclass(frozen=True)
class Bad:
    """Something that must be refused, and how."""

    status: int
    reason: str
    outcome: str
    body: bytes = b""
    path: str = STRIPE
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    platform: str = "stripe"
    app: str = seed.APP


def event(**changes: Any) -> bytes:
    """Write the event of a refund of an annual plan."""
    refund = {
        "id": "re_3QannualPlan",
        "object": "refund",
        "amount": 4999,
        "charge": "ch_3QannualPlan",
        "currency": "usd",
        "status": "succeeded",
        "created": seed.NOW,
    }
    whole = {
        "id": "evt_1QannualPlan",
        "object": "event",
        "type": "refund.created",
        "api_version": "2026-10-28.endive",
        "created": seed.NOW,
        "livemode": True,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": refund},
    }
    return json.dumps(whole | changes).encode()


def signed(body: bytes, *, at: float = seed.NOW, secret: str = SECRET) -> tuple[tuple[str, str], ...]:
    """Sign a body as Stripe does."""
    return (("Stripe-Signature", sign(body, secret=secret, now=at)),)


def authentic(status: int, reason: str, outcome: str, body: bytes, **more: Any) -> Bad:
    """Describe a body that the right secret signed and that is wrong all the same."""
    return Bad(status, reason, outcome, body, headers=signed(body), **more)


GOOD = event()
TWICE = GOOD.replace(b'"livemode": true', b'"livemode": true, "livemode": false')
DEEP = b'{"a":' * 40 + b"1" + b"}" * 40
FOREIGN_TOPIC = json.dumps(
    {
        "Type": "Notification",
        "MessageId": "b4e1a2f0-0000-4000-8000-000000000001",
        "TopicArn": TOPIC.replace("123456789012", "999999999999"),
        "Message": "{}",
        "Timestamp": "2026-03-01T00:00:00.000Z",
        "SignatureVersion": "1",
        "Signature": "AAAA",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
    }
).encode()

BAD = {
    "wrong_method": Bad(405, "method_not_allowed", "wrong_method", method="GET"),
    "no_body": Bad(400, "empty_body", "malformed"),
    "two_mebibytes": Bad(413, "body_too_large", "too_large", b"x" * 2 * MEBIBYTE),
    "compressed": Bad(
        400, "compressed_body", "malformed", b"\x1f\x8b\x08\x00", headers=(("Content-Encoding", "gzip"),)
    ),
    "not_json": authentic(400, "not_json", "malformed", b"refund=1"),
    "wrong_shape": authentic(400, "unexpected_event_shape", "malformed", b'{"object":"event"}'),
    "duplicate_key": authentic(400, "duplicate_key", "malformed", TWICE),
    "deep_nesting": authentic(400, "too_deep", "malformed", DEEP),
    "not_signed": Bad(401, "no_signature_header", "unauthentic", GOOD),
    "wrong_signature": Bad(
        401, "signature_mismatch", "unauthentic", GOOD, headers=signed(GOOD, secret="whsec_of_somebody_else")
    ),
    "stale": Bad(401, "signed_too_long_ago", "unauthentic", GOOD, headers=signed(GOOD, at=seed.NOW - 301)),
    "future": Bad(401, "signed_in_the_future", "unauthentic", GOOD, headers=signed(GOOD, at=seed.NOW + 301)),
    "other_environment": authentic(403, "livemode", "wrong_app", event(livemode=False)),
    "other_app": Bad(
        403, "topic_not_allowed", "wrong_app", FOREIGN_TOPIC, path=f"/webhooks/amazon/{seed.APP}", platform="amazon"
    ),
    "unknown_platform": Bad(
        404, "unknown_app", "unknown_app", GOOD, path=f"/webhooks/paypal/{seed.APP}", platform="unknown"
    ),
    "unknown_app": Bad(
        404, "unknown_app", "unknown_app", GOOD, path="/webhooks/stripe/a-strangers-guess", app="unknown"
    ),
    "platform_is_off": Bad(
        404, "unknown_app", "unknown_app", GOOD, path=f"/webhooks/apple/{seed.APP}", platform="apple"
    ),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_refusal_is_one_line_one_count_and_nothing_stored(
    service: Service, lines: list[dict[str, Any]], bad: Bad
) -> None:
    """Whatever is wrong with a request, it ends in its own status, one line without its body, one count, no row."""
    data = BytesIO(bad.body) if bad.body else None
    async with service.http.request(bad.method, bad.path, data=data, headers=bad.headers) as response:
        error = (await response.json())["error"]

    assert (bad.status, bad.reason) == (response.status, error["code"])
    _assert_one_line(service, lines, bad)
    assert [] == _stored(service)
    assert response.headers.get("Allow") == ("POST" if bad.status == 405 else None)


async def test_what_is_proved_is_durable_and_queued(service: Service, lines: list[dict[str, Any]]) -> None:
    """A 200 stands for a row with the very bytes that came, and for a hint on the queue."""
    async with service.http.post(STRIPE, data=GOOD, headers=signed(GOOD)) as response:
        taken = await response.json()

    assert (200, False) == (response.status, taken["duplicate"])
    assert [(taken["id"], GOOD, "accepted", "refund.created")] == _stored(service)
    assert [taken["id"]] == service.queue.put
    assert {("stripe", seed.APP, "accepted"): 1} == service.counted()
    (line,) = lines
    assert line.pop("ms") > 0
    assert {
        "event": "ingest.accepted",
        "log_level": "info",
        "platform": "stripe",
        "app": seed.APP,
        "outcome": "accepted",
        "status": 200,
        "id": taken["id"],
        "type": "refund.created",
    } == line


async def test_a_repetition_is_answered_like_the_first(service: Service, lines: list[dict[str, Any]]) -> None:
    """What a platform sends twice is 200 both times, stored once, counted, and hinted at again while it waits."""
    for _ in range(2):
        async with service.http.post(STRIPE, data=GOOD, headers=signed(GOOD)) as response:
            taken = await response.json()

    assert (200, True) == (response.status, taken["duplicate"])
    assert (1, 2) == (len(_stored(service)), len(service.queue.put))
    assert {("stripe", seed.APP, "accepted"): 1, ("stripe", seed.APP, "duplicate"): 1} == service.counted()
    assert ["accepted", "duplicate"] == [line["outcome"] for line in lines]


async def test_a_queue_that_is_away_delays_and_loses_nothing(service: Service) -> None:
    """A notification is accepted without the queue: its row is what counts."""
    service.queue.away = True

    async with service.http.post(STRIPE, data=GOOD, headers=signed(GOOD)) as response:
        assert 200 == response.status
    assert 1 == len(_stored(service))


async def test_a_stream_that_never_ends_is_cut_off(service: Service, lines: list[dict[str, Any]]) -> None:
    """More than a mebibyte is 413 also where no Content-Length announces it."""

    async def stream() -> Any:
        for _ in range(20):
            yield b"x" * (MEBIBYTE // 8)

    async with service.http.post(STRIPE, data=stream()) as response:
        assert 413 == response.status
    _assert_one_line(service, lines, BAD["two_mebibytes"])


async def test_a_body_of_exactly_a_mebibyte_is_read(service: Service) -> None:
    """The bound itself still passes: such a body is refused for its signature and not for its size."""
    async with service.http.post(STRIPE, data=BytesIO(b"x" * MEBIBYTE)) as response:
        assert 401 == response.status


async def test_a_slow_body_is_asked_for_again(service: Service, lines: list[dict[str, Any]]) -> None:
    """A body that does not arrive in time is 503 with Retry-After: the network may be to blame."""
    head = await _raw(service, b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{" % STRIPE.encode())

    assert b"503" in head.split(b"\r\n")[0]
    assert b"Retry-After: 5" in head
    _assert_one_line(service, lines, Bad(503, "slow_body", "unavailable"))


async def test_a_body_that_breaks_off_is_one_line(service: Service, lines: list[dict[str, Any]]) -> None:
    """A sender that hangs up in the middle of its body leaves one line and one count like everybody else."""
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{" % STRIPE.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(60):
        while not lines:  # noqa: ASYNC110 - a captured log line sets no event
            await asyncio.sleep(0.01)

    _assert_one_line(service, lines, Bad(400, "broken_body", "malformed"))


async def test_what_is_no_http_is_one_line_without_its_bytes(service: Service, lines: list[dict[str, Any]]) -> None:
    """Bytes that are no HTTP get a 400, and a line that names their mistake and quotes nothing."""
    head = await _raw(service, b"POST / HTTP/1.1\r\nContent-Length: secret\r\n\r\n")

    assert b"400" in head.split(b"\r\n")[0]
    assert [{"event": "http.refused", "error": "InvalidHeader", "log_level": "warning"}] == [
        line | {"error": "InvalidHeader"} for line in lines
    ]
    assert "secret" not in json.dumps(lines)


@pytest.mark.parametrize("path", ["/webhooks/google/acme", "/webhooks/amazon/acme"])
async def test_keys_out_of_reach_are_asked_for_again(service: Service, lines: list[dict[str, Any]], path: str) -> None:
    """Nobody is called a forger because a key server is away: that is 503, to be sent again."""
    platform = path.split("/")[2]
    body, headers = _needs_a_key(platform)

    async with service.http.post(path, data=body, headers=headers) as response:
        assert (503, True) == (response.status, int(response.headers["Retry-After"]) > 0)
    own = [line for line in lines if line["event"].startswith("ingest.")]
    _assert_one_line(service, own, Bad(503, "trust_unavailable", "unavailable", body, platform=platform))


async def test_an_unforeseen_error_is_503_and_names_its_kind_only(url: str, lines: list[dict[str, Any]]) -> None:
    """A mistake of ours is 503, one line with the kind of the error and where it was, and never what it said."""

    class Broken:
        async def verify(self, _platform: Platform, received: Received, _settings: Any, _now: float) -> Any:
            raise KeyError(received.body)

    async with running(url, trust=Broken()) as service:
        async with service.http.post(STRIPE, data=GOOD, headers=signed(GOOD)) as response:
            text = await response.text()

        assert (503, "5") == (response.status, response.headers["Retry-After"])
        _assert_one_line(service, lines, Bad(503, "unexpected", "unavailable", GOOD), event="ingest.failed")
    assert "KeyError" == lines[0]["error"]
    assert "KeyError" not in text
    assert "Traceback" not in text


async def test_a_store_that_is_away_is_asked_again(service: Service, lines: list[dict[str, Any]]) -> None:
    """Without a commit there is no 200: a store that is away is 503 with Retry-After."""
    with service.store.write() as connection:
        notifications.drop(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")  # as before a restore

    async with service.http.post(STRIPE, data=GOOD, headers=signed(GOOD)) as response:
        assert (503, "5") == (response.status, response.headers["Retry-After"])
    _assert_one_line(service, lines, Bad(503, "store_unavailable", "unavailable", GOOD))


async def test_webhooks_stay_on_their_own_port(url: str) -> None:
    """The side of operators takes no webhooks, when it has a port of its own."""
    async with running(url, admin=True) as service, service.http.post(STRIPE, data=GOOD) as response:
        assert 404 == response.status


def test_errors_of_the_core_have_the_outcome_that_their_status_has() -> None:
    """The outcome that an error of the core names and the one counted for its status are the same word."""
    for kind in (Rejected, Malformed, Unauthentic, WrongApp):
        assert kind.outcome == OUTCOMES[kind.status_hint]


def _assert_one_line(
    service: Service, lines: list[dict[str, Any]], bad: Bad, *, event: str = "ingest.rejected"
) -> None:
    assert {(bad.platform, bad.app, bad.outcome): 1} == service.counted()
    (line,) = lines
    expected = {"event": event, "platform": bad.platform, "app": bad.app, "outcome": bad.outcome}
    expected |= {"status": bad.status, "reason": bad.reason}  # type: ignore[dict-item]  # one of them is a number
    assert expected == {name: line[name] for name in expected}
    assert line["ms"] >= 0
    assert set(line) <= {*expected, "ms", "log_level", "error", "where"}
    for piece in (b"ch_3QannualPlan", b"xxxx", b"whsec", b"v1="):
        assert piece.decode() not in json.dumps(lines)


def _stored(service: Service) -> list[tuple[Any, ...]]:
    c = notifications.c
    with service.store.read() as connection:
        rows = connection.execute(select(c.id, c.body, c.status, c.type))
        return [(id_, service.runtime.bodies.take(id_, body, {})[0], *more) for id_, body, *more in rows]


async def _raw(service: Service, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(request)
    await writer.drain()
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return head


def _needs_a_key(platform: str) -> tuple[bytes, dict[str, str]]:
    """Make a request whose every claim is right and whose key is not here."""
    if platform == "amazon":
        return FOREIGN_TOPIC.replace(b"999999999999", b"123456789012"), {}
    claims = {
        "iss": "https://accounts.google.com",
        "aud": "https://hooks.acme.example/webhooks/google/acme",
        "email": "push@acme.iam.gserviceaccount.com",
        "email_verified": True,
        "iat": seed.NOW,
        "exp": seed.NOW + 3600,
    }
    token = ".".join([_base64url({"alg": "RS256", "kid": "the-newest-key"}), _base64url(claims), "AAAA"])
    return b"{}", {"Authorization": f"Bearer {token}"}


def _base64url(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_what_was_accepted_is_answered_in_the_shape_that_the_document_promises(service: Service) -> None:
    """A 200 is a `Taken`: those fields, and no other."""
    async with service.http.post(STRIPE, data=GOOD, headers=signed(GOOD)) as response:
        taken = Taken.model_validate_json(await response.read())

    assert ([taken.id], False) == ([row[0] for row in _stored(service)], taken.duplicate)
    assert "application/json" == response.headers["Content-Type"]


def test_headers_have_one_spelling_one_value_and_nothing_that_no_platform_sends() -> None:
    """By lower-case names; what is repeated is joined in order; what is not ASCII is not there."""
    sent = CIMultiDict([("Authorization", "one"), ("X-Rude", "caf\u00e9"), ("authorization", "two"), ("X-Id", "3")])
    headers = Headers(CIMultiDictProxy(sent))

    assert {"authorization": "one, two", "x-id": "3"} == dict(headers)
    assert 2 == len(headers)
    assert headers.get("X-Id") is headers.get("x-rude") is headers.get("x-none") is None


async def test_an_address_in_another_spelling_is_the_same_door(service: Service, lines: list[dict[str, Any]]) -> None:
    """However its letters are quoted, an address leads to the same answer, with the same headers."""
    unusual = URL(STRIPE.replace("s", "%73"), encoded=True)
    answers = []
    for path in (URL(STRIPE), unusual):
        async with service.http.post(path, data=GOOD, headers=signed(GOOD)) as response:
            names = ("Server", "X-Content-Type-Options", "Content-Type")
            answers.append((response.status, (await response.json())["id"], [response.headers[n] for n in names]))

    assert 200 == answers[0][0]
    assert answers[0] == answers[1]
    assert ["accepted", "duplicate"] == [line["outcome"] for line in lines]


async def test_who_asks_whether_to_continue_is_told_to(service: Service) -> None:
    """`Expect: 100-continue` gets its answer before the body has come (RFC 9110, 10.1.1)."""
    head = f"POST {STRIPE} HTTP/1.1\r\nHost: hooks\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"

    assert (await _raw(service, head.encode())).startswith(b"HTTP/1.1 100 ")
