"""Lines of the log are all there, whole and in their order, however many turns and threads they come from.

Real: event loops, threads, structlog. Doubles: the stream is in memory and notes each write, or has no room.
"""

import asyncio
import errno
import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.lines import Lines

SAID = st.lists(st.tuples(st.sampled_from(["info", "warning", "turn"]), st.text("abc", min_size=1)), max_size=20)


class Stream(io.StringIO):
    """A stream that knows how often it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        """Count, and write."""
        self.writes += 1
        return super().write(text)


class Disk(io.StringIO):
    """A file on a disk that may be full, and then takes the first bytes alone."""

    full = False

    def write(self, text: str) -> int:
        """Write what there is room for."""
        if self.full:
            super().write(text[:3])
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


@pytest.fixture
def stream() -> Stream:
    """Write into memory."""
    return Stream()


async def test_news_of_one_turn_are_one_write(stream):
    """Nothing is written within the turn, and all of it at once when the next one begins."""
    lines = Lines(stream)
    lines.info("accepted")
    lines.info("accepted again")
    assert 0 == stream.writes
    await asyncio.sleep(0)

    assert ("accepted\naccepted again\n", 1) == (stream.getvalue(), stream.writes)


async def test_what_is_louder_is_written_now_behind_what_came_before(stream):
    """A warning does not wait, and does not overtake; nothing is written twice."""
    lines = Lines(stream)
    lines.info("accepted")
    lines.warning("rejected")
    assert "accepted\nrejected\n" == stream.getvalue()
    await asyncio.sleep(0)

    assert 1 == stream.writes


def test_what_is_said_together_is_one_write(stream):
    """News of one thread wait until all of them are said; what is louder takes along what waits."""
    lines = Lines(stream)
    with lines.together():
        lines.info("decided")
        assert 0 == stream.writes
        lines.error("failed")
        lines.info("decided")

    assert ("decided\nfailed\ndecided\n", 2) == (stream.getvalue(), stream.writes)


def test_what_is_said_together_is_written_also_where_that_breaks(stream):
    """Whoever breaks between two lines has said the first one."""

    def say() -> None:
        with lines.together():
            lines.info("decided")
            raise LookupError

    lines = Lines(stream)
    with pytest.raises(LookupError):
        say()

    assert "decided\n" == stream.getvalue()


def test_other_threads_do_not_wait_for_what_is_said_together(stream):
    """Only the thread that says so holds back."""
    lines = Lines(stream)
    with lines.together():
        thread = threading.Thread(target=lines.info, args=("swept",))
        thread.start()
        thread.join()
        assert "swept\n" == stream.getvalue()


def test_without_an_event_loop_nothing_waits(stream):
    """A command, and a thread without a loop, write at once."""
    Lines(stream).info("migrated")

    assert "migrated\n" == stream.getvalue()


def test_a_loop_that_ended_too_soon_holds_nothing_back(stream):
    """What waited for a turn that never came is written with the next line, on whichever loop or none."""
    lines = Lines(stream)
    for _ in range(2):
        loop = asyncio.new_event_loop()
        loop.call_soon(lines.info, "accepted")
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
    lines.info("stopped")

    assert "accepted\naccepted\nstopped\n" == stream.getvalue()


async def test_a_stream_that_takes_nothing_costs_its_lines_alone():
    """On a full disk nothing is raised where a line is said; once there is room, how many are missing is told first."""
    disk, missed = Disk(), list[int]()
    lines = Lines(disk, missed=missed.append)
    lines.info("accepted")
    await asyncio.sleep(0)
    disk.full = True
    lines.info("refused")
    lines.warning("refused again")
    lines.info("and again")
    await asyncio.sleep(0)
    assert [] == missed
    disk.full = False
    lines.warning("back")
    lines.warning("as ever")

    assert ([3], ["accepted", "back", "as ever"]) == (
        missed,
        [line for line in disk.getvalue().splitlines() if line[3:]],
    )


@given(said=SAID)
def test_every_line_is_there_once_and_in_its_place(said):
    """However loud lines are and wherever a turn ends between them, they come out as they were said."""
    stream = Stream()
    lines = Lines(stream)

    async def go() -> None:
        for how, line in said:
            await asyncio.sleep(0) if how == "turn" else getattr(lines, how)(line)
        await asyncio.sleep(0)

    asyncio.run(go())

    assert [line for how, line in said if how != "turn"] == stream.getvalue().splitlines()


async def test_lines_of_many_threads_are_whole_and_all_there(stream):
    """Threads beside a loop lose nothing and tear nothing apart."""
    lines = Lines(stream)
    expected = sorted(f"{name} {number}" for name in "abcd" for number in range(200))

    def say(name: str) -> None:
        for number in range(200):
            (lines.info if number % 2 else lines.warning)(f"{name} {number}")

    threads = [threading.Thread(target=say, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for number in range(200):
        lines.info(f"d {number}")
        await asyncio.sleep(0)
    for thread in threads:
        thread.join()
    await asyncio.sleep(0)

    assert expected == sorted(stream.getvalue().splitlines())
