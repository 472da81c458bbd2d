"""Many threads bring a few ids each, and few of them run: nothing is lost, nothing waits for nothing, errors spread.

Real: threads. Double: what is run, which a test holds up and lets go.
"""

import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import pytest
from dramatiq.threading import raise_thread_exception

from worker.gather import Gather

SECONDS_MAX = 20.0


class Ids(list[str]):
    """A share that one can ask for afterwards."""


class Job:
    """Something to run over sets: it notes each, and holds it until the test lets it go."""

    def __init__(self) -> None:
        self.sets: list[list[str]] = []
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, ids: Sequence[str]) -> None:
        """Run one set."""
        self.sets.append(list(ids))
        self.began.release()
        assert self.may_end.acquire(timeout=SECONDS_MAX)
        if self.error is not None:
            raise self.error

    def has_begun(self, sets: int = 1) -> None:
        """Wait until so many more sets began."""
        for _ in range(sets):
            assert self.began.acquire(timeout=SECONDS_MAX)


@pytest.fixture(name="job")
def _job() -> Job:
    return Job()


@pytest.fixture(name="threads")
def _threads():
    with ThreadPoolExecutor(16) as threads:
        yield threads


def bring(threads: ThreadPoolExecutor, gather: Gather, *shares: list[str]) -> list[Future[None]]:
    """Bring shares in this order, each in a thread of its own, and see them line up."""
    futures = []
    for share in shares:
        before = gather.waiting + gather.running
        futures.append(threads.submit(gather, share))
        while gather.waiting + gather.running == before:
            pass
    return futures


def finish(job: Job, futures: Sequence[Future[None]], sets: int) -> None:
    """Let so many sets end, and wait for every thread."""
    for _ in range(sets):
        job.may_end.release()
    for future in futures:
        future.result(SECONDS_MAX)


def test_idle_runs_at_once_and_busy_gathers(job, threads):
    """The first share runs alone at once; what comes meanwhile is one set, in the order in which it came."""
    gather = Gather(job, size_max=10, at_once=1)
    futures = bring(threads, gather, ["a"])
    job.has_begun()
    futures += bring(threads, gather, ["b", "c"], ["d"], ["e"])

    finish(job, futures, sets=2)

    assert [["a"], ["b", "c", "d", "e"]] == job.sets


def test_sets_are_bounded(job, threads):
    """A set holds no more than its size, and a share is never torn; one that is larger by itself runs alone."""
    gather = Gather(job, size_max=3, at_once=1)
    futures = bring(threads, gather, ["a"])
    job.has_begun()
    futures += bring(threads, gather, ["b", "c"], ["d", "e"], ["f", "g", "h", "i"], ["j"])

    finish(job, futures, sets=5)

    assert [["a"], ["b", "c"], ["d", "e"], ["f", "g", "h", "i"], ["j"]] == job.sets


def test_so_many_sets_run_at_once_and_no_more(job, threads):
    """As many sets as allowed run side by side; the next begins when one of them ends."""
    gather = Gather(job, size_max=10, at_once=2)
    futures = bring(threads, gather, ["a"], ["b"], ["c"], ["d"])
    job.has_begun(2)

    assert [["a"], ["b"]] == sorted(job.sets)
    job.may_end.release()
    job.has_begun()
    assert ["c", "d"] == job.sets[-1]
    finish(job, futures, sets=2)


def test_id_that_comes_twice_is_in_a_set_once(job, threads):
    """A hint that was given again is one member of its set."""
    gather = Gather(job, size_max=10, at_once=1)
    futures = bring(threads, gather, ["a"])
    job.has_begun()
    futures += bring(threads, gather, ["b", "c"], ["c", "b"])

    finish(job, futures, sets=2)

    assert ["b", "c"] == job.sets[1]


def test_nobody_returns_before_the_own_set_is_done(job, threads):
    """A thread whose share another one runs waits for it: what is acknowledged is committed."""
    gather = Gather(job, size_max=10, at_once=1)
    (first,) = bring(threads, gather, ["a"])
    job.has_begun()
    second, third = bring(threads, gather, ["b"], ["c"])
    job.may_end.release()
    first.result(SECONDS_MAX)
    job.has_begun()

    assert (False, False) == (second.done(), third.done())
    finish(job, [second, third], sets=1)


def test_error_is_everybodys_and_only_of_its_set(job, threads):
    """What a set breaks with is raised in each thread that had a share in it, and in no other."""
    gather = Gather(job, size_max=10, at_once=1)
    (first,) = bring(threads, gather, ["a"])
    job.has_begun()
    broken = bring(threads, gather, ["b"], ["c"])
    job.may_end.release()
    first.result(SECONDS_MAX)
    job.has_begun()
    job.error = ValueError("mine")
    job.may_end.release()

    for future in broken:
        with pytest.raises(ValueError, match="mine"):
            future.result(SECONDS_MAX)
    job.error = None
    finish(job, bring(threads, gather, ["d"]), sets=1)


