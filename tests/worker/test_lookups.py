"""Asking as the worker threads do: shared, bounded, remembered, and never longer than notifications may wait.

Real: `Lookups` with its thread, clients, sockets, a server on this machine. Double: the clock, which is moved by hand.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from config.platforms import Amazon, Apple, Google, Stripe
from config.settings import App, Settings
from config.settings import Lookups as Bounds
from schemas.meaning import Lookup, Missing
from tests.worker.platform_api import ACCESS_TOKEN, ACCOUNT_KEY, Api, serving, write_key
from worker import lookups as module
from worker.clients.answers import Answer
from worker.lookups import KEPT_MAX, Lookups, Question
from worker.metrics import Metrics

NOW = 1_794_000_000.0
RECEIPT = {"receiptId": "q1YqVr:3:11", "productType": "SUBSCRIPTION"}
SECRET = "2:the-shared-secret-of-acme"
USER = "amzn1.account.of-an-annual-plan"
EAGER = Bounds(per_second=1000)


@dataclass
class Desk:
    """Lookups, and what they are counted and timed by."""

    lookups: Lookups
    metrics: Metrics
    now: float = NOW

    def clock(self) -> float:
        """Read the clock."""
        return self.now

    async def ask(self, *questions: Question) -> list[Any]:
        """Ask as a worker thread does; give the facts in the order of the questions."""
        facts = await asyncio.to_thread(self.lookups.ask, questions)
        return [facts.get(question) for question in questions]

    def counted(self) -> dict[tuple[str, str, str], float]:
        """Read the counter: platform, kind and outcome to how many."""
        [metric] = self.metrics.lookups.collect()
        return {
            (s.labels["platform"], s.labels["kind"], s.labels["outcome"]): s.value
            for s in metric.samples
            if s.name.endswith("_total")
        }


@contextmanager
def desk(bounds: Bounds = EAGER, **sections: Any) -> Iterator[Desk]:
    """Open a desk of an app that sells on these platforms."""
    metrics = Metrics(CollectorRegistry())
    opened: list[Desk] = []
    settings = Settings(lookups=bounds, apps={"acme": App(**sections)})
    lookups = Lookups(settings, metrics, clock=lambda: opened[0].now)
    opened.append(Desk(lookups, metrics))
    yield opened[0]
    lookups.close()


def amazon(api: Api) -> dict[str, Any]:
    """An app that sells on Amazon, whose API is on this machine."""
    topics = ("arn:aws:sns:us-east-1:123456789012:acme",)
    return {
        "amazon": Amazon(package_name="com.acme.app", topic_arns=topics, shared_secret=SECRET, api=api.url),
    }


def about(receipt: str = "annual", notification: str = "ntf_1", *, since: float = NOW, kind: str = "rvs") -> Question:
    """A notification wants to know of a receipt."""
    return Question("acme", "amazon", Lookup(kind, f"{USER}/{receipt}"), notification, since)


@pytest.fixture(name="api")
async def _api():
    async with serving() as api:
        api.answer = RECEIPT
        yield api


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for is in another thread
            await asyncio.sleep(0.005)


async def test_everything_is_asked_at_once(api: Api):
    """The questions of a set go out together, and each gets its own answer."""
    api.answers = {"second": (410, {})}
    with desk(**amazon(api)) as at:
        assert [RECEIPT, Missing(410), RECEIPT] == await at.ask(about("first"), about("second"), about("third"))

        assert {("amazon", "rvs", "answered"): 2, ("amazon", "rvs", "missing"): 1} == at.counted()


async def test_no_more_at_a_time_than_configured(api: Api):
    """Of many questions only so many are under way."""
    with desk(Bounds(concurrency=3, per_second=1000), **amazon(api)) as at:
        answers = await at.ask(*(about(str(number)) for number in range(20)))

    assert [RECEIPT] * 20 == answers
    assert 3 >= api.most_at_once


async def test_no_more_a_second_than_configured(api: Api):
    """A second's worth goes at once, the rest at its pace."""
    with desk(Bounds(per_second=20, wait_seconds=10), **amazon(api)) as at:
        began = time.monotonic()
        answers = await at.ask(*(about(str(number)) for number in range(30)))

        assert [RECEIPT] * 30 == answers
    assert 0.4 <= time.monotonic() - began


