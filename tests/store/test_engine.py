"""The transactions that the store hands out, and what it says when it cannot.

Real: SQLite files, PostgreSQL. Double: nothing.
"""

import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import exc, insert, select, text

from config.settings import Store as Choices
from tests.clusters import Cluster
from worker.store import migrate
from worker.store.engine import Store, StoreUnavailable
from worker.store.postgresql import DriverMissing, lock_migration
from worker.store.sqlite import LOG_PAGES
from worker.store.tables import locks, metadata

ROW = {"name": "sweeper", "holder": "a", "until_ms": 1}
TURNS = 180
HELD_SECONDS = 0.01


@pytest.fixture(name="store")
def _store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    metadata.create_all(opened.engine)
    yield opened
    opened.close()


@pytest.fixture(name="migrated")
def _migrated(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    migrate.upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture(name="embedded")
def _embedded(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'data' / 'clawback.db'}")
    metadata.create_all(opened.engine)
    yield opened
    opened.close()


def names(store: Store) -> list[str]:
    """Read what is stored."""
    with store.read() as connection:
        return list(connection.execute(select(locks.c.name)).scalars())


def add(store: Store, *, divisor: int = 1) -> None:
    """Write one row, and break after it where the divisor is zero."""
    with store.write() as connection:
        connection.execute(insert(locks).values(ROW))
        assert 1 // divisor


def test_a_commit_reaches_the_disk(embedded: Store):
    """Write-ahead log, and every commit synced: a 200 stands for this."""
    with embedded.read() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")
        }

    assert {"journal_mode": "wal", "synchronous": 2} == pragmas


def test_pages_go_into_the_file_together_and_the_log_does_not_grow_without_end(embedded: Store, tmp_path: Path):
    """What a few sets change waits in the log, to be written once; after many, the log's room is used again."""
    database, log = tmp_path / "data" / "clawback.db", tmp_path / "data" / "clawback.db-wal"
    page, megabytes = 4096, 96
    with embedded.write() as connection:
        connection.execute(text("CREATE TABLE filling (bytes BLOB)"))
    before = database.stat().st_size
    sizes = []
    for _ in range(megabytes):
        with embedded.write() as connection:
            connection.execute(text("INSERT INTO filling VALUES (zeroblob(1048576))"))
        sizes.append((database.stat().st_size, log.stat().st_size))

    few = LOG_PAGES * page // 2**20 - 2
    assert before == sizes[few - 1][0]
    assert max(of_log for _, of_log in sizes) < (LOG_PAGES * page + 2**21) * 1.02
    assert sizes[-1][0] > 2 * LOG_PAGES * page


def test_a_directory_is_made_for_the_database_and_is_nobody_elses(embedded: Store, tmp_path: Path):
    """The database holds receipts and users."""
    assert 0o700 == (tmp_path / "data").stat().st_mode & 0o777


def test_a_transaction_is_whole_or_nothing(store: Store):
    """What raises leaves nothing behind; what ends well is there."""
    with pytest.raises(ZeroDivisionError):
        add(store, divisor=0)
    assert [] == names(store)

    add(store)
    assert ["sweeper"] == names(store)


def test_a_single_statement_is_whole_or_nothing(store: Store):
    """What is written by itself is committed when its connection is back, and all of it or none."""
    with store.write_in_a_row(store.keep(lambda: False)) as connection:
        connection.execute(insert(locks), ROW)
    twice = text("INSERT INTO locks (name, holder, until_ms) VALUES ('new', 'b', 1), ('sweeper', 'b', 1)")
    with pytest.raises(exc.IntegrityError), store.write_in_a_row(store.keep(lambda: False)) as connection:
        connection.execute(twice)

    assert ["sweeper"] == names(store)


def test_after_a_single_statement_a_transaction_is_one_again(store: Store):
    """A connection that was lent for one statement is rolled back as ever when it is lent for many."""
    with store.write_in_a_row(store.keep(lambda: False)) as connection:
        connection.execute(text("DELETE FROM locks"))
    with pytest.raises(ZeroDivisionError):
        add(store, divisor=0)

    assert [] == names(store)


def test_readers_see_one_moment_and_never_wait(store: Store):
    """A reader sees its snapshot to its end, whatever is committed meanwhile."""
    with store.read() as reader:
        assert 0 == len(reader.execute(select(locks)).all())
        with store.write() as writer:
            writer.execute(insert(locks).values(ROW))
        assert 0 == len(reader.execute(select(locks)).all())
    assert ["sweeper"] == names(store)


