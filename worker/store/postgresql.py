"""Open PostgreSQL with the durability this service promises, and say in one line why it cannot be had.

Transactions that write are READ COMMITTED: each statement sees what was committed before it began, so what is read
behind a lock is what stands. Transactions that read are REPEATABLE READ: one snapshot from their first statement on
(https://www.postgresql.org/docs/current/transaction-iso.html).
"""

import math
import re
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError

from config.settings import Store as Choices
from worker.store import bulk

DRIVER = "postgresql+psycopg"
INSTALL = "pip install 'clawback[postgresql]'"

# https://www.postgresql.org/docs/current/errcodes-appendix.html
CONTENTION = frozenset({"40001", "40P01", "26000"})
"""serialization_failure, deadlock_detected; invalid_sql_statement_name, after which all is prepared anew."""
OUTAGES = frozenset({"25006", "25P03", "25P04", "57P05"})
"""Of other classes than their nature: read_only_sql_transaction (we talk to a standby, a failover is under way), idle
sessions and transactions that the server ended."""
UNDEFINED = frozenset({"42P01", "42703"})
"""undefined_table, undefined_column."""

WRITERS_QUEUE: Final[bool] = False
ANSWERS_LATER: Final[bool] = True
"""What is sent is answered over a socket, for which an event loop can wait."""
WRITE: Final[Mapping[str, Any]] = {}
READ: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
LOOK: Final = {"isolation_level": "AUTOCOMMIT"}
ONCE: Final = LOOK
"""How a transaction begins: for one statement there is none, and so no round trip to begin and end it."""

REST_SECONDS = 1.0
"""A connection that nobody used for so long may have died without a word."""

FEED_LOCK = 0x636C_6177_0000_0001
MIGRATION_LOCK = 0x636C_6177_0000_0002
SUBSCRIBERS_LOCK = 0x636C_6177_0000_0003
"""Advisory locks are numbers that a whole database shares: ours begin with "claw"."""

_BY_INDEXES = "-c enable_seqscan=off -c enable_incremental_sort=off -c jit=off"
"""All we ask for in a growing table has an index (docs/decisions/0015-few-indexes.md), and yet PostgreSQL reads it
whole where it looks small: until autovacuum has counted a new database, and as long as a session keeps such a plan.
Off only discourages: what no index leads to is read all the same. Up to PostgreSQL 17 that looks so dear that it would
be compiled, for longer than it takes. https://www.postgresql.org/docs/current/runtime-config-query.html says so
(enable_seqscan), and https://www.postgresql.org/docs/current/jit-decision.html

Nor is there anything to be sorted further where an index has the whole order: it looked cheap to read the smaller index
of all that a subscriber waits for, and to sort that, instead of the first entry of a customer's line.
"""

_REASONS = (
    (
        r"connection refused|no such file or directory|could not connect",
        "nothing listens there: start it, or set store.url",
    ),
    (r"could not translate host name|name or service not known", "nobody knows that host: set store.url"),
    (r"timeout expired|connection timeout", "it does not answer in time: look at the network, or at its load"),
    (r"no password supplied", "it asks for a password: put it in store.url, PGPASSWORD or PGPASSFILE"),
    (r"authentication failed", "it refuses this user or password: check store.url, PGPASSWORD or PGPASSFILE"),
    (r"no pg_hba\.conf entry", "its pg_hba.conf lets this user in from nowhere near: add a line"),
    (r'database ".*" does not exist', "there is no such database: create it (createdb), or set store.url"),
    (r'role ".*" does not exist', "there is no such user: create it (createuser), or set store.url"),
    (
        r"too many (clients|connections)|connection slots",
        "it has no connection left: raise max_connections, or lower store.connections",
    ),
    (r"starting up|shutting down|recovery", "it is starting or stopping: wait a moment"),
)
"""What a connection fails with, in the words of libpq and the server: such errors carry no code."""


