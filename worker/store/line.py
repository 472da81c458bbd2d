"""Speak to one PostgreSQL connection in order, and wait for no answer before it is read.

The driver's cursors wait for the socket around every statement, look it up in two caches and take its text apart. Ours
are constants with values of a few kinds, so this goes past them to the library below, for a third of the time:
https://www.psycopg.org/psycopg3/docs/api/pq.html is how Python calls it, and
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html what it expects.
"""

import itertools
import re
import select
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq.abc import PGresult

SENT_TOGETHER: Final = 4
"""So many statements go at once: the server works on them while we write the next ones, and is not woken for each."""
LOOK_EVERY_MS: Final = 100
"""How long a thread waits before Python may interrupt it, as a time limit does."""
NAMED_MAX: Final = 256
"""Statements that a connection keeps prepared: ours are constants, and far fewer."""
NOT_PREPARED: Final = "26000"
"""invalid_sql_statement_name: somebody had the server forget what it had prepared."""

T = TypeVar("T")

Driver = psycopg.Connection[Any]
_Key = tuple[str, Sequence[int]]
"""A text, and the types of its values."""

_FORMATS: Final = {"b": PyFormat.BINARY, "t": PyFormat.TEXT}
_NUMBERS: Final = itertools.count()
_NAMES: Final[WeakKeyDictionary[Driver, dict[_Key, bytes]]] = WeakKeyDictionary()


@dataclass(slots=True, eq=False)
class Reply:
    """What the server says to one command; None: it is not read yet.

    Attributes:
        prepares: what it is to keep under a name.
    """

    result: PGresult | None = None
    prepares: _Key | None = None