def test_writers_queue_at_their_start(embedded: Store):
    """Two that read and then write never fail each other: the second begins when the first is done."""
    with embedded.write() as connection:
        connection.execute(insert(locks).values(ROW))
    together = threading.Barrier(4)

    def count() -> None:
        together.wait()
        for _ in range(10):
            with embedded.write() as connection:
                seen = connection.execute(select(locks.c.until_ms)).scalar_one()
                connection.execute(locks.update().values(until_ms=seen + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with embedded.read() as connection:
        assert 41 == connection.execute(select(locks.c.until_ms)).scalar_one()


def test_a_writer_that_never_rests_keeps_nobody_out(embedded: Store):
    """Three that begin again as soon as they have committed: each has its turns."""
    # SQLite asks for a lock ten times a second, and one of three then had one turn of sixty, or gave up. When all asked
    # more often, whoever had just written was first still, as often as not: one had 1 turn of 180, others 169 and 10.
    turns, together = Counter[str](), threading.Barrier(3)

    def write(name: str) -> None:
        together.wait()
        while turns.total() < TURNS:
            with embedded.write() as connection:
                connection.execute(text("INSERT INTO locks SELECT :name, '', count(*) FROM locks"), {"name": name})
                connection.execute(text("DELETE FROM locks"))
                threading.Event().wait(HELD_SECONDS)
            turns[name] += 1

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == [(name, count) for name, count in turns.items() if count < TURNS / 6]
    assert 3 == len(turns)


def test_a_writer_does_not_wait_for_ever(embedded: Store):
    """Whoever waits for longer than configured is told that the store is unavailable, and nothing of its is stored."""
    hurried = Store(embedded.url, Choices(wait_timeout_seconds=0.05))
    with embedded.write(), pytest.raises(StoreUnavailable, match="OperationalError"):
        add(hurried)
    add(hurried)
    hurried.close()

    assert ["sweeper"] == names(embedded)


def test_an_absent_database_is_unavailable(tmp_path: Path):
    """A file that cannot be opened is a reason to try again, for readers and writers."""
    (tmp_path / "clawback.db").mkdir()
    store = Store(f"sqlite:///{tmp_path / 'clawback.db'}")
    for transaction in (store.read, store.write):
        with pytest.raises(StoreUnavailable, match="cannot be opened"), transaction():
            pytest.fail("no transaction was to be had")


def test_a_mistake_of_ours_is_no_outage(store: Store):
    """What the database refuses for what it says is raised as it is: trying again would not help."""
    add(store)
    with pytest.raises(exc.IntegrityError):
        add(store)


@pytest.mark.parametrize(
    "wrong", ["SELECT * FROM look", "SELECT keeper FROM locks", "INSERT INTO locks (keeper) VALUES (1)"]
)
def test_a_name_that_is_wrong_is_no_outage(migrated: Store, wrong: str):
    """A table or column that our tables never had is a mistake of ours, and said to be one."""
    # It was answered with 503, for ever: whoever misspelled a name was told to come back later.
    with pytest.raises(exc.DBAPIError), migrated.write() as connection:
        connection.exec_driver_sql(wrong)


@pytest.mark.parametrize("there", ["UPDATE alembic_version SET version_num = '0001'", "DROP TABLE alembic_version"])
def test_tables_of_another_time_are_an_outage(migrated: Store, there: str):
    """While a restore or a migration is under way, what is missing will come: nothing is given up meanwhile."""
    with migrated.write() as connection:
        connection.exec_driver_sql("DROP TABLE locks")
        connection.exec_driver_sql(there)
    with pytest.raises(StoreUnavailable):
        names(migrated)


def test_postgresql_without_its_driver(monkeypatch: pytest.MonkeyPatch):
    """Whoever names PostgreSQL without having its driver is told the one line that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DriverMissing, match=re.escape("pip install 'clawback[postgresql]'")):
        Store("postgresql://clawback@127.0.0.1/clawback")


def test_a_lost_connection_is_an_outage(store: Store):
    """When the connection itself is gone, whatever the error is called, it is worth another try."""
    with pytest.raises(StoreUnavailable), store.write():
        raise exc.DBAPIError("SELECT 1", {}, RuntimeError("server closed"), connection_invalidated=True)


def test_no_free_connection_is_an_outage(tmp_path: Path):
    """Whoever finds every connection taken for too long hears that the store is unavailable, and platforms a 503."""
    # It was raised as an error of ours, and answered with a 500.
    store = Store(f"sqlite:///{tmp_path / 'clawback.db'}")
    store.engine.pool._timeout = 0.01  # type: ignore[attr-defined]  # the pool's own setting, for a test in a hurry
    taken = [store.engine.connect() for _ in range(24)]
    with pytest.raises(StoreUnavailable, match="no_connection_free"), store.read():
        pytest.fail("no connection was to be had")
    for connection in taken:
        connection.close()

    assert [] == store.engine.connect().execute(text("SELECT 1 WHERE 0")).all()
    store.close()


def test_an_error_quotes_nothing_that_was_stored(tmp_path):
    """What the database says of a mistake may be logged, and holds no value of the row that made it."""
    store = Store(f"sqlite:///{tmp_path / 'errors.db'}")
    with store.write() as connection:
        connection.exec_driver_sql("create table one (id text primary key)")
        connection.exec_driver_sql("insert into one values (?)", ("a-receipt-nobody-may-read",))
    with pytest.raises(exc.IntegrityError) as refused, store.write() as connection:
        connection.exec_driver_sql("insert into one values (?)", ("a-receipt-nobody-may-read",))
    store.close()

    assert "a-receipt" not in str(refused.value)


def test_a_commit_reaches_postgresqls_disk(postgresql: Cluster, new_database: str):
    """Where the server or a role was told not to wait for the disk, our commits wait all the same."""
    name = new_database.rpartition("/")[2]
    with postgresql.connect() as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = Store(new_database)
    with store.write() as connection:
        assert "on" == connection.execute(text("SHOW synchronous_commit")).scalar()
    store.close()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", ("off", "off")),
        ("?options=-c%20work_mem%3D8MB", ("off", "off")),
        ("?options=-c%20enable_seqscan%3Don", ("on", "off")),
        ("?options=-c%20jit%3Don%20-c%20enable_seqscan%3Don", ("on", "on")),
    ],
)
def test_postgresql_plans_by_indexes_unless_the_operator_says_otherwise(
    emptied: str, said: str, expected: tuple[str, str]
):
    """Every session of ours finds by indexes and compiles nothing; options that an operator wrote stand."""
    store = Store(f"{emptied}{said.replace('?', '&' if '?' in emptied else '?')}")
    with store.look() as connection:
        found = tuple(connection.execute(text(f"SHOW {name}")).scalar() for name in ("enable_seqscan", "jit"))
    store.close()

    assert expected == found


def test_a_migration_reads_tables_whole_where_that_is_cheaper(emptied: str):
    """Whoever brings the tables up to date changes all rows of one, and plans for that until it commits."""
    store = Store(emptied)
    with store.engine.connect() as connection:
        lock_migration(connection)
        meanwhile = connection.execute(text("SHOW enable_seqscan")).scalar()
        connection.commit()
        afterwards = connection.execute(text("SHOW enable_seqscan")).scalar()
    store.close()

    assert ("on", "off") == (meanwhile, afterwards)


def test_an_error_of_postgresql_quotes_nothing_that_was_stored(emptied: str):
    """What the database says of a mistake may be logged, and holds no value of the row that made it."""
    store = Store(emptied)
    row = {"name": "a-receipt-nobody-may-read", "holder": "a", "until_ms": 1}
    with store.write() as connection:
        connection.execute(insert(locks).values(row))
    with pytest.raises(exc.IntegrityError) as refused, store.write() as connection:
        connection.execute(insert(locks).values(row))
    store.close()

    assert "UniqueViolation" == type(refused.value.orig).__name__
    assert "[SQL parameters hidden" in str(refused.value)


def test_a_server_that_ended_our_connections_costs_nothing(postgresql: Cluster, emptied: str):
    """Connections that died while nobody used them are replaced; one that dies in use is an outage."""
    store = Store(emptied)
    # Told to wait until they are gone: a server process that was only asked to end may still answer.
    end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    assert [] == names(store)
    with postgresql.connect() as connection:
        connection.execute(end, [emptied.rpartition("/")[2]])
    assert [] == names(store)

    with pytest.raises(StoreUnavailable):
        _write_and_lose(store, postgresql, end, emptied.rpartition("/")[2])
    assert [] == names(store)
    store.close()


def _write_and_lose(store: Store, postgresql: Cluster, end: str, database: str) -> None:
    with store.write() as held:
        held.execute(text("SELECT 1"))
        with postgresql.connect() as connection:
            connection.execute(end, [database])
        held.execute(insert(locks).values(ROW))
