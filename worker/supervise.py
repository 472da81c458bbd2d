"""Keep a set of processes running: start in order, restart what dies, stop in reverse order, leave none behind.

- Each child leads its own session, so Ctrl-C in a terminal reaches only the supervisor, which stops them in order.
- A child that dies after it was ready is started again, with a growing pause; its siblings never notice.
- A child that dies before it was ever ready has a reason that a restart would not change: everything stops.
- A child that does not stop within its grace is killed with its whole session.
"""

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from worker.control import HEAR_SECONDS_MAX
from worker.launch import Started, kill_session

log = structlog.get_logger()

PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 10.0
STEADY_SECONDS = 30.0
"""A child that lived so long is believed again: its next pause is the shortest."""


class Child(Protocol):
    """Something to keep running."""

    @property
    def name(self) -> str:
        """Call it in logs."""
        ...

    @property
    def stage(self) -> int:
        """Start in this order, stop in the reverse one; children of one stage stop together."""
        ...

    @property
    def says_ready(self) -> bool:
        """Wait for its word on the line; False: whatever `start` returns is ready."""
        ...

    @property
    def grace_seconds(self) -> float:
        """Let it stop by itself for so long."""
        ...

    def start(self) -> Started:
        """Start it once more."""
        ...


class _Stop:
    """Someone asked us to stop."""


@dataclass(frozen=True, slots=True)
class _Ready:
    child: Child
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Exited:
    child: Child
    code: int


@dataclass(slots=True)
class _Life:
    """What became of one child so far."""

    started: Started | None = None
    began: float = 0.0
    pause_seconds: float = PAUSE_SECONDS_MIN
    restart_at: float | None = None
    facts: Mapping[str, Any] | None = None


class Supervisor:
    """Run children until a signal, or until one cannot be started.

    Args:
        children: what to run; see `Child.stage`.
        on_ready: called once, in a thread, with name → facts when every child was ready for the first time.
    """

    def __init__(
        self, children: Sequence[Child], on_ready: Callable[[Mapping[str, Mapping[str, Any]]], None] | None = None
    ) -> None:
        self._lives: dict[Child, _Life] = {child: _Life() for child in sorted(children, key=lambda c: c.stage)}
        self._events: queue.SimpleQueue[_Stop | _Ready | _Exited] = queue.SimpleQueue()
        self._on_ready = on_ready
        self._announced = False

    def run(self) -> int:
        """Start all, keep all running, stop all.

        Returns:
            An exit code: 0 after a signal, else that of the child that could not be started.
        """
        with self._signals():
            try:
                for child in self._lives:
                    self._start(child)
                return self._watch()
            finally:
                self._stop_all()

    def stop(self) -> None:
        """Ask for the end; safe in any thread and in a signal handler. Twice: without any grace."""
        self._events.put(_Stop())

    @contextmanager
    def _signals(self) -> Iterator[None]:
        here = threading.current_thread() is threading.main_thread()  # the only thread that may hear signals
        asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if here else ()
        before = {number: signal.signal(number, lambda *_: self.stop()) for number in asked}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watch(self) -> int:
        while True:
            match self._next_event():
                case _Stop():
                    return 0
                case _Ready(child, facts):
                    self._lives[child].facts = facts
                    self._announce()
                case _Exited(child, code) if self._lives[child].facts is None:
                    log.error("supervise.gave_up", child=child.name, code=code)
                    return code if code > 0 else 1
                case _Exited(child, code):
                    self._schedule(child, code)
                case None:
                    self._restart_due()

    def _next_event(self) -> _Stop | _Ready | _Exited | None:
        due = [life.restart_at - time.monotonic() for life in self._lives.values() if life.restart_at is not None]
        try:
            return self._events.get(timeout=max(0.0, min([HEAR_SECONDS_MAX, *due])))
        except queue.Empty:
            return None

    def _start(self, child: Child) -> None:
        life = self._lives[child]
        life.started, life.began, life.restart_at = child.start(), time.monotonic(), None
        threading.Thread(target=self._listen, args=(child, life.started), daemon=True).start()
        if not child.says_ready and life.facts is None:
            self._events.put(_Ready(child, {}))

    def _listen(self, child: Child, started: Started) -> None:
        """Hear what a child says until its end, then take everything it left behind."""
        with suppress(OSError), started.line.makefile("rb") as lines:
            for line in lines:
                self._events.put(_Ready(child, json.loads(line)))
        if hasattr(os, "waitid"):
            # Not reaped yet, so its number cannot belong to anybody else while we clear its session. Where a stop was
            # faster than us, there is nothing left to wait for or to kill.
            with suppress(ChildProcessError, ProcessLookupError, PermissionError):
                os.waitid(os.P_PID, started.process.pid, os.WEXITED | os.WNOWAIT)
                os.killpg(started.process.pid, signal.SIGKILL)
        code = started.process.wait()
        started.line.close()
        self._events.put(_Exited(child, code))

    def _announce(self) -> None:
        facts = {child.name: life.facts for child, life in self._lives.items() if life.facts is not None}
        if self._on_ready is None or self._announced or len(facts) < len(self._lives):
            return
        self._announced = True
        threading.Thread(target=self._on_ready, args=(facts,), name="on-ready", daemon=True).start()

    def _schedule(self, child: Child, code: int) -> None:
        life = self._lives[child]
        steady = time.monotonic() - life.began > STEADY_SECONDS
        pause = PAUSE_SECONDS_MIN if steady else life.pause_seconds
        life.started, life.restart_at = None, time.monotonic() + pause
        life.pause_seconds = min(pause * 2, PAUSE_SECONDS_MAX)
        log.warning("supervise.died", child=child.name, code=code, restart_seconds=pause)

    def _restart_due(self) -> None:
        for child, life in self._lives.items():
            if life.restart_at is not None and life.restart_at <= time.monotonic():
                try:
                    self._start(child)
                except Exception as error:  # noqa: BLE001 - whatever keeps it from starting may pass
                    log.warning("supervise.not_started", child=child.name, reason=str(error))
                    self._schedule(child, 1)

    def _stop_all(self) -> None:
        for stage in sorted({child.stage for child in self._lives}, reverse=True):
            running = {child for child, life in self._lives.items() if child.stage == stage and life.started}
            for child in running:
                self._process(child).process.terminate()
            self._await_exits(running)
            for child in running:
                kill_session(self._process(child))

    def _await_exits(self, running: set[Child]) -> None:
        """Wait for the exits of `running` within their grace; a second request to stop ends the wait."""
        deadline = time.monotonic() + max((child.grace_seconds for child in running), default=0.0)
        waiting = {child for child in running if self._process(child).process.poll() is None}
        while waiting and time.monotonic() < deadline:
            try:
                event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            if isinstance(event, _Stop):
                return
            if isinstance(event, _Exited):
                waiting.discard(event.child)

    def _process(self, child: Child) -> Started:
        started = self._lives[child].started
        if started is None:
            raise LookupError(child.name)
        return started