async def test_what_could_not_go_in_time_is_not_asked(api: Api):
    """A question whose turn would come after its time-out gives up its place at once."""
    with desk(Bounds(per_second=0.01, timeout_seconds=1, wait_seconds=10), **amazon(api)) as at:
        answers = await at.ask(*(about(str(number)) for number in range(5)))

        assert (1, 4) == (answers.count(RECEIPT), at.counted()["amazon", "rvs", "paused"])


async def test_who_asks_the_same_shares_one_request(api: Api):
    """Notifications of one receipt that are processed at once cost one question."""
    api.hold = asyncio.Event()
    with desk(**amazon(api)) as at:
        asking = [asyncio.create_task(at.ask(about("annual", f"ntf_{n}"))) for n in range(5)]
        await until(lambda: len(api.asked) == 1)
        api.hold.set()

        assert [[RECEIPT]] * 5 == await asyncio.gather(*asking)
    assert 1 == len(api.asked)


async def test_an_answer_is_good_for_what_happened_before_it(api: Api):
    """A remembered answer is given to older notifications, and not to one that came after it was read."""
    with desk(**amazon(api)) as at:
        await at.ask(about("annual", "ntf_1", since=NOW - 5))
        assert [RECEIPT] == await at.ask(about("annual", "ntf_2", since=NOW - 1))
        assert {("amazon", "rvs", "answered"): 1, ("amazon", "rvs", "cached"): 1} == at.counted()

        at.now += 60
        await at.ask(about("annual", "ntf_3", since=NOW + 30))
    assert 2 == len(api.asked)


async def test_a_question_under_way_is_too_old_for_what_came_since(api: Api):
    """A notification that came after a question was sent does not share its answer."""
    api.hold = asyncio.Event()
    with desk(**amazon(api)) as at:
        older = asyncio.create_task(at.ask(about("annual", "ntf_1")))
        await until(lambda: len(api.asked) == 1)
        at.now += 1
        newer = asyncio.create_task(at.ask(about("annual", "ntf_2", since=NOW + 1)))
        await until(lambda: len(api.asked) == 2)
        api.hold.set()

        assert [[RECEIPT], [RECEIPT]] == list(await asyncio.gather(older, newer))


async def test_whoever_asks_again_wants_to_hear_something_new(api: Api):
    """A notification that had an answer and comes back is not told the same from memory, unless nobody answers."""
    with desk(**amazon(api)) as at:
        await at.ask(about())
        api.answer = {**RECEIPT, "cancelReason": 1}
        assert [api.answer] == await at.ask(about())

        api.status = 500
        assert [api.answer] == await at.ask(about())
    assert 3 == len(api.asked)


async def test_an_answer_is_forgotten_in_time(api: Api):
    """After `cache_seconds` an answer is asked for anew, even by a notification that is older than it."""
    with desk(Bounds(cache_seconds=60), **amazon(api)) as at:
        await at.ask(about("annual", "ntf_1"))
        at.now += 61
        await at.ask(about("annual", "ntf_2"))
    assert 2 == len(api.asked)


async def test_only_so_many_answers_are_remembered(api: Api):
    """Memory is bounded: the oldest answers go first."""
    with desk(**amazon(api)) as at:
        window = module._Window(  # no server could be asked so often in a test
            ("acme", "amazon"), App(), EAGER, _nobody, at.metrics, at.clock
        )
        for number in range(KEPT_MAX + 3):
            window._keep(Lookup("rvs", str(number)), module._Kept(Answer("answered", RECEIPT), NOW))

        assert KEPT_MAX == len(window._kept)
        assert Lookup("rvs", "2") not in window._kept


async def _nobody(*_args: Any, **_more: Any) -> Any:
    raise AssertionError("nothing is asked here")


async def test_nobody_waits_longer_than_configured(api: Api):
    """What is not answered in time is not waited for, and its answer is there for the next attempt."""
    api.hold = asyncio.Event()
    with desk(Bounds(wait_seconds=0.05, timeout_seconds=30), **amazon(api)) as at:
        assert [None] == await at.ask(about())
        api.hold.set()
        await until(lambda: ("amazon", "rvs", "answered") in at.counted())

        assert [RECEIPT] == await at.ask(about())
    assert 1 == len(api.asked)


async def test_a_slow_answer_fails_in_time(api: Api):
    """One look-up as a whole has a deadline, and passing it is no answer."""
    api.hold = asyncio.Event()
    with desk(Bounds(wait_seconds=10, timeout_seconds=0.1), **amazon(api)) as at, capture_logs() as lines:
        assert [None] == await at.ask(about())
    assert ["timeout"] == [line["reason"] for line in lines]