class DriverMissing(Exception):
    """The database is PostgreSQL and its driver is not installed; the text says how to install it."""


def open_engine(url: URL, choices: Choices) -> Engine:
    """Make the engine; nothing is connected yet. The text of its errors never quotes what was being stored."""
    try:
        engine = create_engine(
            url.set(drivername=DRIVER),
            connect_args=_connect_arguments(url, choices),
            isolation_level="READ COMMITTED",
            # The one used last: its server process has these statements prepared, and their pages at hand.
            pool_use_lifo=True,
            pool_size=choices.connections,
            max_overflow=0,
            pool_timeout=choices.wait_timeout_seconds,
            hide_parameters=True,
        )
    except ImportError as error:
        raise DriverMissing(f"PostgreSQL's driver is not installed ({error.name}): {INSTALL}") from error
    event.listen(engine, "connect", _prepare)
    _look_before_use(engine)
    return engine


def without_waiting(connection: Connection) -> AbstractContextManager[None]:
    """Have the statements of a transaction wait for no answer but those that are read."""
    from worker.store import pipeline  # noqa: PLC0415 - it needs the driver, which is an extra

    return pipeline.opened(connection)


def answering(connection: Connection) -> Iterator[tuple[int, int]]:
    """Have all be answered that was sent: give which socket to wait for, and for which events, before each step."""
    from worker.store import pipeline  # noqa: PLC0415 - as above

    return pipeline.answering(connection)


def may_be_dead(connection: Connection, rested_seconds: float) -> bool:
    """Tell whether a connection may have died since it was used, without asking anybody."""
    return rested_seconds >= REST_SECONDS or _has_news(connection.connection.driver_connection)


def is_contention(error: DBAPIError) -> bool:
    """Tell whether another transaction was in the way."""
    return _code(error) in CONTENTION


def is_outage(error: DBAPIError) -> bool:
    """Tell an outage that its class does not tell."""
    return _code(error) in OUTAGES


def is_undefined(error: DBAPIError) -> bool:
    """Tell whether a table or a column is not there."""
    return _code(error) in UNDEFINED


def describe(error: DBAPIError, url: URL) -> str:
    """Say in one line what was wrong, and if it was the way in, where and what to do. No password gets into it."""
    if _code(error) or not isinstance(error.orig, Exception):
        return type(error.orig).__name__
    said = str(error.orig)
    for pattern, advice in _REASONS:
        if re.search(pattern, said, flags=re.IGNORECASE):
            return f"{_place(url)}: {advice}"
    return f"{_place(url)}: {type(error.orig).__name__}"


def lock_feed(connection: Connection) -> None:
    """Let one transaction at a time number events, from here to its commit; on SQLite there is only one anyway.

    A number is taken when its row is inserted and seen when its transaction commits. Two transactions that committed in
    the other order would show a reader the higher number first, and the lower one never.
    """
    if connection.dialect.name == "postgresql":
        # Nobody waits for the lock here: what is sent next waits for it there.
        bulk.send(connection, "SELECT pg_advisory_xact_lock(%b)", (FEED_LOCK,))


def may_be_lost(connection: Connection) -> None:
    """Have this one transaction not wait for the disk: a server that dies may forget it, and never a part of it.

    Nothing that is committed later by anybody is on the disk without it.
    """
    if connection.dialect.name == "postgresql":
        bulk.send(connection, "SET LOCAL synchronous_commit = off", ())


def walk_in_order(connection: Connection) -> None:
    """Have what is still asked in this transaction walk the index that has its order, and sort nothing instead.

    A large table is counted seldom. Where nothing waited just then, PostgreSQL takes whatever waits for nothing at all:
    it reads the smaller of two indexes from end to end and sorts that, for each look. Off only discourages, as above;
    but what needs to be sorted is planned badly with it, so it is not for whole sessions.
    """
    if connection.dialect.name == "postgresql":
        bulk.send(connection, "SELECT set_config('enable_sort', 'off', true)", ())


