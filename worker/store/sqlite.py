"""Open SQLite with the durability this service promises.

It runs in WAL mode with `synchronous=FULL`: a commit that returned has reached the disk, which is what a 200 to a
platform stands for (https://www.sqlite.org/pragma.html#pragma_synchronous). Write transactions begin IMMEDIATE, so
that two of them queue for the write lock at their start and not in their middle, where SQLite could only fail one.

SQLite has no queue: whoever waits asks again, by itself ten times a second, and a writer that never rests is there
first each time. So we ask more often, and who finds others waiting waits with them: everybody has turns alike.
"""

import random
import re
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from sqlite3 import SQLITE_BUSY, OperationalError
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from config.settings import Store as Choices
from worker.room import is_full
from worker.store.crowd import Crowd
from worker.store.tables import metadata

WRITERS_QUEUE: Final[bool] = True
ANSWERS_LATER: Final[bool] = False
WRITE: Final = {"clawback_read_only": False}
READ: Final = {"clawback_read_only": True}
LOOK: Final = READ
ONCE: Final = WRITE
"""How a transaction begins. One statement of ours is many for its driver, which makes one of each row."""

ASK_AGAIN_SECONDS: Final = (0.000_5, 0.002)
"""How long a writer waits before it asks for the lock again: shorter than what others do between two transactions."""


CACHE_KB: Final = 8_192
LOG_PAGES: Final = 8_000
"""How much of the file a connection keeps at hand, and how many pages its log may have before they go into the file.

Ids are hashes, so the rows of one set lie on as many pages. At SQLite's own 1,000 nearly each set worked its pages into
the file, and waited for the disk twice more; at 8,000, 32 MB, a page that several sets changed goes there once
(https://www.sqlite.org/wal.html, "Performance Considerations"). Nothing is durable any later: a commit is, in the log.
"""


def open_engine(url: URL, choices: Choices) -> Engine:
    """Make the engine. The text of its errors may reach a log, so it never quotes what was being stored.

    A writer waits for the one before it, but not long: platforms hang up sooner or later, and 503 is the better answer.
    """
    if url.database:
        # The database holds receipts and users: a directory that we make is ours alone.
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    wait_seconds, crowd = choices.wait_timeout_seconds, Crowd(Path(url.database or "").parent)
    _tell_tables()
    engine = create_engine(
        url, connect_args={"timeout": wait_seconds}, pool_size=16, max_overflow=8, hide_parameters=True
    )

    def prepare(connection: Any, _record: Any) -> None:
        # Python's sqlite3 would begin transactions by itself, and deferred ones; `begin` does it instead.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={int(wait_seconds * 1000)}",
            f"cache_size=-{CACHE_KB}",
            f"wal_autocheckpoint={LOG_PAGES}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("clawback_read_only", False):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_immediate(connection, wait_seconds, crowd)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _tell_tables() -> None:
    """Tell tables and indexes what is said of them for SQLite."""
    for table in metadata.tables.values():
        table.dialect_options["sqlite"].update(table.info.get("sqlite", {}))
        for index in table.indexes:
            index.dialect_options["sqlite"].update(index.info.get("sqlite", {}))


def without_waiting(_connection: Connection) -> AbstractContextManager[None]:
    """Do nothing: it answers at once."""
    return nullcontext()


def may_be_dead(_connection: Connection, _rested_seconds: float) -> bool:
    """Tell whether a connection may have died since it was used: never, it is a file."""
    return False


def is_contention(_error: DBAPIError) -> bool:
    """Tell whether another transaction was in the way: never, writers queue at their start."""
    return False


def is_outage(_error: DBAPIError) -> bool:
    """Tell an outage that its class does not tell: none."""
    return False


def is_undefined(error: DBAPIError) -> bool:
    """Tell whether a table or a column is not there, which SQLite says in words alone."""
    return re.match(r"no such (table|column)|table \S+ has no column", str(error.orig)) is not None


def describe(error: DBAPIError, url: URL) -> str:
    """Say what was wrong, and of a disk what to do (https://www.sqlite.org/rescode.html)."""
    kind, file = str(getattr(error.orig, "sqlite_errorname", "")), Path(url.database or "")
    # What fails for want of room beside the file, in the log or what processes share, is an error of I/O to SQLite.
    if kind == "SQLITE_FULL" or (kind.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and is_full(file)):
        return f"{file}: the disk is full: make room there"
    if kind.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return f"{file}: cannot be opened to write: let this user write the file and its directory"
    return type(error.orig).__name__


def _begin_immediate(connection: Connection, wait_seconds: float, crowd: Crowd) -> None:
    """Take the write lock, or fail as SQLite does once the time is over."""
    sqlite: Any = connection.connection.driver_connection
    until = time.monotonic() + wait_seconds
    sqlite.execute("PRAGMA busy_timeout=0").close()
    try:
        if crowd.is_there() or _another_writes(sqlite):
            with crowd.joined():
                _ask_again(sqlite, until)
        if not sqlite.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        # Everything else has to wait seldom, when a process that died is cleared up after, and does so inside SQLite:
        # https://www.sqlite.org/wal.html, "Sometimes Queries Return SQLITE_BUSY In WAL Mode".
        sqlite.execute(f"PRAGMA busy_timeout={int(wait_seconds * 1000)}").close()


def _ask_again(sqlite: Any, until: float) -> None:
    """Ask for the write lock until it is ours, or the time is over."""
    while time.monotonic() < until:
        time.sleep(random.uniform(*ASK_AGAIN_SECONDS))  # noqa: S311 - so that two that wait do not ask as one
        if not _another_writes(sqlite):
            return


def _another_writes(sqlite: Any) -> bool:
    """Try to take the write lock, and tell whether another has it."""
    try:
        sqlite.execute("BEGIN IMMEDIATE").close()
    except OperationalError as error:
        return error.sqlite_errorcode & 0xFF == SQLITE_BUSY  # whatever else it is, the next one to try says so
    return False