async def test_a_server_that_is_not_there_fails(unused_tcp_port: int):
    """Nobody listens: nothing is learned, and nothing breaks."""
    away = Api(url=f"http://127.0.0.1:{unused_tcp_port}")
    with desk(**amazon(away)) as at, capture_logs() as lines:
        assert [None] == await at.ask(about())
    assert [("lookup.failed", "unreachable", "warning")] == [
        (line["event"], line["reason"], line["log_level"]) for line in lines
    ]


async def test_a_refusal_raises_an_alarm_and_takes_nothing(api: Api):
    """A secret that is not accepted is an error line and no fact, and we do not knock again at once."""
    api.status = 496
    with desk(**amazon(api)) as at, capture_logs() as lines:
        assert [None, None] == [*await at.ask(about("first")), *await at.ask(about("second"))]
        assert {("amazon", "rvs", "refused"): 1, ("amazon", "rvs", "paused"): 1} == at.counted()
        assert NOW + 60 == at.lookups.reopens_at("acme", "amazon")

        at.now += 61
        await at.ask(about("third"))
    assert ["error", "error"] == [line["log_level"] for line in lines if line["event"] == "lookup.refused"]
    assert 2 == len(api.asked)


@pytest.mark.parametrize(
    ("status", "headers", "wait_seconds"),
    [
        (429, {"Retry-After": "120"}, 120),
        (429, {}, 5),
        (503, {"Retry-After": "30"}, 30),
        (503, {"Retry-After": "999999"}, 3600),
    ],
)
async def test_a_platform_that_asks_for_patience_gets_it(api: Api, status, headers, wait_seconds):
    """Retry-After is honored up to an hour, for every question to that platform."""
    api.status, api.headers = status, headers
    with desk(**amazon(api)) as at:
        assert [None] == await at.ask(about("first"))
        assert NOW + wait_seconds == at.lookups.reopens_at("acme", "amazon")

        api.status = 200
        assert [None] == await at.ask(about("second"))
        at.now += wait_seconds
        assert [RECEIPT] == await at.ask(about("second"))


async def test_failures_in_a_row_make_a_pause(api: Api):
    """One failure is an accident; the third in a row means that the API is away."""
    api.status = 500
    with desk(**amazon(api)) as at:
        await at.ask(about("first"))
        await at.ask(about("second"))
        assert 0 == at.lookups.reopens_at("acme", "amazon")
        await at.ask(about("third"))
        assert NOW + 15 == at.lookups.reopens_at("acme", "amazon")


async def test_one_app_does_not_pay_for_another(api: Api):
    """Pauses, like credentials, are of one app and platform."""
    assert 0 == Lookups(Settings(), Metrics(CollectorRegistry()), clock=lambda: NOW).reopens_at("other", "amazon")


@pytest.mark.parametrize(
    "question",
    [
        Question("acme", "apple", Lookup("rvs", "a/b"), "ntf_1", NOW),
        Question("acme", "stripe", Lookup("invoice_payments", "pi_1"), "ntf_1", NOW),
        Question("acme", "google", Lookup("orders", "GPA.1"), "ntf_1", NOW),
        Question("acme", "amazon", Lookup("prices", "a/b"), "ntf_1", NOW),
        Question("other", "amazon", Lookup("rvs", "a/b"), "ntf_1", NOW),
    ],
    ids=lambda q: f"{q.app}-{q.platform}-{q.lookup.kind}",
)
async def test_without_credentials_nothing_is_asked(api: Api, question: Question):
    """An app without credentials, a kind nobody knows, an app that is gone: no request, and it can be told before."""
    stripe = Stripe(webhook_secrets=("whsec_x",), api=api.url)
    google = Google(package_name="com.acme", audience="https://a", service_account_email="a@b", api=api.url)
    with desk(apple=Apple(bundle_id="com.acme"), stripe=stripe, google=google, **amazon(api)) as at:
        assert not at.lookups.can_ask(question.app, question.platform, question.lookup.kind)
        assert [None] == await at.ask(question)
    assert [] == api.asked


