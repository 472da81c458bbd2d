"""What must run once runs once, and goes on elsewhere when its holder dies.

Real: SQLite and PostgreSQL, their clocks, processes that are killed or stopped while they hold the lock. No double.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import update

from config.settings import Store as Choices
from tests.cli.processes import ROOT, eventually
from tests.worker.desk import Desk, desk
from worker.store import locks
from worker.store.engine import Store, StoreUnavailable
from worker.store.tables import locks as table
from worker.store.tables import marks

LEASE_MS = 60_000
"""Longer than any test."""
GIVEN_UP_SECONDS = 1.0
"""After so long PostgreSQL ends a transaction whose process is silent; an operator's choice, here the shortest."""

HOLDER = f"""
import os, signal, sys
from config.settings import Store as Choices
from sqlalchemy import insert
from worker.store import locks
from worker.store.engine import Store, StoreUnavailable
from worker.store.tables import marks

url, holder, lease_ms, way = sys.argv[1:]
store = Store(url, Choices(statement_timeout_seconds={GIVEN_UP_SECONDS}))

def work(connection):
    if not locks.acquire(connection, "once", holder=holder, lease_ms=int(lease_ms)):
        return "refused"
    connection.execute(insert(marks).values(name=holder, value="done"))
    if way == "inside":
        print("holds", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    return "done"

try:
    said = store.change(work)
except StoreUnavailable:
    said = "given up"
if way == "after":
    print("holds", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
print(said, flush=True)
"""


@pytest.fixture(name="on_postgresql")
def _on_postgresql(tmp_path: Path, emptied: str) -> Iterator[Desk]:
    with desk(tmp_path, url=emptied) as opened:
        yield opened


def acquire(at: Desk, holder: str, *, name: str = "sweeper", lease_ms: int = LEASE_MS) -> bool:
    """Ask for the lock."""
    with at.store.write() as connection:
        return locks.acquire(connection, name, holder=holder, lease_ms=lease_ms)


def ends_in(at: Desk, seconds: float) -> None:
    """Have the lock end so long from now, as if it had been taken at another time."""
    with at.store.write() as connection:
        connection.execute(update(table).values(until_ms=int((time.time() + seconds) * 1000)))


def crash_with_it(at: Desk) -> None:
    """Take the lock, and break before anything is committed."""
    with at.store.write() as connection:
        taken = locks.acquire(connection, "sweeper", holder="a", lease_ms=LEASE_MS)
        assert 1 // (not taken)


def did(at: Desk) -> list[str]:
    """Name who did what had to be done once."""
    return [row["name"] for row in at.rows(marks) if row["value"] == "done"]


@contextmanager
def holding(at: Desk, way: str, *, lease_ms: int = LEASE_MS) -> Iterator[subprocess.Popen[str]]:
    """Have another process take the lock and stop itself, inside its transaction or after it."""
    command = [sys.executable, "-c", HOLDER, at.store.url, "another", str(lease_ms), way]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert "holds\n" == process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def take_over(at: Desk, within_seconds: float) -> bool:
    """Ask as a process that comes by again and again, and does what must be done once when it gets the lock."""
    store = Store(at.store.url, Choices(wait_timeout_seconds=0.2, statement_timeout_seconds=GIVEN_UP_SECONDS))

    def asked() -> bool:
        if "us" in did(at):
            return True
        try:
            with store.write() as connection:
                if not locks.acquire(connection, "once", holder="us", lease_ms=LEASE_MS):
                    return False
                connection.execute(marks.insert().values(name="us", value="done"))
                return True
        except StoreUnavailable:
            return False

    try:
        return eventually(asked, within_seconds)
    finally:
        store.close()


def ended(process: subprocess.Popen[str]) -> str:
    """Let a stopped process go on, and read what it says in the end."""
    os.kill(process.pid, signal.SIGCONT)
    assert process.stdout
    return process.stdout.readline().strip()


def test_one_holder_at_a_time(at: Desk):
    """While it is held nobody else gets it; other names are other locks."""
    assert acquire(at, "a")
    ends_in(at, 5)
    assert not acquire(at, "b")
    assert acquire(at, "b", name="reconcile")


def test_its_holder_extends_it(at: Desk):
    """Whoever holds it may ask again before its time is over, and has it for longer."""
    assert acquire(at, "a")
    ends_in(at, 5)
    assert acquire(at, "a")
    assert int((time.time() + 30) * 1000) < at.rows(table)[0]["until_ms"]
    assert not acquire(at, "b")


def test_a_dead_holder_loses_it(at: Desk):
    """When its time has run out another takes over, and the first one has to wait."""
    assert acquire(at, "a")
    ends_in(at, -0.001)
    assert acquire(at, "b")
    assert not acquire(at, "a")


def test_a_clock_that_was_set_back_holds_nobody_up(at: Desk):
    """An end further away than any lease reaches is from another time: nobody waits for it."""
    assert acquire(at, "a")
    ends_in(at, 3_600)
    assert acquire(at, "b")


def test_a_crash_gives_it_back(at: Desk):
    """A lock that was taken in a transaction that never committed was never taken."""
    with pytest.raises(ZeroDivisionError):
        crash_with_it(at)

    assert acquire(at, "b")


def test_of_many_one_gets_it(at: Desk):
    """Eight processes ask at the same moment: one of them is told yes."""
    together, answers = threading.Barrier(8), []

    def ask(holder: str) -> None:
        together.wait()
        answers.append(acquire(at, holder))

    threads = [threading.Thread(target=ask, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 == sum(answers)


def test_a_process_has_a_name_of_its_own():
    """Containers share hosts' names and numbers of processes: two of them never take each other for themselves."""
    name: Callable[[], str] = locks.this_process
    command = [sys.executable, "-c", "from worker.store.locks import this_process; print(this_process())"]
    other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    assert name() == name()
    assert name().rpartition(":")[2] != other.rpartition(":")[2]


def test_a_killed_holder_is_replaced_when_its_lease_is_over(at: Desk):
    """A process that was killed after it had taken the lock keeps others waiting for one lease and no longer."""
    with holding(at, "after", lease_ms=2_000) as process:
        process.kill()
        process.wait()
        assert not acquire(at, "us", name="once", lease_ms=2_000)
        began = time.monotonic()
        assert eventually(lambda: acquire(at, "us", name="once", lease_ms=2_000))
        assert time.monotonic() - began < 20

    assert ["another"] == did(at)


def test_a_holder_killed_inside_its_transaction_has_done_nothing(at: Desk):
    """What it had begun is rolled back, the lock with it: the next one has both at once."""
    with holding(at, "inside") as process:
        process.kill()
        process.wait()
        assert take_over(at, 10)

    assert ["us"] == did(at)


def test_a_holder_stopped_inside_its_transaction_is_given_up(on_postgresql: Desk):
    """PostgreSQL ends a transaction that is silent for too long; continued, its process finds that it did nothing."""
    with holding(on_postgresql, "inside") as process:
        assert take_over(on_postgresql, 15)
        assert "given up" == ended(process)

    assert ["us"] == did(on_postgresql)


def test_a_holder_stopped_past_its_lease_is_refused(at: Desk):
    """Another took over while it slept: awake again it has done its own part once, and gets no second turn."""
    with holding(at, "after", lease_ms=300) as process:
        assert eventually(lambda: acquire(at, "us", name="once"))
        assert "done" == ended(process)

    assert not acquire(at, "another", name="once")
    assert ["another"] == did(at)
