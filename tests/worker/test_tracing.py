"""What is told of stations, and what it costs: nothing where nobody asked, and never more than a warning.

Real: configuration, stations on a store, the SDK and its exporter, sockets. Double: what keeps spans in memory.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from config.check import problems
from config.settings import Settings
from tests.store.outbox_story import subscribe_by_api, subscriber
from tests.worker.desk import Desk, arrival
from tests.worker.stripe_events import a_refunded_subscription
from tests.worker.test_born_claimed import Noting
from worker import collector
from worker.collector import address, wanted
from worker.inbox import Inbox
from worker.process import process
from worker.spans import CLOSE_SECONDS_MAX, Spans, exporter
from worker.store import inbox, outbox, tables
from worker.store.contexts import find_contexts
from worker.store.inbox import reopen
from worker.tracing import TRACEPARENT, well_formed

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAID = f"00-{TRACE}-b7ad6b7169203331-01"
LEFT_SECONDS_MAX = 30.0
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
"""
"""As if the extra were not installed."""


@pytest.fixture(name="kept")
def _kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(name="spans")
def _spans(kept: InMemorySpanExporter) -> Iterator[Spans]:
    made = Spans(kept, role="work")
    yield made
    made.close()


def python(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a clean process."""
    return subprocess.run(
        [sys.executable, "-c", source],
        env={**{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_off_nothing_of_it_is_imported():
    """By default no process imports what makes or sends spans, and what stands in for it changes nothing."""
    # redis-py imports another half of OpenTelemetry for its own metrics, wherever that is installed.
    done = python(
        "import sys, worker.serve, worker.work\n"
        "from config.settings import Settings\n"
        "from worker.collector import open_traces\n"
        "from worker.tracing import OFF\n"
        "assert open_traces(Settings(), 'serve') is OFF\n"
        "assert OFF.telling(len) is len\n"
        "ours = ('opentelemetry.sdk.trace', 'opentelemetry.exporter', 'google.protobuf', 'requests', 'worker.spans')\n"
        "print([name for name in ours if name in sys.modules])"
    )

    assert "[]" == done.stdout.strip(), done.stderr


@pytest.mark.parametrize("variable", collector.BY_ENVIRONMENT)
def test_on_by_the_variables_that_others_know(monkeypatch: pytest.MonkeyPatch, variable: str):
    """Either standard variable turns it on, and the standard ways to turn it off win over it."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    assert not wanted(Settings())
    monkeypatch.setenv(variable, "http://collector:4318")
    assert wanted(Settings())
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert not wanted(Settings())
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not wanted(Settings())


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://collector/otlp/", "https://collector/otlp/v1/traces"),
        ("http://collector:4318/v1/traces", "http://collector:4318/v1/traces"),
        ("", None),
    ],
)
def test_an_endpoint_is_a_base_address(said: str, sent: str | None):
    """As with the standard variable, the path is added to what is configured; who wrote it too gets it once."""
    assert sent == address(Settings.model_validate({"traces": {"endpoint": said}}))


@pytest.mark.parametrize(
    "said", ["mine:4318", "grpc://mine:4317", "http:///v1", "http://mine:99999", "http://mine?k=1"]
)
def test_what_is_no_collector_is_a_mistake_of_the_configuration(said: str):
    """An endpoint that nobody could send to is refused before anything starts, and not quoted."""
    (found,) = problems(Settings.model_validate({"traces": {"endpoint": said}}))

    assert ("traces", "endpoint") == found.path
    assert said not in found.text


def test_without_the_extra_a_configured_endpoint_is_refused_and_a_variable_is_not():
    """What our configuration asks for must be possible; a variable that is meant for the whole host costs a warning."""
    ask = BLOCKED + (
        "from config.settings import Settings\n"
        "from worker.collector import open_traces\n"
        "from worker.tracing import OFF\n"
        "settings = Settings.model_validate({'traces': {'endpoint': '%s'}})\n"
        "assert open_traces(settings, 'serve') is OFF\n"
    )
    configured = python(ask % "http://collector:4318")
    by_variable = python(ask % "", OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")

    assert "pip install 'clawback[otel]'" in configured.stderr
    assert (0, True) == (by_variable.returncode, "traces.extra_missing" in by_variable.stdout), by_variable.stderr


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "nonsense",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"{SAID}-{'x' * 8000}",
        f"{SAID}, {SAID}",
        f"{SAID}\n",
        f' {SAID}", "replayed": 1, "x": "',
    ],
)
def test_what_is_no_context_is_not_followed(said: str | None):
    """Only what the recommendation describes is taken from a stranger's header: 55 characters of a few kinds."""
    assert None is well_formed(said)


def test_what_is_a_context_is_followed():
    """Sampled or not, of this version or a later one of the same shape."""
    for said in (SAID, f"00-{TRACE}-b7ad6b7169203331-00", f"01-{TRACE}-b7ad6b7169203331-03"):
        assert said == well_formed(said)


