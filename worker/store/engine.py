"""Hand out transactions of the one database, whichever it is, and say what it means when there is none to be had.

How each kind of database is opened is in `sqlite.py` and `postgresql.py` beside this.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from config.settings import Store as Choices
from worker.store.kept import Kept, NotAtHand
from worker.store.tables import REVISION

T = TypeVar("T")

CHANGE_TRIES_MAX = 8
"""So often somebody else may come in between before whoever asked is told to come back later."""
CHANGE_PAUSE_SECONDS = 0.02
"""Two that met once should not meet again in step."""


class StoreUnavailable(Exception):
    """The database could not be reached or did not commit: nothing was stored, try again later."""


class Contended(StoreUnavailable):
    """Somebody else changed the same thing at the same time: nothing was stored, and trying again at once helps."""


def _nobody() -> None:
    """Tell nobody."""


class Store:
    """One database, shared by every thread of a process.

    Args:
        url: `sqlite:///file` or `postgresql://user@host/database`.
        choices: how many connections, and how long to wait for what.
        met: is told whenever somebody else came in between, and work is to be done again.

    Raises:
        DriverMissing: the database is PostgreSQL, and its driver is not installed.
    """

    def __init__(self, url: str, choices: Choices | None = None, *, met: Callable[[], None] = _nobody) -> None:
        self.url = url
        self._met = met
        parsed, choices = make_url(url), choices or Choices()
        # The other one is not imported: what it needs is megabytes in each process.
        self._ours = import_module(f"worker.store.{parsed.get_backend_name()}")
        self.engine: Engine = self._ours.open_engine(parsed, choices)
        self._keeping: list[Kept] = []

    @property
    def writers_queue(self) -> bool:
        """Tell whether one transaction writes at a time: then nothing is thought over within one."""
        return bool(self._ours.WRITERS_QUEUE)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that may write; commit at the end, or roll back and raise.

        Raises:
            Contended: another transaction was in the way; `change` tries again.
            StoreUnavailable: the database is away, locked for too long, or full.
        """
        with self._transaction(self._ours.WRITE) as connection:
            yield connection

    @property
    def answers_later(self) -> bool:
        """Tell whether its answers come over a socket, for which an event loop can wait: see `write_from_loop`."""
        return bool(self._ours.ANSWERS_LATER)

    @contextmanager
    def write_in_a_row(self, kept: AbstractContextManager[Connection]) -> Iterator[Connection]:
        """Open a connection for one statement that may write, and that is committed with all it did, or not at all.

        PostgreSQL makes a transaction of a statement by itself: what `write` asks it three times is asked once.

        Args:
            kept: where the connection is taken from, and stays while more follows.

        Raises:
            Contended: another transaction was in the way.
            StoreUnavailable: the database is away, locked for too long, or full.
        """
        with self._told(), kept as connection, connection.begin(), self._ours.without_waiting(connection):
            yield connection

    @contextmanager
    def write_from_loop(self, kept: Kept) -> Iterator[Connection]:
        """Open what `write_in_a_row` does, where that makes nobody wait: in here, wait by `worker/store/awaiting.py`.

        Raises:
            NotAtHand: a thread has to, which can wait.
            Contended: another transaction was in the way.
            StoreUnavailable: the database is away, locked for too long, or full.
        """
        if not self.answers_later:
            raise NotAtHand
        with self.write_in_a_row(kept.at_hand()) as connection:
            yield connection

    def keep(self, more: Callable[[], bool]) -> Kept:
        """Make what `write_in_a_row` keeps a connection in, as long as there is more to write."""
        kept = Kept(self._take, self._ours.may_be_dead, more)
        self._keeping.append(kept)
        return kept

    def change(self, work: Callable[[Connection], T]) -> T:
        """Do work in a transaction that may write, and do it again where somebody else came in between.

        Args:
            work: reads and writes through the connection it is given; what else it does must bear repetition.

        Returns:
            What the work returned the time that was committed.

        Raises:
            StoreUnavailable: nothing was changed.
        """
        for tried in range(1, CHANGE_TRIES_MAX + 1):
            try:
                with self.write() as connection:
                    return work(connection)
            except Contended:
                self._met()
                if tried == CHANGE_TRIES_MAX:
                    raise
                time.sleep(random.uniform(0, tried * CHANGE_PAUSE_SECONDS))  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")  # pragma: no cover - the last try returned or raised

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads, from one snapshot.

        Raises:
            StoreUnavailable: the database is away.
        """
        with self._transaction(self._ours.READ) as connection:
            yield connection

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """Open a connection for one question, without a transaction around it.

        Raises:
            StoreUnavailable: the database is away.
        """
        with self._transaction(self._ours.LOOK) as connection:
            yield connection

    def close(self) -> None:
        """Give every connection back."""
        for kept in self._keeping:
            kept.give_back()
        self.engine.dispose()

    @contextmanager
    def _transaction(self, options: Mapping[str, Any]) -> Iterator[Connection]:
        with self._told(), self.engine.connect() as plain:
            connection = plain.execution_options(**options)
            with connection.begin(), self._ours.without_waiting(connection):
                yield connection

    def _take(self) -> Connection:
        plain = self.engine.connect()
        try:
            return plain.execution_options(**self._ours.ONCE)
        except BaseException:
            plain.close()
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say of an error in here what it means for whoever asked."""
        try:
            yield
        except NoConnectionFree as error:
            raise StoreUnavailable("no_connection_free") from error
        except DBAPIError as error:
            if (away := self.meaning(error)) is None:
                raise
            raise away from error

    def meaning(self, error: DBAPIError) -> StoreUnavailable | None:
        """Say what an error means for whoever asked; None: a mistake of ours."""
        if self._ours.is_contention(error):
            return Contended(self._ours.describe(error, self.engine.url))
        if not self._is_transient(error):
            return None
        return StoreUnavailable(self._ours.describe(error, self.engine.url))

    def _is_transient(self, error: DBAPIError) -> bool:
        """Tell an absent or busy database from a mistake of ours.

        A table that is not there is such a mistake, a name misspelled, and must not look like an outage that will
        pass. But where the tables are not those of this code, a restore or a migration is under way, and it will.
        """
        if self._ours.is_undefined(error):
            return not self._is_up_to_date()
        absent = error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
        return absent or self._ours.is_outage(error)

    def _is_up_to_date(self) -> bool:
        try:
            with self.engine.connect() as connection:
                return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == REVISION
        except DBAPIError:
            return False
