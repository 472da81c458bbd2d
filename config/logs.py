"""One line per thing that happened: JSON for machines, colored columns on a terminal.

Libraries that log through the standard library come out in the same form, from WARNING up: their news is not ours.
Lines go to standard error, so that what a command prints stays alone on standard output.
"""

import json
import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from config.lines import Lines

NEVER_LOGGED = frozenset(
    {"authorization", "body", "certificate", "email", "payload", "purchase_token", "receipt", "secret", "token"}
)
"""Names whose values never reach a log, whoever passes them."""

LEADING = ("time", "level", "event")


def configure_logs(stream: TextIO | None = None, *, level: int = logging.INFO, as_json: bool | None = None) -> None:
    """Set up structlog and the standard library's logging for this process.

    Args:
        stream: None: standard error.
        level: what is less is not even formatted.
        as_json: None: unless the stream is a terminal.
    """
    stream = stream or sys.stderr
    lines = Lines(stream, missed=_tell_of_missed)
    machine = not stream.isatty() if as_json is None else as_json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        redact,
    ]
    finish = _for_machines() if machine else _for_people(stream)
    structlog.configure(
        processors=[*shared, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    _join_standard_library(stream, shared, finish)


def _tell_of_missed(count: int) -> None:
    """Say where the log has a gap: its disk was full, or its reader gone."""
    structlog.get_logger().warning("log.missed", lines=count)


def together() -> AbstractContextManager[None]:
    """Have the news that this thread says in here go out in one write."""
    lines = structlog.get_config()["logger_factory"]()
    return lines.together() if isinstance(lines, Lines) else nullcontext()


def for_machines() -> tuple[Sequence[Processor], Lines] | None:
    """Give what is done to a line before it is written as JSON, and where it goes; None: it goes another way."""
    said = structlog.get_config()
    *processors, last = said["processors"]
    return (processors, said["logger_factory"]()) if last is _as_json else None


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what must never be logged: the last of several nets."""
    for name in NEVER_LOGGED.intersection(event):
        event[name] = "[redacted]"
    return event


def _for_machines() -> list[Processor]:
    return [structlog.processors.format_exc_info, _as_json]


# Made once: `json.dumps` makes one for each line. What JSON does not know is written as Python shows it.
encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Write one line, first what the eye looks for first."""
    first = {name: event[name] for name in LEADING if name in event}
    return encode({**first, **event})


def _for_people(stream: TextIO) -> list[Processor]:
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain, timestamp_key="time")]


def _join_standard_library(stream: TextIO, shared: list[Processor], finish: list[Processor]) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
