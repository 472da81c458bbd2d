"""Open the database with the durability this service promises, and hand out transactions.

SQLite runs in WAL mode with `synchronous=FULL`: a commit that returned has reached the disk, which is what a 200 to a
platform stands for (https://www.sqlite.org/pragma.html#pragma_synchronous). Write transactions begin IMMEDIATE, so
that two of them queue for the write lock at their start and not in their middle, where SQLite could only fail one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

BUSY_TIMEOUT_SECONDS = 5.0
"""How long a writer waits for the one before it. Platforms hang up sooner or later: 503 is the better answer."""


class StoreUnavailable(Exception):
    """The database could not be reached or did not commit: nothing was stored, try again later."""


class Store:
    """One database, shared by every thread of a process.

    Args:
        url: an SQLAlchemy URL: `sqlite:///file` or `postgresql://…`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that may write; commit at the end, or roll back and raise.

        Raises:
            StoreUnavailable: the database is away, locked for too long, or full.
        """
        with self._transaction(read_only=False) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads, from one snapshot.

        Raises:
            StoreUnavailable: the database is away.
        """
        with self._transaction(read_only=True) as connection:
            yield connection

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self, *, read_only: bool) -> Iterator[Connection]:
        try:
            with self.engine.connect() as plain:
                connection = plain.execution_options(clawback_read_only=read_only)
                with connection.begin():
                    yield connection
        except NoConnectionFree as error:
            raise StoreUnavailable("no_connection_free") from error
        except DBAPIError as error:
            if not _transient(error):
                raise
            raise StoreUnavailable(type(error.orig).__name__) from error


def _transient(error: DBAPIError) -> bool:
    """Tell an absent or busy database from a mistake of ours."""
    if error.connection_invalidated:
        return True
    return type(error.orig).__name__ in {"OperationalError", "InterfaceError"}


def _engine(url: str) -> Engine:
    """Make the engine. The text of its errors may reach a log, so it never quotes what was being stored."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=0, hide_parameters=True)
    if parsed.database:
        # The database holds receipts and users: a directory that we make is ours alone.
        Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(
        parsed, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, pool_size=16, max_overflow=8, hide_parameters=True
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Python's sqlite3 would begin transactions by itself, and deferred ones; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={int(BUSY_TIMEOUT_SECONDS * 1000)}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("clawback_read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
