"""Real processes: what dies is started again, what cannot start ends everything, and nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.processes import ROOT
from worker.control import Control
from worker.launch import Started, launch
from worker.supervise import Supervisor

pytestmark = pytest.mark.crash

GOOD = """
import os, signal, socket, sys, time
line = socket.socket(fileno=int(sys.argv[1]))
def stop(*_):
    with open(sys.argv[2], "a") as diary: diary.write("stopped {name}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
line.sendall(b'{{"pid": %d}}\\n' % os.getpid())
while True: time.sleep(60)
"""
DEAF = GOOD.replace("signal.signal(signal.SIGTERM, stop)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
HOPELESS = "import sys; sys.exit(2)"
PARENT = GOOD.replace(
    "while True: time.sleep(60)",
    "import subprocess\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "with open(sys.argv[2], 'a') as diary: diary.write('child %d\\n' % child.pid)\n"
    "while True: time.sleep(60)",
)


@dataclass(frozen=True, eq=False)
class Actor:
    """A child that plays a part."""

    name: str
    part: str
    diary: Path
    stage: int = 1
    grace_seconds: float = 10.0
    says_ready: bool = True

    def start(self) -> Started:
        """Play."""
        script = self.part.format(name=self.name)
        return launch(lambda fd: [sys.executable, "-c", script, str(fd), str(self.diary)])


class Stage:
    """A supervisor in a thread, and what is known of its children."""

    def __init__(self, *actors: Actor) -> None:
        self.ready = threading.Event()
        self.pids: dict[str, int] = {}
        self.supervisor = Supervisor(actors, self._on_ready)
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.supervisor.run()

    def _on_ready(self, facts) -> None:
        self.pids = {name: fact["pid"] for name, fact in facts.items()}
        self.ready.set()

    def pid(self, name: str) -> int:
        """Tell which process plays a part now."""
        life = next(life for child, life in self.supervisor._lives.items() if child.name == name)
        return life.facts["pid"] if life.facts and life.started else 0

    def finish(self) -> int | None:
        """Stop all and give the exit code."""
        self.supervisor.stop()
        return self.join()

    def join(self) -> int | None:
        """Wait for the end."""
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.code


def eventually(true, seconds: float = 10.0) -> bool:
    """Wait until something becomes true."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(true())


def alive(pid: int) -> bool:
    """Tell whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """Let children write what they did."""
    path = tmp_path / "diary"
    path.touch()
    return path


def test_what_dies_is_started_again(diary):
    """A killed child comes back, and its sibling never notices."""
    stage = Stage(Actor("serve", GOOD, diary), Actor("work", GOOD, diary))
    assert stage.ready.wait(60)
    serve, work = stage.pids["serve"], stage.pids["work"]

    os.kill(work, signal.SIGKILL)

    assert eventually(lambda: stage.pid("work") not in {0, work})
    assert serve == stage.pid("serve")
    assert alive(serve)
    assert 0 == stage.finish()


def test_what_cannot_start_ends_everything(diary):
    """A child that dies before it was ready is not tried forever: all stop, with its exit code."""
    stage = Stage(Actor("serve", HOPELESS, diary, stage=2), Actor("work", GOOD, diary))

    assert 2 == stage.join()
    assert not stage.ready.is_set()


def test_stop_goes_from_the_door_inwards(diary):
    """The endpoint stops before the workers, and those before the broker."""
    actors = [Actor("broker", GOOD, diary, 0), Actor("work", GOOD, diary, 1), Actor("serve", GOOD, diary, 2)]
    stage = Stage(*actors)
    assert stage.ready.wait(60)

    assert 0 == stage.finish()

    assert ["stopped serve", "stopped work", "stopped broker"] == diary.read_text().splitlines()


def test_who_does_not_listen_is_killed(diary):
    """A child that ignores the request to stop is gone after its grace."""
    stage = Stage(Actor("deaf", DEAF, diary, grace_seconds=0.3))
    assert stage.ready.wait(60)

    stage.finish()

    assert not alive(stage.pids["deaf"])


def test_a_request_that_ends_no_wait_is_heard(diary):
    """A signal that does not end the wait is heard all the same: `run`, stopped just as it was ready, once ran on."""
    program = (
        "import signal, sys, threading\nfrom pathlib import Path\n"
        "from tests.worker.test_supervise import GOOD, Actor\nfrom worker.supervise import Supervisor\n"
        # Another thread takes it while the main one waits, which so does not notice.
        "def beside(): signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "def later(_): threading.Timer(0.3, beside).start()\n"
        "sys.exit(Supervisor([Actor('work', GOOD, Path(sys.argv[1]))], later).run())"
    )
    done = subprocess.run([sys.executable, "-c", program, str(diary)], cwd=ROOT, timeout=30, check=False)

    assert 0 == done.returncode


def test_second_request_waits_for_nobody(diary):
    """Who asks twice means at once."""
    stage = Stage(Actor("deaf", DEAF, diary, grace_seconds=60))
    assert stage.ready.wait(60)

    stage.supervisor.stop()
    stage.finish()

    assert not alive(stage.pids["deaf"])


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="macOS has waitid since Python 3.13")
def test_what_a_dead_child_started_dies_too(diary):
    """A child that is killed leaves no process of its own behind."""
    stage = Stage(Actor("work", PARENT, diary))
    assert stage.ready.wait(60)
    assert eventually(lambda: "child" in diary.read_text())
    grandchild = int(diary.read_text().split()[1])

    os.kill(stage.pids["work"], signal.SIGKILL)

    assert eventually(lambda: not alive(grandchild))
    stage.finish()


def test_logs_can_go_to_a_file(tmp_path):
    """What a child writes is appended to its file."""
    log = tmp_path / "child.log"
    started = launch(lambda _: [sys.executable, "-c", "print('a refund')"], log=log)

    assert 0 == started.process.wait(60)

    started.line.close()
    assert "a refund\n" == log.read_text()


def test_child_without_a_supervisor_needs_none():
    """A process that nobody supervises says it is ready to nobody."""
    control = Control(None)

    control.stop_with_parent()
    control.ready(url="http://127.0.0.1:8080")


def test_ready_carries_facts():
    """What a child says once it is ready is one JSON line."""
    code = "import sys; from worker.control import Control; Control(int(sys.argv[1])).ready(url='http://localhost')"
    started = launch(lambda fd: [sys.executable, "-c", code, str(fd)])

    with started.line.makefile("rb") as lines:
        assert {"url": "http://localhost"} == json.loads(lines.readline())

    started.process.wait(60)
    started.line.close()
