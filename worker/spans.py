"""Make the spans of a trace, as OpenTelemetry names things, and send them: the one file that imports its packages.

| span | kind | within |
|---|---|---|
| `POST /webhooks/{platform}/{app}` | server | what its `traceparent` says, if its sender has proved who it is |
| `verify`, `store notifications` | internal, producer | that |
| `process notifications` | consumer | nothing: a set belongs to many traces, and links to each of them |
| `decide notifications` | consumer | the `store …` of its notification, however and whenever it was found |
| `POST` | client | the `store …` of the notification that caused the event |

Names and attributes: https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and …/messaging/messaging-spans/.
Those of ours begin with `clawback.`. None holds a body, a secret, a token, or an id of a person; of a subscriber's
address only the host is told (`url.full` is left out on purpose: people write tokens into paths).

A span is made when what it tells of is over. So a process that dies leaves no half of one, and the times are those that
stations take anyway.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Final, cast
from urllib.parse import urlsplit

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_RESEND_COUNT,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_SCHEME
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from worker.metrics import own_name
from worker.post import Answer
from worker.store.outbox import Claim
from worker.tracing import F, Processed, well_formed

CLOSE_SECONDS_MAX: Final = 3.0
"""What could not be sent by then is lost: a stop has its grace period for notifications, not for this."""
SYSTEM: Final = {"messaging.system": "dramatiq", "messaging.destination.name": "notifications"}
STORE: Final = {**SYSTEM, "messaging.operation.name": "store", "messaging.operation.type": "send"}
PROCESS: Final = {**SYSTEM, "messaging.operation.name": "process", "messaging.operation.type": "process"}
DECIDE: Final = {**PROCESS, "messaging.operation.name": "decide"}
ROUTE: Final = "/webhooks/{platform}/{app}"
_NOTHING: Final = Context()

log = structlog.get_logger()


class Spans:
    """Tell of what was done, to whoever `exporter` sends it.

    Args:
        exporter: where spans go.
        role: what this process does.
        links_max: so many links a span may have; a set has as many as notifications.
    """

    on: Final = True

    def __init__(self, exporter: SpanExporter, *, role: str, links_max: int = 256) -> None:
        limits = SpanLimits(max_links=links_max) if "OTEL_SPAN_LINK_COUNT_LIMIT" not in os.environ else SpanLimits()
        self._provider = TracerProvider(resource=_resource(role), span_limits=limits, shutdown_on_exit=False)
        # Bounded: 2,048 spans wait at most, then the newest push the oldest out (OTEL_BSP_MAX_QUEUE_SIZE).
        self._provider.add_span_processor(BatchSpanProcessor(_Watched(exporter)))
        self._tracer = self._provider.get_tracer("clawback", _version())

    @contextmanager
    def received(self, said: str | None, platform: str, app: str, began: float) -> Iterator[Span]:
        """Tell of one POST of a platform; whoever is inside sets how it ended.

        Args:
            said: the sender's `traceparent`; None: it sent none, or proved nothing.
            platform: whose.
            app: whose.
            began: Unix seconds.
        """
        attributes = {
            HTTP_REQUEST_METHOD: "POST",
            HTTP_ROUTE: ROUTE,
            URL_SCHEME: "http",
            URL_PATH: f"/webhooks/{platform}/{app}",
            "clawback.platform": platform,
            "clawback.app": app,
        }
        name = f"POST {ROUTE}"
        span = self._tracer.start_span(name, _within(said), SpanKind.SERVER, attributes, start_time=_ns(began))
        try:
            yield span
        finally:
            span.end()

    @contextmanager
    def stored(self, received: Span) -> Iterator[str]:
        """Tell how a notification became durable and was hinted at; give the `traceparent` of what follows from it."""
        span = self._tracer.start_span(
            "store notifications", set_span_in_context(received, _NOTHING), SpanKind.PRODUCER, STORE
        )
        try:
            yield _traceparent(span)
        except Exception as error:
            _fail(span, type(error).__name__)
            raise
        finally:
            span.end()

    @staticmethod
    def answered(span: Span, status: int, *, error: str = "", **more: str | bool) -> None:
        """Set how a POST of a platform was answered: what a client did wrong is no error of ours."""
        span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
        span.set_attributes({f"clawback.{name}": value for name, value in more.items()})
        if status >= 500:
            _fail(span, error)

    def step(self, name: str, within: Span, began: float, ended: float) -> None:
        """Tell of a part that is over."""
        context = set_span_in_context(within, _NOTHING)
        self._tracer.start_span(name, context, start_time=_ns(began)).end(_ns(ended))

    def processed(self, done: Sequence[Processed], now: float) -> None:
        """Tell of a set of notifications that was committed just now, in Unix seconds."""
        if not done:
            return
        began = min(each.began for each in done)
        contexts = [_context(each.traceparent) for each in done]
        attributes: dict[str, str | int] = {**PROCESS, "messaging.batch.message_count": len(done)}
        links = [Link(context) for context in contexts if context is not None]
        together = self._tracer.start_span(
            "process notifications", _NOTHING, SpanKind.CONSUMER, attributes, links, _ns(began)
        )
        for each, context in zip(done, contexts, strict=True):
            self._decided(each, context or together.get_span_context(), together.get_span_context(), now)
        together.end(_ns(max(began, now)))

    def _decided(self, each: Processed, within: SpanContext, together: SpanContext, now: float) -> None:
        context = set_span_in_context(NonRecordingSpan(within), _NOTHING)
        attributes = {**DECIDE, **_said_of(each)}
        span = self._tracer.start_span(
            "decide notifications", context, SpanKind.CONSUMER, attributes, [Link(together)], _ns(each.began)
        )
        if each.error:
            _fail(span, each.error)
        span.end(_ns(max(each.began, now)))

    def telling(self, post: F) -> F:
        """Give what posts one event to a subscriber, and tells of it."""

        async def posted(poster: Any, keyring: Any, whom: Claim, *, now: float, **said: Any) -> Answer:
            context = _within(whom.traceparent)
            span = self._tracer.start_span("POST", context, SpanKind.CLIENT, _said_to(whom), start_time=_ns(now))
            try:
                answer: Answer = await post(poster, keyring, whom, now=now, traceparent=_traceparent(span), **said)
            except BaseException as error:
                _fail(span, type(error).__name__)
                span.end()
                raise
            _answered(span, answer)
            span.end(_ns(now + answer.duration_ms / 1000))
            return answer

        return cast("F", posted)

    def close(self) -> None:
        """Send what is not sent yet, and give up on a collector that does not answer."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS_MAX)