def test_set_that_is_done_leaves_nothing_to_the_collector(job, threads):
    """What threads brought is free when they return, without Python looking for it: of a backlog that was 28 MB."""
    gather = Gather(job, size_max=8, at_once=1)
    shares = [Ids(["a"]), Ids(["b"]), Ids(["c"])]
    kept = [weakref.ref(share) for share in shares]
    gc.disable()
    try:
        futures = bring(threads, gather, shares.pop(0))
        job.has_begun()
        futures += bring(threads, gather, shares.pop(0), shares.pop(0))
        finish(job, futures, sets=2)

        deadline = time.monotonic() + SECONDS_MAX
        while any(share() is not None for share in kept) and time.monotonic() < deadline:
            pass  # a thread that has answered still clears its table
        assert [None, None, None] == [share() for share in kept]
    finally:
        gc.enable()


def test_storm_loses_and_repeats_nothing():
    """However many threads bring however much at once, each id is run once, and nobody is left waiting."""
    seen: list[str] = []
    gather = Gather(seen.extend, size_max=7, at_once=3)

    def storm(thread: int) -> None:
        for number in range(300):
            gather([f"{thread}-{number}-{part}" for part in range(number % 4 + 1)])

    with ThreadPoolExecutor(16) as threads:
        for future in [threads.submit(storm, thread) for thread in range(16)]:
            future.result(SECONDS_MAX)

    expected = [f"{thread}-{n}-{part}" for thread in range(16) for n in range(300) for part in range(n % 4 + 1)]
    assert sorted(expected) == sorted(seen)
    assert (0, 0) == (gather.waiting, gather.running)


@contextmanager
def untraced() -> Iterator[None]:
    """Measure no coverage in here: a thread that is traced while an exception waits for another never ends (3.11)."""
    ours, theirs = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        sys.settrace(ours)
        threading.settrace(theirs)


class Interrupted(BaseException):
    """What a time limit raises in a thread."""


def test_interrupted_thread_holds_up_nobody(job, threads):
    """A thread that is interrupted while it waits gives up its turn; whoever stands behind it is served."""
    gather = Gather(job, size_max=1, at_once=1)
    who: list[int] = []

    def interrupted() -> None:
        who.append(threading.get_ident())
        gather(["b"])

    with untraced():
        (first,) = bring(threads, gather, ["a"])
        job.has_begun()
        second = threads.submit(interrupted)
        while not gather.waiting:
            pass
        (third,) = bring(threads, gather, ["c"])
        raise_thread_exception(who[0], Interrupted)
        finish(job, [first, third], sets=2)
        with pytest.raises(Interrupted):
            second.result(SECONDS_MAX)

    assert [["a"], ["c"]] == job.sets
    assert (0, 0) == (gather.waiting, gather.running)


@dataclass
class Limit:
    """A time limit that strikes in one thread, in the gathering, after so many calls there or returns from them."""

    strikes_after: int
    struck: bool = False

    def profile(self, frame: FrameType, what: str, _about: object) -> None:
        """Strike when it is time: where an interpreter looks for such an exception, at calls and after them."""
        if self.struck or what in {"c_call", "c_exception"} or not frame.f_code.co_filename.endswith("gather.py"):
            return
        self.strikes_after -= 1
        if self.strikes_after < 0:
            self.struck = True
            raise Interrupted

    def bring(self, gather: Gather, ids: list[str]) -> None:
        """Bring a share under this limit."""
        sys.setprofile(self.profile)
        try:
            gather(ids)
        finally:
            sys.setprofile(None)


def apart(run: Callable[..., None], *arguments: object) -> Future[None]:
    """Run in a thread of its own, which holds up nobody if it never ends."""
    future: Future[None] = Future()

    def ran() -> None:
        try:
            run(*arguments)
        except BaseException as error:  # noqa: BLE001 - whoever asks gets it
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=ran, daemon=True).start()
    return future


@pytest.mark.parametrize("at_once", [1, 2])
def test_wherever_a_time_limit_strikes_no_place_is_lost(at_once):
    """Interrupted at any point, from lining up to the end of its set, a thread leaves its place and nobody waiting."""
    # Between the end of the set and the call for the next one the place was lost for good.
    struck: list[bool] = []
    while not struck or struck[-1]:
        job, limit = Job(), Limit(len(struck))
        gather = Gather(job, size_max=2, at_once=at_once)
        others = [apart(gather, [str(other)]) for other in range(at_once - 1)]
        job.has_begun(at_once - 1)
        first = apart(limit.bring, gather, ["a"])
        while not (job.began.acquire(timeout=0.001) or first.done()):
            pass
        others += [apart(gather, [name]) for name in "bcde"]
        for _ in range(6 + at_once):
            job.may_end.release()
        for future in [*others, first]:
            assert isinstance(future.exception(SECONDS_MAX), Interrupted | None)

        assert (0, 0) == (gather.waiting, gather.running)
        gather(["z"])
        assert ["z"] == job.sets[-1]
        struck.append(limit.struck)

    assert len(struck) > 10
