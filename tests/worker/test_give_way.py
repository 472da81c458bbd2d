"""Who sweeps gives way to who decides, and not for ever.

Real: everything; a set is a function that waits to be told that it is done.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.gather import Gather
from worker.work import GIVE_WAY_SECONDS_MAX, give_way

WAITING_SECONDS_MAX = 20.0


class Busy:
    """One set that runs until `done`."""

    def __init__(self) -> None:
        self.done, self._runs = threading.Event(), threading.Event()
        self.gather = Gather(self._run, size_max=1, at_once=1)
        self._thread = threading.Thread(target=self.gather, args=(["ntf_1"],))
        self._thread.start()
        assert self._runs.wait(WAITING_SECONDS_MAX)

    def _run(self, _ids: object) -> None:
        self._runs.set()
        self.done.wait(WAITING_SECONDS_MAX)

    def close(self) -> None:
        """End it."""
        self.done.set()
        self._thread.join()


@pytest.fixture(name="busy")
def _busy() -> Iterator[Busy]:
    opened = Busy()
    yield opened
    opened.close()


def test_a_round_waits_for_a_set_and_no_longer_than_it_may(busy: Busy):
    """Beside a set that never ends, rounds begin all the same."""
    began = time.monotonic()
    give_way(busy.gather, threading.Event())

    assert 1 == busy.gather.running
    assert GIVE_WAY_SECONDS_MAX <= time.monotonic() - began


def test_a_round_begins_once_nothing_runs(busy: Busy):
    """Nobody sweeps while a set runs, and where none does nobody waits."""
    with ThreadPoolExecutor(1) as other:
        busy.close()
        other.submit(give_way, busy.gather, threading.Event()).result(WAITING_SECONDS_MAX)

    assert 0 == busy.gather.running


def test_whoever_is_to_stop_waits_for_nothing(busy: Busy):
    """A stop is not held up by what runs: that has a grace period of its own."""
    stop = threading.Event()
    stop.set()
    give_way(busy.gather, stop)

    assert 1 == busy.gather.running
