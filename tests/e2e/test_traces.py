"""A notification is followed in one trace, from its POST to the answer of the subscriber, whatever happens between.

Real: endpoint and workers as processes of their own, the broker, the database, HTTP, keys, signatures, the subscriber,
OTLP over HTTP. Double: the collector, which takes what any would. Asserted: what was exported, what subscribers got.
"""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from random import Random

import pytest
import pytest_asyncio
from aiohttp import web

from tests.e2e.collector import Collector, Seen
from tests.e2e.running import Installation, Service, client, install, till, until
from tests.worker.backend import Backend, Told, ok
from worker.demo.trust import APP
from worker.simulator.sale import Sale
from worker.store import inbox

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

ASKED_FOR = "0af7651916cd43dd8448eb211c80319c"
"""The example of https://www.w3.org/TR/trace-context/."""
POSTED = f"00-{ASKED_FOR}-b7ad6b7169203331-01"
WELL_FORMED = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")
TOGETHER = 5
RECEIVE = "POST /webhooks/{platform}/{app}"
DAY_MS = 86_400_000


@dataclass
class Story:
    """What was done, and what was told of it.

    Attributes:
        asked: the notification whose POST named a trace.
        swept: those whose hints were lost, and which a sweep found together.
        alone: one that came while everything was well.
        told: the POSTs to the subscriber, by event.
    """

    collector: Collector
    asked: str = ""
    swept: list[str] = field(default_factory=list)
    alone: str = ""
    told: dict[str, list[Told]] = field(default_factory=dict)

    def of(self, notification: str) -> list[Seen]:
        """Give the trace of a notification, by when its spans began."""
        (first,) = (span for span in self.collector.named(RECEIVE) if _is_of(span, notification))
        return sorted((s for s in self.collector.spans if s.trace == first.trace), key=lambda span: span.began_ns)


def _is_of(span: Seen, notification: str) -> bool:
    return span.said.get("clawback.notification") == notification and not span.said["clawback.duplicate"]


def a_sale(seed: int) -> Sale:
    """Sell a subscription on Apple's store, whose purchase alone gives an entitlement."""
    return till("apple", Random(seed)).sell(0, bought_ms=int(time.time() * 1000) - DAY_MS, subscription=True)


