"""Open what tells of each notification's way as one OpenTelemetry trace; where nobody asked for it, that is nothing.

A trace goes from the POST of a platform to the answer of each subscriber. Its context (W3C `traceparent`) is kept with
the notification in the inbox and not in a message: hints get lost, name many notifications at once, and whoever finds
one by sweeping goes on with the same trace.

The packages are an extra, and `worker/spans.py` alone imports them: off, which is the default, nothing of them is.
"""

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import structlog

from config.settings import Settings

if TYPE_CHECKING:
    from worker.conclude import Decided

log = structlog.get_logger()

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

TRACEPARENT: Final = "traceparent"
"""The header of HTTP, and the name under which the inbox keeps it (https://www.w3.org/TR/trace-context/)."""
PATH: Final = "/v1/traces"
"""Where a collector takes traces: https://opentelemetry.io/docs/specs/otlp/#otlphttp-request"""
BY_ENVIRONMENT: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""https://opentelemetry.io/docs/specs/otel/protocol/exporter/"""
_WELL_FORMED: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class ExtraMissing(Exception):
    """Traces are asked for, and what makes them is not installed; the text says what to do."""

    def __init__(self) -> None:
        super().__init__("[traces] endpoint is set, and its packages are not there: pip install 'clawback[otel]'")


class Traces(Protocol):
    """What stations need of tracing. Whoever holds more than one notification asks `on` once for all of them."""

    @property
    def on(self) -> bool:
        """Tell whether anybody looks at traces."""
        ...

    def processed(self, decided: "Sequence[Decided]", now: float) -> None:
        """Tell of a set of notifications that was committed just now, in Unix seconds."""
        ...

    def telling(self, post: F) -> F:
        """Give what posts one event to a subscriber, as `worker/signing.py: post_signed` does, and tells of it."""
        ...

    def close(self) -> None:
        """Send what is not sent yet, within a few seconds."""
        ...


class NoTraces:
    """Tell nobody anything."""

    on: Final = False

    def processed(self, decided: "Sequence[Decided]", now: float) -> None:
        """Tell nothing."""

    def telling(self, post: F) -> F:
        """Give it as it is."""
        return post

    def close(self) -> None:
        """Send nothing."""


OFF: Final = NoTraces()


def open_traces(settings: Settings, role: str) -> Traces:
    """Open what the configuration or the standard variables of OpenTelemetry ask for.

    Args:
        settings: the key `[traces] endpoint` goes before any variable.
        role: what this process does: `serve` or `work`.

    Raises:
        ExtraMissing: the configuration asks for what is not installed.
    """
    if not wanted(settings):
        return OFF
    refuse_missing_extra(settings)
    if not is_installed():
        # Variables may be meant for all that runs on a host: they are no reason not to start.
        log.warning("traces.extra_missing", variable=next(filter(os.environ.get, BY_ENVIRONMENT)))
        return OFF
    from worker.spans import Spans, exporter  # noqa: PLC0415 - an extra, and half a second to import

    links = max(settings.work.set_size, 128)
    return Spans(exporter(address(settings)), role=role, links_max=links)


def wanted(settings: Settings) -> bool:
    """Tell whether traces are asked for: by our key, else by variables that every program with OpenTelemetry knows."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return bool(settings.traces.endpoint) or any(map(os.environ.get, BY_ENVIRONMENT))


def refuse_missing_extra(settings: Settings) -> None:
    """Refuse to start what would have to be told of, and cannot.

    Raises:
        ExtraMissing: it is not installed.
    """
    if settings.traces.endpoint and wanted(settings) and not is_installed():
        raise ExtraMissing


def is_installed() -> bool:
    """Tell whether the extra is there."""
    return all(map(_is_there, ("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")))


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def address(settings: Settings) -> str | None:
    """Write the address of a collector's traces; None: the variables name it, and the exporter reads them."""
    base = settings.traces.endpoint.rstrip("/")
    return f"{base.removesuffix(PATH)}{PATH}" if base else None


def well_formed(said: str | None) -> str | None:
    """Give a `traceparent` that is one; None: whoever sent it is not followed, and a trace of our own begins.

    What is longer comes from a version that there is not yet, and is not stored for strangers.
    """
    return said if said is not None and _WELL_FORMED.fullmatch(said) else None
