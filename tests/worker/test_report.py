"""The canonical lines of a set are those that structlog writes one by one, though most are written at once.

Real: everything that concludes, structlog. Doubles: the stream is in memory.
"""

import io
import json
import time

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from config.logs import configure_logs
from schemas.resources import Cause, Event, EventData
from tests.worker.house import house
from worker.conclude import LINES, Decided, Tied, report
from worker.store.inbox import Stored
from worker.understand import Understood, Verdict

NOW = time.time()
ANYTHING = st.text(st.characters(), max_size=8)
"""Lone halves of surrogates too: JSON may name them, and platforms may write JSON that does."""
VERDICTS = st.builds(
    Verdict,
    status=st.sampled_from(["accepted", "ignored", "processed", "quarantined"]),
    reason=st.one_of(st.none(), st.just("unsubscribed"), ANYTHING),
    error=st.one_of(st.none(), st.none(), st.just("KeyError")),
)
EVENTS = st.lists(
    st.builds(
        Event,
        id=st.just("evt_1"),
        type=ANYTHING,
        timestamp=st.just(""),
        app=st.just("acme"),
        environment=st.just("production"),
        data=st.just(EventData(cause=Cause())),
    ),
    max_size=2,
)


@pytest.fixture(autouse=True)
def _usual():
    """Leave structlog as it was."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """Open a process whose clock stands."""
    with house(tmp_path_factory.mktemp("house"), NOW) as opened:
        yield opened.runtime


def decided(verdict: Verdict, events: list[Event], type_: str, waited: float) -> Decided:
    """Make what is reported of one notification."""
    row = Stored("ntf_1", "acme", "stripe", "evt_9", type_, b"{}", {}, int(NOW * 1000), 2, {})
    return Decided(Tied(Understood(row, NOW - waited, verdict), {}, verdict), verdict, tuple(events))


def write(each: Decided) -> None:
    """Write the line of one, as anybody writes a line."""
    understood, verdict = each.tied.understood, each.verdict
    status = "failed" if verdict.error else "looking_up" if verdict.status == "accepted" else verdict.status
    log = structlog.get_logger()
    quiet = log.warning if verdict.status == "quarantined" else log.info
    say = log.error if verdict.error or verdict.reason == "unsubscribed" else quiet
    say(
        LINES[status],
        notification=understood.row.id,
        platform=understood.row.platform,
        app=understood.row.app,
        type=understood.row.type,
        status=status,
        reason=f"error:{verdict.error}" if verdict.error else verdict.reason,
        attempt=understood.row.attempts + 1,
        events=[event.type for event in each.events],
        ms=round((NOW - understood.picked_at) * 1000, 2),
    )


def timeless(stream: io.StringIO) -> list[str]:
    """Give the lines, in their order and as they were written, without the one value that no two share."""
    lines = stream.getvalue().split("\n")[:-1]
    assert all(json.loads(line)["time"].endswith("Z") for line in lines)
    return [line[line.index('"level"') :] for line in lines]


@given(st.lists(st.builds(decided, VERDICTS, EVENTS, ANYTHING, st.floats(0, 9)), max_size=6))
def test_the_lines_of_a_set_are_those_that_structlog_writes(runtime, each):
    """Same lines, same levels, same order, whatever became of each and whatever its platform calls it."""
    usual, ours = io.StringIO(), io.StringIO()
    configure_logs(usual)
    for one in each:
        write(one)
    configure_logs(ours)
    report(runtime, each)

    assert timeless(usual) == timeless(ours)