async def post(service: Service, seed: int, traceparent: str = "") -> str:
    """Tell of a purchase; give our id of the notification."""
    shot = service.installation.simulator("apple").purchase(a_sale(seed), time.time())
    headers = {**shot.headers, **({"traceparent": traceparent} if traceparent else {})}
    status, answer = await service.post("apple", replace(shot, headers=headers))
    assert 200 == status, answer
    return str(answer["id"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory) -> AsyncIterator[Story]:
    """Receive without workers, lose every hint, then work with a subscriber that fails at first; stop everything."""
    directory = tmp_path_factory.mktemp("traced")
    failed: set[str] = set()

    def answer(told: Told) -> web.Response:
        if told.id not in failed and len(failed) < 2:
            failed.add(told.id)
            return web.Response(status=500)
        return ok(told)

    async with Collector() as collector, Backend(answer) as backend:
        # Nothing is sent by the clock: what comes was sent when a process was stopped.
        environment = {"CLAWBACK_TRACES__ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
        installation = install(directory, backend=backend.url, environment=environment)
        backend.secrets = installation.settings.subscribers[0].secrets
        with installation.parts():
            told = await _live(installation, Story(collector), backend)
        yield told


async def _live(installation: Installation, story: Story, backend: Backend) -> Story:
    async with installation.up("serve"), client(installation) as service:
        story.asked = await post(service, 1, POSTED)
        story.swept = [await post(service, seed, "no trace at all") for seed in range(2, 2 + TOGETHER)]
        forged = replace(service.installation.simulator("apple").purchase(a_sale(90), time.time()), body=b"{}")
        await service.post("apple", replace(forged, headers={**forged.headers, "traceparent": POSTED}))
        with installation.broker() as broker:
            broker.flushall()
        # A worker that is up sooner would find them in two sweeps, as they came one after the other.
        assert await until(lambda: _overdue(installation) == {story.asked, *story.swept})
        async with installation.up("work"):
            for id_ in (story.asked, *story.swept):
                await service.finished(id_)
            story.alone = await post(service, 80)
            await service.finished(story.alone)
            assert await until(lambda: len(_arrived(installation)) == 2 + TOGETHER)
    for one in backend.told:
        story.told.setdefault(one.id, []).append(one)
    return story


def _overdue(installation: Installation) -> set[str]:
    store = installation.store()
    with store.look() as connection:
        found = inbox.overdue(connection, now_ms=int(time.time() * 1000), limit=100)
    store.close()
    return set(found)


def _arrived(installation: Installation) -> list[str]:
    lines = [line for line in installation.lines() if line["event"] == "deliver.attempted"]
    return [line["event_id"] for line in lines if line["outcome"] == "delivered"]


async def test_one_trace_from_the_post_to_the_answer(story: Story):
    """The trace that a POST names goes on at the endpoint, in the worker, and in the header at the subscriber."""
    spans = story.of(story.asked)
    (receive, verify, store, decide, *told) = spans

    assert [RECEIVE, "verify", "store notifications", "decide notifications"] == [s.name for s in spans[:4]]
    assert {ASKED_FOR} == {span.trace for span in spans}
    assert ("b7ad6b7169203331", receive.id, receive.id) == (receive.parent, verify.parent, store.parent)
    assert {store.id} == {span.parent for span in (decide, *told)}
    assert {"POST"} == {span.name for span in told}
    sent = {WELL_FORMED.fullmatch(one.headers["traceparent"]) for posts in story.told.values() for one in posts}
    assert {(span.trace, span.id) for span in told} <= {found.groups() for found in sent if found}


async def test_each_post_to_a_subscriber_has_a_span_of_its_own(story: Story):
    """Whatever the subscriber gets names the span of that very attempt, and no two attempts share one."""
    sent = [one.headers["traceparent"].split("-")[1:3] for posts in story.told.values() for one in posts]

    assert sorted(sent) == sorted([span.trace, span.id] for span in story.collector.named("POST"))


async def test_each_of_a_set_goes_on_with_its_own_trace(story: Story):
    """Hints were lost and a sweep found all at once: one span links to each, and each was decided in its own trace."""
    traces = {story.of(id_)[0].trace for id_ in (story.asked, *story.swept)}
    (together,) = (span for span in story.collector.named("process notifications") if len(span.links) > 1)

    assert 1 + TOGETHER == len(traces) == together.said["messaging.batch.message_count"]
    assert traces == set(together.links)
    assert "" == together.parent
    for id_ in story.swept:
        decided = [span for span in story.of(id_) if span.name == "decide notifications"]
        assert [[together.trace]] == [list(span.links) for span in decided]
        assert ["POST"] == sorted({span.name for span in story.of(id_) if span.kind == 3})


async def test_a_retried_delivery_stays_in_its_trace(story: Story):
    """The attempt that failed and the one that arrived are siblings; the later one says that it is another try."""
    again = [posts for posts in story.told.values() if len(posts) > 1]
    assert 2 == len(again)
    for posts in again:
        spans = [s for s in story.collector.named("POST") if s.said["clawback.event.id"] == posts[0].id]
        first, second = sorted(spans, key=lambda span: span.began_ns)
        assert (first.trace, first.parent) == (second.trace, second.parent)
        assert (500, True, None) == (_status(first), first.failed, first.said.get("http.request.resend_count"))
        assert (200, False, 1) == (_status(second), second.failed, second.said.get("http.request.resend_count"))


async def test_one_that_came_while_all_was_well_is_told_too(story: Story):
    """With its hint at hand: a set of one, in a trace that began with the POST, as it named none."""
    spans = story.of(story.alone)

    assert 5 == len(spans)
    assert "" == spans[0].parent
    assert ASKED_FOR != spans[0].trace
    assert spans[0].began_ns <= spans[0].ended_ns <= spans[3].ended_ns <= spans[4].ended_ns


async def test_a_stranger_joins_no_trace(story: Story):
    """A POST that proves nothing is told of with its status, in a trace of its own, whatever it names."""
    (refused,) = (span for span in story.collector.named(RECEIVE) if _status(span) != 200)

    assert (400, False, "") == (_status(refused), refused.failed, refused.parent)
    assert ASKED_FOR != refused.trace


async def test_spans_are_named_as_the_conventions_say(story: Story):
    """Attributes are those of OpenTelemetry's semantic conventions, and each process says which it is."""
    receive, _, store, decide, posted, *_ = story.of(story.asked)

    assert ("POST", "/webhooks/{platform}/{app}", 200) == (
        receive.said["http.request.method"],
        receive.said["http.route"],
        _status(receive),
    )
    assert f"/webhooks/apple/{APP}" == receive.said["url.path"]
    assert ("send", "process") == (store.said["messaging.operation.type"], decide.said["messaging.operation.type"])
    assert {"notifications"} == {span.said["messaging.destination.name"] for span in (store, decide)}
    assert story.asked == decide.said["messaging.message.id"]
    assert ("processed", ["entitlement.granted"]) == (decide.said["clawback.status"], decide.said["clawback.events"])
    assert "127.0.0.1" == posted.said["server.address"]
    assert [2, 1, 4, 5, 3] == [span.kind for span in story.of(story.asked)[:5]]
    assert {"clawback"} == {span.resource["service.name"] for span in story.collector.spans}
    assert ("serve", "work") == (receive.resource["clawback.role"], decide.resource["clawback.role"])


def _status(span: Seen) -> int | None:
    found: int | None = span.said.get("http.response.status_code")
    return found
