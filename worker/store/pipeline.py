"""Send statements to PostgreSQL without waiting for each answer: all that is sent before one is read is one round trip.

Within `opened`, whatever `send` is given is on its way soon, and only who reads an answer waits, for it and for what
was sent before. What PostgreSQL refuses is raised there, by a later statement or at the end: nothing is committed then,
and it is the same kind of error as ever. Statements that SQLAlchemy writes are answered at once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from worker.store.line import Driver, Line, Reply

_OPEN: WeakKeyDictionary[Driver, Line] = WeakKeyDictionary()


class AnsweredCursor(psycopg.Cursor[Any]):
    """A cursor for whoever takes it that a statement is done when `execute` returns, as SQLAlchemy does."""

    def execute(self, *args: Any, **kwargs: Any) -> "AnsweredCursor":
        """Execute after all that was sent, and wait for the answer."""
        with _aside(self.connection):
            super().execute(*args, **kwargs)
        return self

    def executemany(self, *args: Any, **kwargs: Any) -> None:
        """Execute for each after all that was sent, and wait for the answers."""
        with _aside(self.connection):
            super().executemany(*args, **kwargs)


class Answer:
    """What becomes of one statement; whoever looks waits for it."""

    def __init__(self, connection: Connection, line: Line, reply: Reply) -> None:
        self._connection = connection
        self._line = line
        self._reply = reply

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        try:
            rows = self._line.rows(self._line.read(self._reply))
        except psycopg.Error as error:
            raise _translated(self._connection, error) from error
        yield from rows

    def count(self) -> int:
        """Tell how many rows were written."""
        try:
            return self._line.read(self._reply).command_tuples or 0
        except psycopg.Error as error:
            raise _translated(self._connection, error) from error


@contextmanager
def opened(connection: Connection) -> Iterator[None]:
    """Have what is sent in here wait for no answer.

    The transaction begins with what is sent first, and the commit goes out with what was sent last: for the answers to
    both is waited at the end, once.
    """
    driver: Any = connection.connection.driver_connection
    try:
        with _opened(connection, driver) as line:
            yield
            line.commit()
    except psycopg.Error as error:
        raise _translated(connection, error) from error


@contextmanager
def _opened(connection: Connection, driver: Driver) -> Iterator[Line]:
    """Keep the driver from beginning a transaction by itself: it waits for the answer to that, pipeline or not.

    https://github.com/psycopg/psycopg/blob/3.3.9/psycopg/psycopg/_connection_base.py, `_start_query`.
    """
    begins = not driver.autocommit
    line = _OPEN[driver] = Line(driver, _begin(driver) if begins else "")
    try:
        if begins:
            driver.autocommit = True
        yield line
    finally:
        del _OPEN[driver]
        try:
            line.roll_back()  # says nothing where all is committed
            if begins:
                driver.autocommit = False
        except psycopg.Error:  # it died, or was interrupted: nobody may have it again
            connection.invalidate()


def _begin(driver: Any) -> str:
    level, only = driver.isolation_level, " READ ONLY" if driver.read_only else ""
    return f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}{only}"


def _aside(driver: Driver) -> Any:
    return _OPEN[driver].aside() if driver in _OPEN else nullcontext()


def send(connection: Connection, text: str, values: Sequence[Any]) -> Answer:
    """Send one statement.

    Args:
        connection: a transaction, within `opened`.
        text: SQL of our own, in the driver's words.
        values: of its parameters.
    """
    driver: Any = connection.connection.driver_connection
    if hearing := connection.engine.dispatch.before_cursor_execute:
        cursor = psycopg.Cursor(driver)
        for hear in hearing:  # as SQLAlchemy tells of statements of its own
            hear(connection, cursor, text, values, None, False)  # noqa: FBT003 - the hook's own signature
    line = _OPEN[driver]
    try:
        return Answer(connection, line, line.send(text, values))
    except psycopg.Error as error:
        raise _translated(connection, error) from error


def answering(connection: Connection) -> Iterator[tuple[int, int]]:
    """Have all be answered that was sent: give which socket to wait for, and for which events, before each step.

    Whoever reads an answer afterwards waits for nothing. What is refused is raised.
    """
    driver: Any = connection.connection.driver_connection
    for events in _OPEN[driver].settling():
        yield driver.pgconn.socket, events


def _translated(connection: Connection, error: psycopg.Error) -> BaseException:
    """Say what the driver says as SQLAlchemy does, so that it means the same; a connection that died is dropped."""
    driver: Any = None if connection.invalidated else connection.connection.driver_connection
    dead = driver is None or driver.closed
    if driver is not None and dead:
        connection.invalidate(error)
    return DBAPIError.instance(
        None,
        None,
        error,
        psycopg.Error,
        hide_parameters=True,
        connection_invalidated=bool(dead),
        dialect=connection.dialect,
    )
