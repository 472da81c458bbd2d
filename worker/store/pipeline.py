"""Send statements to PostgreSQL without waiting for each answer: all that is sent before one is read is one round trip.

Within `opened`, whatever `send` is given is on its way at once, and only who reads an answer waits, for it and for what
was sent before. What PostgreSQL refuses is raised there, by a later statement or at the end: nothing is committed then,
and it is the same kind of error as ever. Statements that SQLAlchemy writes are answered at once.

https://www.psycopg.org/psycopg3/docs/advanced/pipeline.html
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

_OPEN: WeakKeyDictionary[psycopg.Connection[Any], psycopg.Pipeline] = WeakKeyDictionary()


class AnsweredCursor(psycopg.Cursor[Any]):
    """A cursor for whoever takes it that a statement is done when `execute` returns, as SQLAlchemy does."""

    def execute(self, *args: Any, **kwargs: Any) -> "AnsweredCursor":
        """Execute, and wait for the answer."""
        super().execute(*args, **kwargs)
        self._wait()
        return self

    def executemany(self, *args: Any, **kwargs: Any) -> None:
        """Execute for each, and wait for the answers."""
        super().executemany(*args, **kwargs)
        self._wait()

    def _wait(self) -> None:
        if self.connection in _OPEN:
            _OPEN[self.connection].sync()


class Answer:
    """What becomes of one statement; whoever looks waits for it."""

    def __init__(self, connection: Connection, cursor: psycopg.Cursor[Any]) -> None:
        self._connection = connection
        self._cursor = cursor

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        with _translation(self._connection):
            rows = self._cursor.fetchall()
        yield from rows

    def count(self) -> int:
        """Tell how many rows were written."""
        if self._cursor.rowcount < 0 and self._cursor.connection in _OPEN:
            with _translation(self._connection):
                _OPEN[self._cursor.connection].sync()
        return self._cursor.rowcount


@contextmanager
def opened(connection: Connection) -> Iterator[None]:
    """Have what is sent in here wait for no answer, where libpq can do that (14 and newer).

    The transaction begins with what is sent first, and the commit goes out with what was sent last: for the answers to
    both is waited at the end, once.
    """
    driver: Any = connection.connection.driver_connection
    if driver.autocommit or not psycopg.Pipeline.is_supported():
        yield
        return
    with _translation(connection), _begun_by_us(connection, driver), driver.pipeline() as pipeline:
        _OPEN[driver] = pipeline
        try:
            psycopg.Cursor(driver).execute(_begin(driver))
            yield
            psycopg.Cursor(driver).execute("COMMIT")
        except BaseException:
            # What is still on its way broke for the same reason.
            with suppress(psycopg.Error):
                pipeline.sync()
            raise
        finally:
            del _OPEN[driver]


@contextmanager
def _begun_by_us(connection: Connection, driver: Any) -> Iterator[None]:
    """Keep the driver from beginning a transaction by itself: it waits for the answer to that, pipeline or not.

    https://github.com/psycopg/psycopg/blob/3.3.9/psycopg/psycopg/_connection_base.py, `_start_query`.
    """
    driver.autocommit = True
    try:
        yield
    finally:
        try:
            driver.rollback()  # says nothing where all is committed
            driver.autocommit = False
        except psycopg.Error:  # it died, or was interrupted: nobody may have it again
            connection.invalidate()


def _begin(driver: Any) -> str:
    level, only = driver.isolation_level, " READ ONLY" if driver.read_only else ""
    return f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}{only}"


def send(connection: Connection, text: str, values: Sequence[Any]) -> Answer:
    """Send one statement.

    Args:
        connection: a transaction.
        text: SQL of our own, in the driver's words.
        values: of its parameters.
    """
    driver: Any = connection.connection.driver_connection
    cursor: psycopg.Cursor[Any] = psycopg.Cursor(driver)
    for hear in connection.engine.dispatch.before_cursor_execute:  # as SQLAlchemy tells of statements of its own
        hear(connection, cursor, text, values, None, False)  # noqa: FBT003 - the hook's own signature
    with _translation(connection):
        cursor.execute(text, values)
    return Answer(connection, cursor)


@contextmanager
def _translation(connection: Connection) -> Iterator[None]:
    """Raise what the driver raises as SQLAlchemy does, so that it means the same; a connection that died is dropped."""
    try:
        yield
    except psycopg.Error as error:
        driver: Any = None if connection.invalidated else connection.connection.driver_connection
        dead = driver is None or driver.closed
        if driver is not None and dead:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None,
            None,
            error,
            psycopg.Error,
            hide_parameters=True,
            connection_invalidated=bool(dead),
            dialect=connection.dialect,
        ) from error
