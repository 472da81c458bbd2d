"""One line per thing that happened, for machines or for people, and never a secret."""

import io
import json
import logging

import pytest
import structlog

from config.logs import NEVER_LOGGED, configure_logs, together
from tests.config.test_lines import Disk


@pytest.fixture
def stream():
    """Log into memory as a machine reads it, and put everything back afterwards."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs(stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Read what was logged."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_is_json_that_begins_with_what_happened(stream):
    """A line is one JSON object: time, level, event, then its pairs."""
    structlog.get_logger().info("ingest.accepted", app="acme", milliseconds=3)

    (line,) = lines(stream)
    assert ["time", "level", "event", "app", "milliseconds"] == list(line)
    assert ("info", "ingest.accepted", "acme", 3) == tuple(line[key] for key in list(line)[1:])


def test_what_is_said_together_waits_until_all_of_it_is_said(stream):
    """News within are written at the end, in their order; where logs are not ours, it changes nothing."""
    log = structlog.get_logger()
    with together():
        log.info("process.decided", notification="ntf_1")
        log.info("process.decided", notification="ntf_2")
        assert not stream.getvalue()

    assert ["ntf_1", "ntf_2"] == [line["notification"] for line in lines(stream)]
    structlog.reset_defaults()
    with together():
        pass


@pytest.mark.parametrize("name", sorted(NEVER_LOGGED))
def test_what_must_not_be_logged_is_not(stream, name):
    """A value under a name that means a secret or a body never reaches the log."""
    structlog.get_logger().info("ingest.rejected", **{name: "hunter2"})

    assert "hunter2" not in stream.getvalue()
    assert "[redacted]" == lines(stream)[0][name]


def test_libraries_log_in_the_same_form(stream):
    """What a library warns of through the standard library is one JSON line as well; its news are not ours."""
    logging.getLogger("dramatiq.worker").warning("lost %s", "connection")
    logging.getLogger("dramatiq.worker").info("started")

    (line,) = lines(stream)
    assert ("warning", "lost connection", "dramatiq.worker") == (line["level"], line["event"], line["logger"])


@pytest.mark.usefixtures("stream")
def test_a_gap_is_told_of():
    """What a full disk could not take is missed by nobody who logs, and a line behind the gap says how much it is."""
    disk, log = Disk(), structlog.get_logger()
    configure_logs(disk)
    disk.full = True
    log.warning("ingest.rejected")
    disk.full = False
    log.warning("ingest.failed")

    told = [json.loads(line) for line in disk.getvalue().splitlines() if line.startswith('{"time"')]
    assert [("ingest.failed", None), ("log.missed", 1)] == [(line["event"], line.get("lines")) for line in told]


def test_traceback_stays_on_its_line(stream):
    """An unforeseen exception is one line, however long its traceback."""
    try:
        int("a refund of nothing")
    except ValueError:
        structlog.get_logger().exception("process.failed")

    (line,) = lines(stream)
    assert "a refund of nothing" in str(line["exception"])
