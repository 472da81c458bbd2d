"""A platform that is slow, away, impatient or senseless costs an answer, and is left alone for a while.

Real: `Lookups` with its thread, clients, sockets, a server on this machine. Double: the clock, which is moved by hand.
"""

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from config.settings import Lookups as Bounds
from config.settings import Settings
from schemas.meaning import Lookup
from tests.worker.lookup_desk import NOW, RECEIPT, about, amazon, desk, open_api
from tests.worker.platform_api import Api
from worker import lookups as module
from worker.lookups import Lookups, Question
from worker.metrics import Metrics

__all__ = ["open_api"]


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


async def test_a_mistake_of_ours_is_no_answer(api: Api):
    """A client that breaks keeps nobody waiting and is named in the log."""
    with desk(**amazon(api)) as at, capture_logs() as lines:
        assert [None] == await at.ask(Question("acme", "amazon", Lookup("rvs", "\ud800/b"), "ntf_1", NOW))
    assert ["error:UnicodeEncodeError"] == [line["reason"] for line in lines]


async def test_an_endless_answer_is_not_read(api: Api):
    """What is longer than any answer may be teaches nothing."""
    api.answer = b'{"receiptId": "' + b"a" * module.ANSWER_BYTES_MAX + b'"}'
    with desk(Bounds(wait_seconds=10), **amazon(api)) as at, capture_logs() as lines:
        assert [None] == await at.ask(about())
    assert ["too_large"] == [line["reason"] for line in lines]
