"""Gather what several threads were given into one set, and let few of them run: the others wait for theirs to be done.

An idle process runs what comes at once, however little that is. Whatever comes meanwhile waits, and the next one to run
takes all of it, without a timer that would delay anything. A thread returns when its own share is done and not before,
so a message is acknowledged after its rows are committed.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Share:
    """What one thread brought.

    Attributes:
        called: it is done, or it is this thread's turn to run.
        error: why its set broke.
    """

    ids: Sequence[str]
    called: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    error: BaseException | None = None


class Gather:
    """A function over ids that threads call with a few each, and that runs over many.

    Args:
        run: what to do with a set; what it raises is raised in every thread whose share was in the set.
        size_max: how many ids a set holds, unless one thread alone brings more.
        at_once: how many sets run at the same time.
    """

    def __init__(self, run: Callable[[Sequence[str]], None], *, size_max: int, at_once: int) -> None:
        self._run = run
        self._size_max = size_max
        self._at_once = self._free = at_once
        self._lock = threading.Lock()
        self._waiting: deque[_Share] = deque()

    @property
    def waiting(self) -> int:
        """Count the threads whose share nobody runs yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Count the sets that run."""
        return self._at_once - self._free

    def __call__(self, ids: Sequence[str]) -> None:
        """Return once these are done, by this thread or another."""
        mine = _Share(ids)
        try:
            self._line_up(mine)
            mine.called.wait()
        except BaseException:
            self._leave(mine)
            raise
        if not mine.done:
            self._run_set(mine)
        if mine.error is not None:
            raise mine.error

    def _line_up(self, mine: _Share) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                mine.called.set()
            else:
                self._waiting.append(mine)

    def _leave(self, mine: _Share) -> None:
        """Wait no longer: a time limit interrupted the thread. If it was its turn to run, it is the next one's."""
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
            elif mine.called.is_set() and not mine.done:
                self._call_next()

    def _run_set(self, mine: _Share) -> None:
        """Run a set of the share of this thread and of those that wait."""
        shares = self._take(mine)
        error: BaseException | None = None
        try:
            self._run(list(dict.fromkeys(one for share in shares for one in share.ids)))
        except BaseException as broke:  # noqa: BLE001 - it is raised again, by each thread that it concerns
            error = broke
        with self._lock:
            self._call_next()
        for share in shares:
            share.done, share.error = True, error
            share.called.set()

    def _take(self, mine: _Share) -> list[_Share]:
        shares, size = [mine], len(mine.ids)
        with self._lock:
            while self._waiting and size + len(self._waiting[0].ids) <= self._size_max:
                shares.append(self._waiting.popleft())
                size += len(shares[-1].ids)
        return shares

    def _call_next(self) -> None:
        """Call whoever waits longest to run; with nobody there, the next to come runs at once."""
        if self._waiting:
            self._waiting.popleft().called.set()
        else:
            self._free += 1
