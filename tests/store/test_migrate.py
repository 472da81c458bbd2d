"""Migrations make exactly the tables that the code believes in."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from worker.store import migrate
from worker.store.engine import Store
from worker.store.tables import REVISION, metadata


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


def test_migrated_tables_have_the_same_indexes_as_declared_ones(tmp_path: Path):
    """Names of indexes and constraints follow the convention, so that later migrations can find them anywhere."""
    stores = [Store(f"sqlite:///{tmp_path / name}.db") for name in ("migrated", "declared")]
    migrate.upgrade(stores[0])
    metadata.create_all(stores[1].engine)
    seen = []
    for store in stores:
        there = inspect(store.engine)
        seen.append(
            {
                table: (
                    {index["name"] for index in there.get_indexes(table)},
                    {unique["name"] for unique in there.get_unique_constraints(table)},
                    there.get_pk_constraint(table)["name"],
                )
                for table in metadata.tables
            }
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


def test_processes_that_migrate_at_once_do_it_once(new_database: str):
    """Several that start together on an empty database: one makes the tables, the others find them."""
    stores = [Store(new_database) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(migrate.upgrade, stores))
    for store in stores:
        store.close()

    assert {migrate.head()} == {after for _, after in done}
