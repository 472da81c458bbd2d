"""What must run once runs once, and goes on elsewhere when its holder dies."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.desk import Desk, desk
from worker.store import locks


@pytest.fixture(name="at")
def _at(tmp_path: Path, store_url: str) -> Iterator[Desk]:
    with desk(tmp_path, url=store_url) as opened:
        yield opened


def acquire(at: Desk, holder: str, *, now_ms: int, name: str = "sweeper") -> bool:
    """Ask for the lock, for fifteen seconds."""
    with at.store.write() as connection:
        return locks.acquire(connection, name, holder=holder, now_ms=now_ms, until_ms=now_ms + 15_000)


def crash_with_it(at: Desk) -> None:
    """Take the lock, and break before anything is committed."""
    with at.store.write() as connection:
        taken = locks.acquire(connection, "sweeper", holder="a", now_ms=0, until_ms=15_000)
        assert 1 // (not taken)


def test_one_holder_at_a_time(at: Desk):
    """While it is held nobody else gets it; other names are other locks."""
    assert acquire(at, "a", now_ms=0)
    assert not acquire(at, "b", now_ms=14_999)
    assert acquire(at, "b", now_ms=0, name="reconcile")


def test_its_holder_extends_it(at: Desk):
    """Whoever holds it may ask again before its time is over, and has it for longer."""
    assert acquire(at, "a", now_ms=0)
    assert acquire(at, "a", now_ms=10_000)
    assert not acquire(at, "b", now_ms=24_999)


def test_a_dead_holder_loses_it(at: Desk):
    """When its time has run out another takes over, and the first one has to wait."""
    assert acquire(at, "a", now_ms=0)
    assert acquire(at, "b", now_ms=15_000)
    assert not acquire(at, "a", now_ms=15_001)


def test_a_crash_gives_it_back(tmp_path: Path, at: Desk):
    """A lock that was taken in a transaction that never committed was never taken."""
    with pytest.raises(ZeroDivisionError):
        crash_with_it(at)

    assert acquire(at, "b", now_ms=1)


def test_of_many_one_gets_it(at: Desk):
    """Eight processes ask at the same moment: one of them is told yes."""
    together, answers = threading.Barrier(8), []

    def ask(holder: str) -> None:
        together.wait()
        answers.append(acquire(at, holder, now_ms=0))

    threads = [threading.Thread(target=ask, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == sum(answers)
