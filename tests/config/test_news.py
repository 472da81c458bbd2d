"""News are the lines that structlog writes, whoever renders them.

Real: structlog, event loops. Doubles: the stream is in memory.
"""

import asyncio
import io
import json
import logging
from collections import Counter

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from config.logs import configure_logs
from config.news import TURN_MAX, News

VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.one_of(st.integers(), st.text(), st.none()), max_size=2),
)


@pytest.fixture(autouse=True)
def _usual():
    """Leave structlog as it was."""
    yield
    structlog.reset_defaults()


def _timeless(written: str) -> list[tuple[str, list[str]]]:
    """Take lines apart, in their order, without the one value that no two share."""
    lines = [json.loads(line) for line in written.split("\n")[:-1]]
    assert all(line["time"].endswith("Z") for line in lines)
    return [(json.dumps(line | {"time": ""}), list(line)) for line in lines]


@given(each=st.lists(st.tuples(VALUES, VALUES), max_size=5))
def test_they_are_the_lines_that_structlog_writes(each):
    """Same names in the same order, same values, whatever these are."""
    usual, ours = io.StringIO(), io.StringIO()

    async def say() -> None:
        configure_logs(usual)
        for app, ms in each:
            structlog.get_logger().info("accepted", app=app, ms=ms)
        await asyncio.sleep(0)
        configure_logs(ours)
        news = News("accepted", "app", "ms")
        for app, ms in each:
            news.say(app, ms)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(say())
    assert _timeless(usual.getvalue()) == _timeless(ours.getvalue())


async def test_what_is_bound_to_all_lines_is_in_these_too():
    """A context variable says of news what it says of other lines."""
    stream = io.StringIO()
    configure_logs(stream)
    news = News("accepted", "app")
    with structlog.contextvars.bound_contextvars(host="a"):
        news.say("acme")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert ["time", "level", "event", "host", "app"] == list(json.loads(stream.getvalue()))


@pytest.mark.parametrize(("people", "level"), [(True, logging.INFO), (False, logging.WARNING)])
async def test_the_configuration_holds(people, level):
    """On a terminal they are written for people, and where less is asked for, not at all."""
    stream = io.StringIO()
    configure_logs(stream, as_json=not people, level=level)
    News("accepted", "app").say("acme")
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert people == ("accepted" in stream.getvalue())
    assert "{" not in stream.getvalue()


async def test_whoever_reads_along_reads_them():
    """A test that captures lines has each with its names."""
    configure_logs(io.StringIO())
    with capture_logs() as lines:
        News("accepted", "app").say("acme")
        await asyncio.sleep(0)

    assert [{"event": "accepted", "log_level": "info", "app": "acme"}] == lines


async def test_a_storm_lets_others_be_heard():
    """A turn writes so many, of one moment, and leaves the rest to the next; none is forgotten."""
    stream = io.StringIO()
    configure_logs(stream)
    news = News("accepted", "number")
    for number in range(TURN_MAX + 1):
        news.say(number)
    for _ in range(3):
        await asyncio.sleep(0)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert list(range(TURN_MAX + 1)) == [line["number"] for line in lines]
    assert [TURN_MAX, 1] == list(Counter(line["time"] for line in lines).values())


def test_what_is_never_logged_is_no_news():
    """A name whose values must not be logged is refused where it is given, and not replaced each time."""
    with pytest.raises(ValueError, match="never logged"):
        News("accepted", "token")
