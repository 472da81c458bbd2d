"""A wire between two real processes that can be held at one exact word, cut, or taken away.

To kill a process at the gap between two stations, hold what it says, or what it is answered, there: it waits as it
would for a slow network, and then it is killed. Nothing of ours is patched; whoever is at both ends is real.
"""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

CHUNK_BYTES = 65_536
HELD_SECONDS_MAX = 300.0
"""Nobody may wait for a test that has failed."""

Splitter = Callable[[], Callable[[bytes], Iterable[tuple[bytes, bytes]]]]
"""Makes the reader of one connection: bytes as they come → pieces, each with what it says."""


def as_it_comes() -> Callable[[bytes], Iterable[tuple[bytes, bytes]]]:
    """Take whatever comes at once for one piece that says what it is: true of small commands in plain text."""
    return lambda data: [(data, data)]


@dataclass(eq=False)
class Hold:
    """A wait at a word.

    Attributes:
        words: what must be said on one connection, one after the other.
        answer: let the last word pass, and hold what is answered from there on.
    """

    words: tuple[bytes, ...]
    answer: bool
    reached: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _passes: bool = False

    def release(self) -> None:
        """Let it go on as if nothing had happened."""
        self._passes = True
        self._over.set()

    def drop(self) -> None:
        """End the connection: what was held is lost."""
        self._over.set()

    def wait(self) -> bool:
        """Wait for the end of it; tell whether what was held goes on."""
        self.reached.set()
        self._over.wait(HELD_SECONDS_MAX)
        return self._passes


class Proxy:
    """Somebody on loopback who passes on what is said to and fro. Open it with `with`.

    Args:
        upstream: connects to the real one.
        split: how what is said falls into pieces.
    """

    def __init__(self, upstream: Callable[[], socket.socket], split: Splitter = as_it_comes) -> None:
        self._upstream, self._split = upstream, split
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._links: set[_Link] = set()
        self._holds: list[Hold] = []
        self._lock = threading.Lock()
        self._refuses = False
        self._may_speak = threading.Event()
        self._may_speak.set()
        self._taking = threading.Thread(target=self._take, daemon=True)

    @contextmanager
    def hold(self, *words: bytes, answer: bool = False) -> Iterator[Hold]:
        """Hold the first connection on which these words are said; what is still held in the end is dropped."""
        hold = Hold(words, answer)
        with self._lock:
            self._holds.append(hold)
        try:
            yield hold
        finally:
            with self._lock, suppress(ValueError):
                self._holds.remove(hold)
            hold.drop()

    def cut(self) -> int:
        """Cut every connection, and count them; new ones are taken."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()
        return len(links)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be unreachable: every connection is cut, and no other is taken."""
        self._refuses = True
        self.cut()
        try:
            yield
        finally:
            self._refuses = False

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Take every connection and what is said on it, and never answer."""
        self._may_speak.clear()
        try:
            yield
        finally:
            self._may_speak.set()
            self.cut()

    def wait_to_answer(self) -> None:
        """Wait while nobody may hear an answer."""
        self._may_speak.wait(HELD_SECONDS_MAX)

    def heard(self, link: "_Link", says: bytes) -> Hold | None:
        """Follow what is said on a connection; give the hold whose last word this was."""
        with self._lock:
            for hold in self._holds:
                said = link.said.get(hold, 0) + (hold.words[link.said.get(hold, 0)] in says)
                link.said[hold] = said
                if said == len(hold.words):
                    self._holds.remove(hold)  # one connection is held, the others go on
                    return hold
        return None

    def __enter__(self) -> Self:
        self._taking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._refuses = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._taking.join()
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()
            link.join()

    def _take(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                near.close()
                continue
            try:
                link = _Link(self, near, self._upstream(), self._split())
            except OSError:  # the real one is away
                near.close()
                continue
            with self._lock:
                self._links.add(link)
                link.start()

    def forget(self, link: "_Link") -> None:
        """Forget a connection that has ended."""
        with self._lock:
            self._links.discard(link)


class _Link:
    """One connection: a thread for each direction."""

    def __init__(self, proxy: Proxy, near: socket.socket, far: socket.socket, read: Any) -> None:
        self._proxy, self._near, self._far, self._read = proxy, near, far, read
        self.said: dict[Hold, int] = {}
        self._held_answer: Hold | None = None
        self._asking = threading.Thread(target=self._pump, args=(self._ask,), daemon=True)
        self._answering = threading.Thread(target=self._pump, args=(self._answer,), daemon=True)
        self._life = threading.Thread(target=self._until_its_end, daemon=True)

    def start(self) -> None:
        self._life.start()

    def close(self) -> None:
        for end in (self._near, self._far):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        self._life.join()

    def _until_its_end(self) -> None:
        with self._near, self._far:
            for thread in (self._asking, self._answering):
                thread.start()
            for thread in (self._asking, self._answering):
                thread.join()
        self._proxy.forget(self)

    def _pump(self, pump: Callable[[], None]) -> None:
        with suppress(OSError):
            pump()
        self.close()

    def _ask(self) -> None:
        while data := self._near.recv(CHUNK_BYTES):
            for piece, says in self._read(data):
                hold = self._proxy.heard(self, says)
                if hold is not None and hold.answer:
                    self._held_answer = hold
                elif hold is not None and not hold.wait():
                    return
                self._far.sendall(piece)

    def _answer(self) -> None:
        while data := self._far.recv(CHUNK_BYTES):
            if self._held_answer is not None and not self._held_answer.wait():
                return
            self._proxy.wait_to_answer()
            self._near.sendall(data)