async def test_the_context_stays_with_the_notification(at: Desk, spans: Spans, kept: InMemorySpanExporter):
    """It outlives processing and a replay in the row, each is told in it, and the events' deliveries find it there."""
    subscribe_by_api(at.store, subscriber("https://hooks.example/in", app="acme"), now=at.clock())
    runtime = replace(at.runtime, traces=spans)
    box = Inbox(at.store, at.queue)
    said = [replace(arrival(n, *one), traceparent=SAID) for n, one in enumerate(a_refunded_subscription("1"))]
    ids = [(await box.accept(each)).id for each in said]
    process(runtime, ids)
    deliveries = [row["id"] for row in at.rows(tables.deliveries)]
    with at.store.write() as connection:
        reopen(connection, ids, now_ms=int(at.clock() * 1000))
        claimed = outbox.claim(connection, deliveries, int(at.clock() * 1000))
        found = find_contexts(connection, claimed)
    process(runtime, ids)
    spans.close()

    assert deliveries
    assert {SAID} == {claim.traceparent for claim in found.claims}
    assert {SAID} == {json.loads(row["stations"])[TRACEPARENT] for row in at.rows(tables.notifications)}
    assert [TRACE] * 2 * len(ids) == [f"{s.context.trace_id:032x}" for s in told(kept, "decide notifications")]


async def test_a_delivery_that_is_begun_at_once_goes_on_with_the_trace(at: Desk, spans: Spans):
    """Who decided tells, and asks the store for nothing between: the context comes along."""
    subscribe_by_api(at.store, subscriber("https://hooks.example/in", app="acme"), now=at.clock())
    messenger = Noting(at.store)
    box = Inbox(at.store, at.queue)
    said = [replace(arrival(n, *one), traceparent=SAID) for n, one in enumerate(a_refunded_subscription("1"))]
    process(replace(at.runtime, traces=spans, messenger=messenger), [(await box.accept(each)).id for each in said])

    assert {SAID} == {claim.traceparent for claim in messenger.begun}


async def test_what_has_no_context_is_told_within_its_set(at: Desk, spans: Spans, kept: InMemorySpanExporter):
    """Where the endpoint tells nothing, the worker's spans hang together all the same, and nothing is stored."""
    accepted = await Inbox(at.store, at.queue).accept(arrival(1))
    process(replace(at.runtime, traces=spans), [accepted.id])
    spans.close()
    (together,), (decided,) = told(kept, "process notifications"), told(kept, "decide notifications")

    assert decided.parent
    assert together.context.span_id == decided.parent.span_id
    assert [] == list(together.links)
    (row,) = at.rows(tables.notifications)
    assert TRACEPARENT not in json.loads(row["stations"])


async def test_what_is_not_sampled_is_not_told_and_goes_on(at: Desk, spans: Spans, kept: InMemorySpanExporter):
    """Whoever began a trace and said that nobody looks at it is believed; its context stays as it is."""
    unwatched = f"{SAID[:-2]}00"
    accepted = await Inbox(at.store, at.queue).accept(replace(arrival(1), traceparent=unwatched))
    process(replace(at.runtime, traces=spans), [accepted.id])
    spans.close()

    assert () == told(kept, "decide notifications")
    with at.store.read() as connection:
        assert [] == inbox.load(connection, [accepted.id])
    (row,) = at.rows(tables.notifications)
    assert unwatched == json.loads(row["stations"])[TRACEPARENT]


def told(kept: InMemorySpanExporter, name: str) -> tuple[ReadableSpan, ...]:
    """List what was told under a name."""
    return tuple(span for span in kept.get_finished_spans() if span.name == name)


class Broken(SpanExporter):
    """Fails as often as it is said to."""

    def __init__(self, times: int) -> None:
        self._times = times

    def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002 - the interface's
        """Take a batch, or do not."""
        self._times -= 1
        return SpanExportResult.FAILURE if self._times >= 0 else SpanExportResult.SUCCESS


def test_a_collector_that_is_away_costs_one_warning(monkeypatch: pytest.MonkeyPatch):
    """However many batches nobody takes, it is said once, and once that they are taken again."""
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    with capture_logs() as lines:
        spans = Spans(Broken(3), role="serve")
        for _ in range(5):
            with spans.received(None, "apple", "acme", time.time()):
                pass
        spans.close()

    assert ["traces.unreachable", "traces.reachable"] == [line["event"] for line in lines]


def test_a_stop_does_not_wait_for_a_collector_that_hangs():
    """What cannot be sent is given up within seconds: the grace period of a stop is for notifications."""
    others = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        spans = Spans(exporter(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"), role="serve")
        with spans.received(SAID, "apple", "acme", time.time()):
            pass
        began = time.monotonic()
        spans.close()

    assert time.monotonic() - began < 2 * CLOSE_SECONDS_MAX
    # A process would have ended. Here the sender tries again at random, which once met a test of Hypothesis.
    for left in set(threading.enumerate()) - others:
        left.join(LEFT_SECONDS_MAX)
        assert not left.is_alive()
