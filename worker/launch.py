"""Start processes that lead a session of their own and hold the other end of a line to us (`worker/control.py`).

The first thing that `clawback run` does is to start some, so nothing is imported here that takes long.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.control import GO

WAIT = "--wait"
"""The option of a verb that waits for a word after its imports."""


@dataclass(frozen=True, slots=True)
class Started:
    """A process and our end of its line (`worker/control.py`)."""

    process: subprocess.Popen[bytes]
    line: socket.socket


@dataclass(frozen=True, slots=True, eq=False)
class Verb:
    """A process that is another verb of this command line.

    Attributes:
        log: a file for what it writes; None: where we write.
    """

    name: str
    arguments: tuple[str, ...]
    stage: int
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    grace_seconds: float = 30.0
    says_ready: bool = True
    _waiting: list[Started] = field(default_factory=list, init=False, repr=False)

    def start(self) -> Started:
        """Start `python -m worker.cli …`, or tell the one that waits that its time has come."""
        while self._waiting:
            started = self._waiting.pop()
            with suppress(OSError):
                started.line.sendall(GO)
                return started
            kill_session(started)  # it died over its imports; the next will say why, to whoever listens then
        return self._launch()

    def start_ahead(self) -> None:
        """Have it import what it needs meanwhile, and wait for `start`."""
        self._waiting.append(self._launch(WAIT))

    def give_up(self) -> None:
        """Kill what still waits: it has done nothing yet, and so it has nothing to end in order."""
        while self._waiting:
            kill_session(self._waiting.pop())

    def _launch(self, *more: str) -> Started:
        return launch(
            lambda fd: [sys.executable, "-m", "worker.cli", *self.arguments, *more, "--control", str(fd)],
            environment={**os.environ, **self.environment},
            log=self.log,
        )


def launch(
    command: Callable[[int], Sequence[str]], *, environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Started:
    """Start a process that leads its own session and holds the other end of a line to us.

    Args:
        command: makes the command from the descriptor that the process will find its end at.
        environment: None: ours.
        log: appended to with what it writes; None: it writes where we do.
    """
    ours, theirs = socket.socketpair()
    with theirs, _opened(log) as output:
        process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
            command(theirs.fileno()),
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
        )
    return Started(process, ours)


@contextmanager
def _opened(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield None
        return
    with path.open("ab") as file:
        yield file


def stop_session(started: Started, grace_seconds: float) -> None:
    """Ask one process to stop; kill its whole session when it does not."""
    started.process.terminate()
    with suppress(subprocess.TimeoutExpired):
        started.process.wait(grace_seconds)
    kill_session(started)


def kill_session(started: Started) -> None:
    """Kill a process that we started, if it still runs, with whatever else is in its session."""
    if started.process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(started.process.pid, signal.SIGKILL)
        started.process.wait()
    started.line.close()
