"""Migrations make exactly the tables that the code believes in."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, inspect, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from tests.clusters import Cluster
from tests.services import STORES
from worker.store import migrate
from worker.store.engine import Store
from worker.store.tables import REVISION, metadata

SAMPLES = {str: "a word", int: 7, float: 7.5, bool: True, bytes: b"a body"}
SQLITE_KEEPS = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
EARLIER = sorted(
    found.name[:4] for found in (migrate.MIGRATIONS / "versions").glob("[0-9]*_*.py") if found.name[:4] < migrate.head()
)
POSTGRESQL_KEEPS = """
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version' UNION
    SELECT relname, coalesce(reloptions::text, '') FROM pg_class WHERE relkind = 'r' AND relname <> 'alembic_version'
        AND relnamespace = 'public'::regnamespace"""


@pytest.fixture(params=STORES)
def untouched(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the address of a database with nothing in it, of either kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("new_database"))
    return f"sqlite:///{tmp_path / 'untouched.db'}"


def empty(directory: Path) -> Store:
    """Make a database without tables."""
    return Store(f"sqlite:///{directory / 'clawback.db'}")


def test_an_empty_database_is_brought_up_to_date(tmp_path: Path):
    """From nothing to the newest revision, and then there is nothing to do."""
    store = empty(tmp_path)
    assert (None, True) == (migrate.current(store), migrate.pending(store))

    assert (None, migrate.head()) == migrate.upgrade(store)
    assert (migrate.head(), False) == (migrate.current(store), migrate.pending(store))
    assert (migrate.head(), migrate.head()) == migrate.upgrade(store)
    store.close()


def test_the_tables_name_the_migration_that_makes_them():
    """What tells a database of another time from ours is the newest revision."""
    assert migrate.head() == REVISION


def test_migrations_and_tables_do_not_drift(tmp_path: Path):
    """Alembic, asked what it would still change after the last migration, has nothing to say."""
    store = empty(tmp_path)
    migrate.upgrade(store)
    with store.read() as connection:
        assert [] == compare_metadata(MigrationContext.configure(connection), metadata)
    store.close()


def _written(store: Store, question: str) -> dict[str, str]:
    """Read how a database keeps the statements that make its indexes, without their line breaks."""
    with store.read() as connection:
        return {name: " ".join(made.split()) for name, made in connection.exec_driver_sql(question).all()}


def test_migrated_tables_have_the_same_indexes_as_declared_ones(tmp_path: Path):
    """Names of indexes and constraints follow the convention, so that later migrations can find them anywhere."""
    stores = [Store(f"sqlite:///{tmp_path / name}.db") for name in ("migrated", "declared")]
    migrate.upgrade(stores[0])
    metadata.create_all(stores[1].engine)
    seen = []
    for store in stores:
        there = inspect(store.engine)
        seen.append(
            {table: there.get_pk_constraint(table) for table in metadata.tables} | _written(store, SQLITE_KEEPS)
        )
        store.close()

    assert seen[0] == seen[1]


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path):
    """All tables come in one transaction: where one of them is in the way, none is made."""
    store = empty(tmp_path)
    with store.write() as connection:
        connection.exec_driver_sql("CREATE TABLE refunds (somebody_elses INTEGER)")
    try:
        migrate.upgrade(store)
    except Exception as error:  # noqa: BLE001 - which error it is, is Alembic's affair
        assert "refunds" in str(error)  # noqa: PT017 - what matters is what stays behind, below
    assert ["refunds"] == [name for name in inspect(store.engine).get_table_names() if name != "alembic_version"]
    assert migrate.pending(store)
    store.close()


def test_every_table_can_be_made_on_postgresql():
    """Nothing in the tables is of SQLite alone: PostgreSQL's compiler takes each, with 64 bits for every time."""
    for table in metadata.sorted_tables:
        made = str(CreateTable(table).compile(dialect=postgresql.dialect()))
        for column in table.columns:
            if column.name.endswith(("_ms", "_at")) and column.name != "duration_ms":
                assert f"{column.name} BIGINT" in made
        assert all(str(CreateIndex(index).compile(dialect=postgresql.dialect())) for index in table.indexes)