class _Watched(SpanExporter):
    """Say once that nobody takes the spans, and once that somebody does again, instead of a line for each batch."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            log.warning("traces.unreachable", lost=len(spans))
        elif self._away and not away:
            log.info("traces.reachable")
        self._away = away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def exporter(address: str | None) -> SpanExporter:
    """Make what sends spans by OTLP over HTTP. What it would log quotes addresses, with what may be in them."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    return OTLPSpanExporter(address)


def _traceparent(span: Span) -> str:
    """Write the context of a span, for a header or a row."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _said_of(each: Processed) -> Mapping[str, str | int | Sequence[str]]:
    said: dict[str, str | int | Sequence[str]] = {
        "messaging.message.id": each.id,
        "clawback.platform": each.platform,
        "clawback.app": each.app,
        "clawback.notification.type": each.type,
        "clawback.status": each.status,
        "clawback.attempt": each.attempt,
        "clawback.events": each.events,
    }
    return said if each.reason is None else {**said, "clawback.reason": each.reason}


def _said_to(whom: Claim) -> Mapping[str, str | int]:
    at = urlsplit(whom.url)
    said: dict[str, str | int] = {
        HTTP_REQUEST_METHOD: "POST",
        URL_SCHEME: at.scheme,
        SERVER_ADDRESS: at.hostname or "",
        SERVER_PORT: at.port or (443 if at.scheme == "https" else 80),
        "clawback.app": whom.app,
        "clawback.subscriber": whom.subscriber,
        "clawback.delivery.id": whom.id,
        "clawback.event.id": whom.event_id,
    }
    return {**said, HTTP_REQUEST_RESEND_COUNT: whom.attempts} if whom.attempts else said


def _answered(span: Span, answer: Answer) -> None:
    if answer.status_code is not None:
        span.set_attribute(HTTP_RESPONSE_STATUS_CODE, answer.status_code)
    if answer.error is not None:
        _fail(span, str(answer.status_code or answer.error))


def _fail(span: Span, kind: str) -> None:
    """Mark it as failed, by a word of few: the text of an error may quote what nobody may see."""
    span.set_attribute(ERROR_TYPE, kind)
    span.set_status(StatusCode.ERROR)


def _within(said: str | None) -> Context:
    context = _context(said)
    return _NOTHING if context is None else set_span_in_context(NonRecordingSpan(context), _NOTHING)


def _context(said: str | None) -> SpanContext | None:
    if (fits := well_formed(said)) is None:
        return None
    _, trace, span, flags = fits.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16) & 1))


def _resource(role: str) -> Resource:
    """Name this process; what an operator says by OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES goes before."""
    own = {
        "service.name": "clawback",
        "service.version": _version(),
        "service.instance.id": own_name(),
        "clawback.role": role,
    }
    return Resource(own).merge(OTELResourceDetector().detect())


def _ns(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def _version() -> str:
    try:
        return metadata.version("clawback")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"
