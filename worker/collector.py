"""Find the collector that traces go to, by our key or the variables of OpenTelemetry, and open what tells it.

The packages are an extra, and `worker/spans.py` alone imports them: off, which is the default, nothing of them is.
"""

import os
from importlib.util import find_spec
from typing import Final

import structlog

from config.settings import Settings
from worker.tracing import OFF, Traces

log = structlog.get_logger()

PATH: Final = "/v1/traces"
"""Where a collector takes traces: https://opentelemetry.io/docs/specs/otlp/#otlphttp-request"""
BY_ENVIRONMENT: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""https://opentelemetry.io/docs/specs/otel/protocol/exporter/"""


class ExtraMissing(Exception):
    """Traces are asked for, and what makes them is not installed; the text says what to do."""

    def __init__(self) -> None:
        super().__init__("[traces] endpoint is set, and its packages are not there: pip install 'clawback[otel]'")


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
