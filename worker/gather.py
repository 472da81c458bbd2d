"""Gather what several threads were given into one set, and let few of them run: the others wait for theirs to be done.

An idle process runs what comes at once, however little that is. Whatever comes meanwhile waits, and the next one to run
takes all of it, without a timer that would delay anything. A thread returns when its own share is done and not before,
so a message is acknowledged after its rows are committed.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Share:
    """What one thread brought.

    Attributes:
        called: a lock that is free once this is done, or it is this thread's turn to run.
        done: some thread ran it.
        error: why its set broke.
        others: the shares of other threads in the set that this thread runs. Its own is not among them: a circle would
            keep its ids until Python looks for garbage, which is seldom.
    """

    ids: Sequence[str]
    called: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False
    error: BaseException | None = None
    others: Sequence["_Share"] = ()

    def call(self) -> None:
        """Let its thread go on; to be called twice does no harm."""
        with suppress(RuntimeError):
            self.called.release()


class Gather:
    """A function over ids that threads call with a few each, and that runs over many.

    A time limit may interrupt a thread at any point, once. So whatever is taken is first noted where it goes to, then
    struck out where it was, and leaving does again whatever may have been left half done.

    Args:
        run: what to do with a set; what it raises is raised in every thread whose share was in the set.
        size_max: how many ids a set holds, unless one thread alone brings more.
        at_once: how many sets run at the same time.
    """

    def __init__(self, run: Callable[[Sequence[str]], None], *, size_max: int, at_once: int) -> None:
        self._run = run
        self._size_max = size_max
        self._at_once = at_once
        self._lock = threading.Lock()
        self._running: set[_Share] = set()
        self._waiting: deque[_Share] = deque()

    @property
    def waiting(self) -> int:
        """Count the threads whose share nobody runs yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Count the sets that run."""
        return len(self._running)

    def __call__(self, ids: Sequence[str]) -> None:
        """Return once these are done, by this thread or another."""
        mine = _Share(ids)
        mine.called.acquire()
        try:
            if not self._line_up(mine):
                mine.called.acquire()
            if not mine.done:
                self._run_set(mine)
            if mine.error is not None:
                raise mine.error  # noqa: TRY301 - whoever raises leaves by the same door as the interrupted
            if mine in self._running:  # called by a thread that was interrupted then, and run by yet another
                self._end(mine, None)
        except BaseException as error:
            self._leave(mine, error)
            raise

    def _line_up(self, mine: _Share) -> bool:
        """Run at once where there is room, else wait; tell which."""
        with self._lock:
            if len(self._running) < self._at_once:
                self._running.add(mine)
                return True
            self._waiting.append(mine)
            return False

    def _leave(self, mine: _Share, error: BaseException) -> None:
        """Wait no longer, and leave nobody waiting: the thread was interrupted, or its set broke."""
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
        self._end(mine, error)

    def _run_set(self, mine: _Share) -> None:
        """Run a set of the share of this thread and of those that wait."""
        self._take(mine)
        error: BaseException | None = None
        try:
            self._run(list(dict.fromkeys(one for share in (mine, *mine.others) for one in share.ids)))
        except BaseException as broke:  # noqa: BLE001 - it is raised again, by each thread that it concerns
            error = broke
        self._end(mine, error)

    def _take(self, mine: _Share) -> None:
        mine.others = others = []
        size = len(mine.ids)
        with self._lock:
            while self._waiting and size + len(self._waiting[0].ids) <= self._size_max:
                others.append(self._waiting[0])
                self._waiting.popleft()
                size += len(others[-1].ids)

    def _end(self, mine: _Share, error: BaseException | None) -> None:
        """Make room, and tell whose shares were in the set; what is done already stays as it is."""
        with self._lock:
            self._running.discard(mine)
            self._call_next()
        for share in (mine, *mine.others):
            if not share.done:
                share.error, share.done = error, True
            share.call()

    def _call_next(self) -> None:
        """Call whoever waits longest to run; with nobody there, the next to come runs at once."""
        while self._waiting and (self._waiting[0] in self._running or len(self._running) < self._at_once):
            self._running.add(self._waiting[0])
            self._waiting[0].call()
            self._waiting.popleft()
