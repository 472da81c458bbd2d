"""A migration runs while processes of the version before are at work: what waits for it, and what goes on.

Real: PostgreSQL and SQLite, every migration step by step. Double: the processes of the version before, which are
statements that name the columns they knew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, MetaData, inspect, select, text
from sqlalchemy.exc import IntegrityError

from tests.house.tree import ROOT
from tests.services import STORES
from tests.store.later import at_9999
from tests.store.test_migrate import SAMPLES
from worker.store import migrate
from worker.store.engine import Store
from worker.store.tables import FITS_FROM, metadata

REVISIONS = sorted(found.name[:4] for found in (migrate.MIGRATIONS / "versions").glob("[0-9]*_*.py"))
STRONG = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
"""Modes that a statement that writes waits for (https://www.postgresql.org/docs/current/explicit-locking.html)."""
LOCKED = text(
    """
    SELECT DISTINCT relname FROM pg_locks JOIN pg_class ON pg_class.oid = relation
    WHERE pid = pg_backend_pid() AND relkind = 'r' AND relnamespace = 'public'::regnamespace AND mode = ANY (:strong)"""
)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Give a database with nothing in it, of either kind."""
    untouched = f"sqlite:///{tmp_path / 'untouched.db'}"
    url = str(request.getfixturevalue("new_database")) if request.param == "postgresql" else untouched
    opened = Store(url)
    yield opened
    opened.close()


@contextmanager
def going(store: Store, revision: str) -> Iterator[Connection]:
    """Bring a database to a revision, in a transaction that commits in the end."""
    with store.engine.begin() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        yield connection


def rows(connection: Connection, value: int) -> dict[str, dict[str, object]]:
    """Write a row for every table as it is, told apart from others by one value."""
    there = MetaData()
    there.reflect(connection, only=lambda name, _: name in metadata.tables)
    samples = {**SAMPLES, str: f"a word {value}", int: value}
    return {
        table.name: {column.name: samples[column.type.python_type] for column in table.columns}
        for table in there.sorted_tables
    }


def write(connection: Connection, named: dict[str, dict[str, object]]) -> None:
    """Insert a row into each table, and read it, by the names of the columns that the row has."""
    for name, row in named.items():
        columns = [metadata.tables[name].c[column] for column in row]
        connection.execute(metadata.tables[name].insert().values(row))
        assert tuple(row.values()) in [tuple(found) for found in connection.execute(select(*columns))]


@pytest.mark.parametrize("earlier", [one for one in REVISIONS if one >= FITS_FROM])
def test_older_code_goes_on_writing(store: Store, earlier: str):
    """What code from `FITS_FROM` on writes by the columns it knows is taken by the newest tables."""
    with going(store, earlier) as connection:
        known = rows(connection, 8)
    migrate.upgrade(store)
    with store.write() as connection:
        write(connection, known)


def test_a_column_that_older_code_cannot_fill_is_noticed(store: Store):
    """The law above can fail: a new column that needs a value and has none of its own is refused."""
    migrate.upgrade(store)
    with store.write() as connection:
        known = rows(connection, 8)
        del known["refunds"]["status"]
    with pytest.raises(IntegrityError), store.write() as connection:
        write(connection, known)


def documented() -> dict[str, set[str]]:
    """Read what the documentation says of each migration: what it keeps writers from until it has committed."""
    lines = (ROOT / "docs" / "operations.md").read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("| 00")]
    return {cell[1]: set(cell[2].replace("`", "").replace(",", " ").split()) - {"nothing"} for cell in cells}


def test_what_a_migration_locks_is_documented(new_database: str):
    """Each migration keeps writers from the tables that docs/operations.md names, and from no others."""
    store, found = Store(new_database), {}
    for revision in REVISIONS:
        with store.engine.connect() as connection:
            before = set(inspect(connection).get_table_names())
        with going(store, revision) as connection:
            locked = set(connection.execute(LOCKED, {"strong": list(STRONG)}).scalars())
            found[revision] = locked & before - {"alembic_version"}
    store.close()

    assert found == documented()


@pytest.mark.parametrize("revision", [one for one in REVISIONS if one > FITS_FROM] or ["0005"])
def test_the_door_stays_open(new_database: str, revision: str):
    """While a migration is under way, however long it takes, notifications are taken in."""
    store = Store(new_database)
    with going(store, REVISIONS[REVISIONS.index(revision) - 1]) as connection:
        known = rows(connection, 8)["notifications"]
    with going(store, revision), store.write() as door:
        write(door, {"notifications": known})
    store.close()


def test_the_database_says_whom_it_fits(store: Store):
    """Whoever migrates says so, once; a database that is ahead is worked on while it fits, and never migrated back."""
    migrate.upgrade(store)
    assert "current" == migrate.standing(store)
    at_9999(store, FITS_FROM)
    assert ("ahead", False) == (migrate.standing(store), migrate.pending(store))
    assert ("9999", "9999") == migrate.upgrade(store)
    at_9999(store, "9999")
    assert "too_new" == migrate.standing(store)
    with store.write() as connection:
        connection.execute(text("DELETE FROM marks"))
    assert "too_new" == migrate.standing(store)


def test_nothing_is_promised_that_is_not_there():
    """The oldest version that may go on is a migration, and none of the future."""
    assert FITS_FROM in REVISIONS