async def test_a_broken_key_file_is_an_alarm_and_is_read_again(api: Api, tmp_path: Path):
    """What cannot be read is refused like a wrong secret; once it is mended, the next question goes out."""
    google = Google(
        package_name="com.acme.app",
        audience="https://hooks.acme.example",
        service_account_email="push@acme.iam.gserviceaccount.com",
        service_account_key=str(tmp_path / "key.json"),
        api=api.url,
    )
    question = Question("acme", "google", Lookup("orders", "GPA.3345"), "ntf_1", NOW)
    with desk(google=google) as at, capture_logs() as lines:
        assert [None] == await at.ask(question)
        write_key(tmp_path / "key.json", api)
        at.now += 61
        assert [RECEIPT] == await at.ask(question)
    assert [("error", "key_file"), ("info", None)] == [(line["log_level"], line["reason"]) for line in lines]


async def test_a_mistake_of_ours_is_no_answer(api: Api):
    """A client that breaks keeps nobody waiting and is named in the log."""
    with desk(**amazon(api)) as at, capture_logs() as lines:
        assert [None] == await at.ask(Question("acme", "amazon", Lookup("rvs", "\ud800/b"), "ntf_1", NOW))
    assert ["error:UnicodeEncodeError"] == [line["reason"] for line in lines]


async def test_no_line_holds_a_key_a_token_or_a_secret(api: Api, tmp_path: Path):
    """Whatever comes of a question, its line has names and numbers only."""
    google = Google(
        package_name="com.acme.app",
        audience="https://hooks.acme.example",
        service_account_email="push@acme.iam.gserviceaccount.com",
        service_account_key=str(write_key(tmp_path / "key.json", api)),
        api=api.url,
    )
    stripe = Stripe(webhook_secrets=("whsec_x",), api_key="rk_live_secret", api=api.url)
    with capture_logs() as lines:
        for status in (200, 302, 400, 401, 404, 410, 429, 496, 500):
            api.status = status
            with desk(google=google, stripe=stripe, **amazon(api)) as at:
                await at.ask(
                    about("q1YqVr"),
                    Question("acme", "stripe", Lookup("invoice_payments", "pi_secret"), "ntf_2", NOW),
                    Question("acme", "google", Lookup("orders", "GPA.secret"), "ntf_3", NOW),
                )
    assert 27 == len(lines)
    told = str(lines)
    assert [] == [s for s in (SECRET, USER, "q1YqVr", "secret", ACCESS_TOKEN, "http", "eyJ") if s in told]
    assert {"event", "log_level", "notification", "platform", "app", "kind", "outcome", "status", "reason", "ms"} == {
        *lines[0]
    }


async def test_a_redirect_is_not_followed(api: Api):
    """Credentials go to the configured address and nowhere else."""
    api.status, api.headers = 302, {"Location": f"{api.url}/elsewhere"}
    with desk(**amazon(api)) as at:
        assert [None] == await at.ask(about())
    assert 1 == len(api.asked)


async def test_an_endless_answer_is_not_read(api: Api):
    """What is longer than any answer may be teaches nothing."""
    api.answer = b'{"receiptId": "' + b"a" * module.ANSWER_BYTES_MAX + b'"}'
    with desk(Bounds(wait_seconds=10), **amazon(api)) as at, capture_logs() as lines:
        assert [None] == await at.ask(about())
    assert ["too_large"] == [line["reason"] for line in lines]


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path):
    """TLS is verified: an address that answers with a certificate of its own making is told no secret."""
    heard: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.json_response(RECEIPT)

    application = web.Application()
    application.router.add_get("/{path:.*}", receive)
    async with TestServer(application, scheme="https") as server:
        await server.start_server(ssl=_self_signed(tmp_path))
        with desk(**amazon(Api(url=str(server.make_url("")).rstrip("/")))) as at, capture_logs() as lines:
            assert [None] == await at.ask(about())
    assert ([], ["unreachable"]) == (heard, [line["reason"] for line in lines])


async def test_closing_ends_what_is_under_way(api: Api):
    """A worker that stops waits for no platform, and may ask again afterwards."""
    api.hold = asyncio.Event()
    with desk(Bounds(wait_seconds=0.05, timeout_seconds=60), **amazon(api)) as at:
        assert [None] == await at.ask(about())
        await asyncio.to_thread(at.lookups.close)
        api.hold.set()
        await asyncio.to_thread(at.lookups.close)

        assert [RECEIPT] == await at.ask(about())


def _self_signed(directory: Path) -> ssl.SSLContext:
    name = x509.Name([])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ACCOUNT_KEY.public_key())
        .serial_number(4711)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=True)
        .sign(ACCOUNT_KEY, SHA256())
    )
    file = directory / "own.pem"
    key = ACCOUNT_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(key + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