def test_migrations_make_the_same_on_postgresql(new_database: str):
    """From nothing to the newest revision, no drift from the tables, and every text sorted by its bytes."""
    store = Store(new_database)
    assert (None, migrate.head()) == migrate.upgrade(store)
    assert (migrate.head(), migrate.head()) == migrate.upgrade(store)
    with store.read() as connection:
        assert [] == compare_metadata(MigrationContext.configure(connection), metadata)
    there = inspect(store.engine)
    for table in metadata.tables:
        assert {index.name for index in metadata.tables[table].indexes} <= {i["name"] for i in there.get_indexes(table)}
        collations = {getattr(column["type"], "collation", "C") for column in there.get_columns(table)}
        assert collations <= {"C"}
    store.close()


def test_migrated_tables_are_kept_as_declared_ones_on_postgresql(postgresql: Cluster):
    """Indexes of all rows and of some, keys in their order, and room on pages: the same, however they were made."""
    stores = [Store(postgresql.url(postgresql.new())) for _ in range(2)]
    migrate.upgrade(stores[0])
    metadata.create_all(stores[1].engine)
    migrated, declared = (_written(store, POSTGRESQL_KEEPS) for store in stores)
    for store in stores:
        store.close()

    assert migrated == declared


def test_a_row_per_lineage_is_made_of_what_is_there(tmp_path: Path):
    """A database of an earlier state gets its lineages from its refs."""
    store = Store(f"sqlite:///{tmp_path / 'earlier.db'}")
    with store.engine.connect() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for ref, lineage in (("a", "lin_1"), ("b", "lin_1"), ("c", "lin_2")):
            row = {"app": "acme", "platform": "stripe", "realm": "", "ref": ref, "lineage": lineage, "purchase": ref}
            connection.execute(metadata.tables["refs"].insert().values(row))
        connection.commit()
    assert ("0002", migrate.head()) == migrate.upgrade(store)
    with store.read() as connection:
        assert ["lin_1", "lin_2"] == sorted(connection.execute(select(metadata.tables["lineages"])).scalars())
    store.close()


@pytest.mark.parametrize("earlier", EARLIER)
def test_an_upgrade_keeps_every_row(untouched: str, earlier: str):
    """A database of an earlier state holds the same rows afterwards: nothing is lost, and what is new says nothing."""
    store = Store(untouched)
    before = _one_row_each(store, earlier)
    assert (earlier, migrate.head()) == migrate.upgrade(store)
    with store.read() as connection:
        asked = {name: select(metadata.tables[name]) for name in before}
        if "marks" in before:  # migrating leaves one of its own
            asked["marks"] = asked["marks"].where(metadata.tables["marks"].c.name == before["marks"]["name"])
        after = {name: dict(connection.execute(question).mappings().one()) for name, question in asked.items()}
    store.close()

    added = {(name, column) for name, row in after.items() for column in row.keys() - before[name].keys()}
    assert before == {name: {key: row[key] for key in before[name]} for name, row in after.items()}
    # What runs is due on its date; all else is as if nobody had said anything.
    assert {7, None, 0} >= {after[name][column] for name, column in added}
    assert after["purchases"]["lapses_at"] == after["purchases"]["due_at"]
    assert earlier > "0002" or (7, 7) == (after["purchases"]["expires_at"], after["purchases"]["lapses_at"])


def _one_row_each(store: Store, revision: str) -> dict[str, dict[str, object]]:
    """Bring a database to a revision and put one row into each of our tables; give them by their names."""
    with store.engine.connect() as connection:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        earlier = MetaData()
        earlier.reflect(connection, only=lambda name, _: name in metadata.tables)
        for table in earlier.sorted_tables:
            row = {column.name: SAMPLES[column.type.python_type] for column in table.columns}
            connection.execute(table.insert(), row | ({"access": "active"} if "access" in row else {}))
        rows = {
            name: dict(connection.execute(select(table)).mappings().one()) for name, table in earlier.tables.items()
        }
        connection.commit()
    return rows


def test_processes_that_migrate_at_once_do_it_once(new_database: str):
    """Several that start together on an empty database: one makes the tables, the others find them."""
    stores = [Store(new_database) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(migrate.upgrade, stores))
    for store in stores:
        store.close()

    assert {migrate.head()} == {after for _, after in done}
