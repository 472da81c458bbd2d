"""Who waits to write to one file is seen by all, and by nobody once they have gone.

Real: locks of the kernel, SQLite's file, another process. Double: nothing.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.store.crowd import Crowd
from worker.store.engine import Store
from worker.store.tables import metadata

WAIT = """
import sys
from pathlib import Path
from worker.store.crowd import Crowd
with Crowd(Path(sys.argv[1])).joined():
    print("waiting", flush=True)
    sys.stdin.read()
"""

BEGIN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    connection.execute("BEGIN IMMEDIATE")
    print("begun", end="")
except sqlite3.OperationalError as error:
    print(error.sqlite_errorname, end="")
"""


@contextmanager
def another_waits(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process wait, until it is told to leave or is killed."""
    command = [sys.executable, "-c", WAIT, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None
        assert b"waiting\n" == waiting.stdout.readline()
        yield waiting
        assert waiting.stdin is not None
        waiting.stdin.close()


def test_nobody_waits(tmp_path: Path):
    """To look is to wait for nobody, and leaves nothing behind that another would take for one who waits."""
    crowd = Crowd(tmp_path)

    assert not crowd.is_there()
    assert not crowd.is_there()


def test_who_waits_is_seen_until_the_last_has_gone(tmp_path: Path):
    """Several wait together, and the first who leaves leaves the others where they are."""
    crowd = Crowd(tmp_path)
    with crowd.joined():
        with Crowd(tmp_path).joined():
            assert crowd.is_there()
        assert crowd.is_there()

    assert not crowd.is_there()


def test_another_process_is_seen(tmp_path: Path):
    """The endpoint and workers write to one file, and each is a process."""
    with another_waits(tmp_path):
        assert Crowd(tmp_path).is_there()

    assert not Crowd(tmp_path).is_there()


def test_who_was_killed_waits_no_longer(tmp_path: Path):
    """Nothing is left of a process that died while it waited."""
    with another_waits(tmp_path) as waiting:
        waiting.send_signal(signal.SIGKILL)
        waiting.wait(10)

        assert not Crowd(tmp_path).is_there()


def test_what_is_raised_meanwhile_is_raised(tmp_path: Path):
    """Only what the lock itself cannot do is passed over."""
    with pytest.raises(FileNotFoundError), Crowd(tmp_path).joined():
        raise FileNotFoundError


def test_a_directory_that_cannot_be_locked_holds_nobody_up(tmp_path: Path):
    """Where there are no such locks, whoever wants to write asks at once, and waits as well as it can."""
    crowd = Crowd(tmp_path / "absent")
    with crowd.joined():
        assert not crowd.is_there()


def test_the_locks_of_sqlite_stay(tmp_path: Path):
    """Neither to look nor to wait lets go of what a transaction holds against other processes."""
    database = tmp_path / "clawback.db"
    store, crowd = Store(f"sqlite:///{database}"), Crowd(tmp_path)
    metadata.create_all(store.engine)
    with store.write():
        with crowd.joined():
            crowd.is_there()
        held = [_begin(database), _begin(database)]
    free = _begin(database)
    store.close()

    assert ["SQLITE_BUSY", "SQLITE_BUSY"] == held
    assert "begun" == free


def _begin(database: Path) -> str:
    """Try to write in another process."""
    return subprocess.run(
        [sys.executable, "-c", BEGIN, str(database)], check=True, capture_output=True, text=True
    ).stdout