class Line:
    """What is on its way on one connection.

    Args:
        driver: the connection; it begins no transaction by itself.
        begin: what begins the transaction, before anything else is said; empty: each statement is its own.
    """

    def __init__(self, driver: Driver, begin: str = "") -> None:
        self._driver = driver
        self._server = driver.pgconn
        self._values = Transformer(driver)
        self._names = _NAMES.setdefault(driver, {})
        self._unread: deque[Reply] = deque()
        self._piped, self._unsent = False, 0
        self._begin = begin
        self._in_transaction = bool(begin)
        self.is_sure = True
        """What is unread is what was asked: nobody was interrupted while asking or reading, or it would still be False.
        No context manager says so: one for each statement is a tenth of what sending it costs."""

    def send(self, text: str, values: Sequence[Any]) -> Reply:
        """Send a statement of ours, with `%b` or `%t` where a value goes in binary form or as text."""
        asked, formats = _in_their_words(text)
        if self._begin:
            begin, self._begin = self._begin, ""
            self.send(begin, ())
        given = self._values.dump_sequence(values, formats)
        self.is_sure = False
        if not self._piped:
            self._server.enter_pipeline_mode()
            self._piped = True
        name = self._named((text, self._values.types or ()), asked)
        # Answers in binary form: a body as text is twice as long, and written and read digit by digit.
        self._server.send_query_prepared(name, given, self._values.formats, pq.Format.BINARY)
        reply = Reply()
        self._unread.append(reply)
        self._unsent += 1
        if self._unsent >= SENT_TOGETHER:
            self._waited(self._leave())
        self.is_sure = True
        return reply

    def read(self, reply: Reply) -> PGresult:
        """Wait for a reply, and so for all before it.

        Raises:
            psycopg.Error: one of them is a refusal.
        """
        if not self._in_transaction:
            self.settle()  # a statement that is its own transaction is done with it
        elif reply.result is None:
            self._read_up_to(reply)
        if reply.result is None:
            raise psycopg.InterfaceError("nothing more is said on this line")
        return reply.result

    def rows(self, result: PGresult) -> Sequence[tuple[Any, ...]]:
        """Give the rows of a result."""
        self._values.set_pgresult(result)
        return self._values.load_rows(0, result.ntuples, tuple)

    def settle(self) -> None:
        """Wait for every reply.

        Raises:
            psycopg.Error: the first that is a refusal.
        """
        self._waited(self.settling())

    def settling(self) -> Generator[int, None, None]:
        """Do the same for an event loop: give for which events of the socket it has to wait before each further step.

        Raises:
            psycopg.Error: the first that is a refusal.
        """
        if not self._piped:
            return
        self.is_sure = False
        self._server.pipeline_sync()
        yield from self._leave()
        refusal = None
        for _ in range(len(self._unread)):
            said = yield from self._take()
            refusal = refusal or said
        yield from self._next()  # the sync's own
        self._server.exit_pipeline_mode()
        self._piped = False
        self.is_sure = True
        if refusal is not None:
            raise refusal

    def commit(self) -> None:
        """End what was begun, and wait for all of it.

        Raises:
            psycopg.Error: it is not committed.
        """
        if self._in_transaction and not self._begin:
            self.send("COMMIT", ())
        self.settle()

    def roll_back(self) -> None:
        """Take back what was begun.

        Raises:
            psycopg.Error: the connection is of no use any more.
        """
        if not self.is_sure:
            raise psycopg.InterfaceError("interrupted in the middle of an answer")
        with suppress(psycopg.Error):
            self.settle()
        if self._server.transaction_status != pq.TransactionStatus.IDLE:
            self.send("ROLLBACK", ())
            self.settle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let the driver itself say something; nothing else is on its way meanwhile, and it is answered at the end."""
        self.settle()
        if not self._begin:
            yield
            return
        begin, self._begin = self._begin, ""
        with self._driver.pipeline() as pipeline:
            try:
                psycopg.Cursor(self._driver).execute(begin)
                yield
            except psycopg.Error:
                with suppress(psycopg.Error):  # what is still on its way broke for the same reason
                    pipeline.sync()
                raise

    def _named(self, key: _Key, asked: bytes) -> bytes:
        """Name a statement that the server has prepared, or is asked to prepare before it comes to it."""
        if name := self._names.get(key):
            return name
        if len(self._names) < NAMED_MAX:
            name = self._names[key] = b"clawback_%d" % next(_NUMBERS)
        else:
            name = b""
        self._server.send_prepare(name, asked, key[1])
        self._unread.append(Reply(prepares=key))
        return name

    def _read_up_to(self, reply: Reply) -> None:
        self.is_sure = False
        self._server.send_flush_request()
        self._waited(self._leave())
        refusal = None
        while refusal is None and reply in self._unread:
            refusal = self._waited(self._take())
        self.is_sure = True
        if refusal is not None:
            raise refusal

    def _take(self) -> Generator[int, None, psycopg.Error | None]:
        """Read the next reply, and tell if it is a refusal."""
        result = yield from self._next()
        while result is not None and (yield from self._next()) is not None:
            pass  # to the end of what is said to this one
        reply = self._unread.popleft()
        reply.result = result
        if result is not None and result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            return None
        if reply.prepares is not None:
            self._names.pop(reply.prepares, None)
        return self._refusal(result)

    def _refusal(self, result: PGresult | None) -> psycopg.Error:
        if result is None:
            return psycopg.OperationalError("the connection ended")
        if result.status == pq.ExecStatus.PIPELINE_ABORTED:
            return errors.PipelineAborted("refused with what was sent before")
        refusal = errors.error_from_result(result, self._driver.info.encoding)
        if refusal.sqlstate == NOT_PREPARED:
            self._names.clear()
        return refusal

    def _next(self) -> Generator[int, None, PGresult | None]:
        while self._server.is_busy():
            yield select.POLLIN
            self._server.consume_input()
        return self._server.get_result()

    def _leave(self) -> Generator[int, None, None]:
        """Have everything leave; what the server has to say may have to come first."""
        self._unsent = 0
        while self._server.flush():
            yield select.POLLIN | select.POLLOUT
            self._server.consume_input()

    def _waited(self, steps: Generator[int, None, T]) -> T:
        """Go through steps, and let this thread wait before each."""
        while True:
            try:
                events = next(steps)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]  # what the steps return is of their type
            self._wait(events)

    def _wait(self, events: int) -> None:
        poll = select.poll()
        poll.register(self._server.socket, events)
        while not poll.poll(LOOK_EVERY_MS):
            pass


@lru_cache(maxsize=512)
def _in_their_words(text: str) -> tuple[bytes, Sequence[PyFormat]]:
    """Write a text as the server takes it, and list in which form its values go."""
    first, *parts = re.split(r"%([bt])", text)
    kinds, between = parts[::2], parts[1::2]
    numbered = "".join(f"${number}{after}" for number, after in enumerate(between, start=1))
    return f"{first}{numbered}".encode(), tuple(_FORMATS[kind] for kind in kinds)