def lock_subscribers(connection: Connection) -> None:
    """Let one transaction at a time make subscribers, from here to its commit: what it counts is what there is.

    To be taken before anything else in that transaction, so that nobody waits for it with a row that another needs.
    """
    _lock(connection, SUBSCRIBERS_LOCK)


def end_silent(connection: Connection, seconds: float) -> int:
    """End sessions like ours that hold rows and whose process said nothing more for so long; tell how many.

    `idle_in_transaction_session_timeout` does not see them: in a pipeline a session counts as active until its Sync
    (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING), though all it does is wait
    for a process that was stopped, or a host that is gone. What it held is free at once, and it has committed nothing.
    """
    if connection.dialect.name != "postgresql":
        return 0
    return int(connection.execute(_END_SILENT, {"seconds": seconds}).scalar_one())


_END_SILENT = text(
    """
    SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
        AND application_name = current_setting('application_name')
        AND backend_xid IS NOT NULL AND state = 'active' AND wait_event_type = 'Client'
        AND state_change < clock_timestamp() - make_interval(secs => :seconds)"""
)


def lock_migration(connection: Connection) -> None:
    """Let one process at a time bring the tables up to date, however long it takes; it may read them whole."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL enable_seqscan = on"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
    _lock(connection, MIGRATION_LOCK)


def _lock(connection: Connection, number: int) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def _connect_arguments(url: URL, choices: Choices) -> dict[str, Any]:
    """Give libpq our defaults; what the URL says itself stands."""
    ours: dict[str, Any] = {
        "application_name": "clawback",
        "connect_timeout": max(1, round(choices.connect_timeout_seconds)),
        # A server whose host is gone says nothing: https://www.postgresql.org/docs/current/libpq-connect.html
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": int(choices.statement_timeout_seconds * 1000),
    }
    limits = {
        "statement_timeout": choices.statement_timeout_seconds,
        "lock_timeout": choices.wait_timeout_seconds,
        "idle_in_transaction_session_timeout": choices.statement_timeout_seconds,
    }
    options = " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items())
    asked = url.query.get("options", "")
    return {name: value for name, value in ours.items() if name not in url.query} | {
        # Of what is said twice the last holds, and that is what the URL says.
        "options": f"{_BY_INDEXES} {options} {asked if isinstance(asked, str) else ' '.join(asked)}".strip()
    }


def _prepare(connection: Any, _record: Any) -> None:
    """Have every commit reach the disk, even where the server or the role has been told not to wait for it."""
    from worker.store import dumpers, pipeline  # noqa: PLC0415 - they need the driver, which is an extra

    dumpers.register(connection)
    connection.cursor_factory = pipeline.AnsweredCursor
    was, connection.autocommit = connection.autocommit, True
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    ).close()
    connection.autocommit = was


def _look_before_use(engine: Engine) -> None:
    """Look whether a connection still lives before it is used: one that died costs a look, not a request.

    SQLAlchemy's own look (`pool_pre_ping`) is a round trip for every transaction. A server that ends a connection says
    so, and an idle one says nothing else: whether there is something to read is known without asking anybody. Only a
    connection that rested is asked, since its host may be gone without a word.
    """

    def came_back(_connection: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    def goes_out(connection: Any, record: Any, _proxy: Any) -> None:
        rested_seconds = time.monotonic() - record.info.get("rests_since", math.inf)
        if rested_seconds < REST_SECONDS and not _has_news(connection):
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception as error:
            raise DisconnectionError from error

    event.listen(engine, "checkin", came_back)
    event.listen(engine, "checkout", goes_out)


def _has_news(connection: Any) -> bool:
    """Tell whether the server sent something that nobody asked for."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _code(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _place(url: URL) -> str:
    host = url.host or url.query.get("host") or "its socket"
    port = f":{url.port}" if url.port else ""
    return f"{host}{port}/{url.database or ''}" if isinstance(host, str) else f"{', '.join(host)}/{url.database or ''}"
