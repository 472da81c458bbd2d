"""Write lines of the log: what belongs together goes out in one write, as what one turn of an event loop has to say.

A write lets go of the interpreter. Where another thread waits for it, as the one that commits notifications does, each
line cost two changes of threads on top of itself: with them it was a sixth of what a notification costs.

No line is worth an answer: a stream that takes none, as a file on a full disk, costs its lines and nothing else.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO


class Lines:
    """Lines on their way to a stream, for structlog to call by their levels.

    News wait until the event loop's next turn, or until all is said that is said `together`. What is louder, and what
    is said where neither is the case, is written at once and takes along what waits: lines stay in their order, and a
    process that breaks has said why.

    Args:
        stream: takes text.
        missed: is told how many lines the stream did not take, once it takes some again.
    """

    def __init__(self, stream: TextIO, *, missed: Callable[[int], None] = lambda _: None) -> None:
        self._stream = stream
        self._missed = missed
        self._missing = 0
        self._waiting: deque[tuple[str, int]] = deque()
        self._told: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._here = threading.local()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have the news of this thread wait until all of them are said."""
        self._here.waits = True
        try:
            yield
        finally:
            self._here.waits = False
            self.write()

    def info(self, line: str, count: int = 1) -> None:
        """Write a line soon, or so many that are one text."""
        self._waiting.append((line, count))
        if getattr(self._here, "waits", False):
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write()
            return
        if self._told is not loop:
            self._told = loop
            loop.call_soon(self.write)

    def error(self, line: str) -> None:
        """Write a line now."""
        self._waiting.append((line, 1))
        self.write()

    debug = info
    msg = log = warning = warn = failure = err = fatal = critical = exception = error

    def write(self) -> None:
        """Write down what waits."""
        with self._lock:
            self._told = None
            before = self._missing
            if lines := [self._waiting.popleft() for _ in range(len(self._waiting))]:
                self._put(lines)
            back = before and not self._missing
        if back:
            self._missed(before)

    def _put(self, lines: Sequence[tuple[str, int]]) -> None:
        """Write these lines, or count them: what is logged in the middle of an answer must not raise there."""
        # Behind a line of which the stream took one half, the next one begins on its own.
        torn = [""] if self._missing else []
        try:
            self._stream.write("\n".join([*torn, *(line for line, _ in lines), ""]))
            self._stream.flush()
        except OSError:
            self._missing += sum(count for _, count in lines)
        else:
            self._missing = 0
