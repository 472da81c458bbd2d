"""Real services for tests, our own: Valkey and PostgreSQL, skipped at home where there is none, missed in CI."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from config.settings import Broker, Settings
from tests.clusters import Cluster, PostgresMissing
from worker.store import migrate
from worker.store.engine import Store
from worker.store.tables import metadata
from worker.valkey import EmbeddedValkey, ValkeyUnavailable, find_server


def require_valkey() -> Path:
    """Find a server; without one, skip at home and fail in CI."""
    try:
        return find_server()
    except ValkeyUnavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    """Run one server for the whole session."""
    server = require_valkey()
    with tempfile.TemporaryDirectory(prefix="clawback-") as directory:
        running = EmbeddedValkey(Path(directory), server)
        running.start()
        yield running
        running.stop()


@pytest.fixture
def on_valkey(valkey: EmbeddedValkey) -> Settings:
    """Name the server, with a namespace that is the test's alone."""
    return Settings(broker=Broker(url=valkey.url, namespace=f"test-{uuid.uuid4().hex[:12]}"))


STORES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """Run one server for the whole session; without its programs, skip at home and fail in CI."""
    try:
        cluster = Cluster.create()
    except PostgresMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session")
def shared_database(postgresql: Cluster) -> Iterator[Store]:
    """Keep one database with every migration behind it, for tests that leave their rows to `emptied`."""
    store = Store(postgresql.url(postgresql.new()))
    migrate.upgrade(store)
    yield store
    store.close()


@pytest.fixture
def emptied(shared_database: Store) -> str:
    """Give the address of a PostgreSQL database with tables and no rows: a new one costs ten times as much."""
    if set(metadata.tables) - set(inspect(shared_database.engine).get_table_names()):
        # A test took a table away, to see what happens.
        with shared_database.write() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        migrate.upgrade(shared_database)
    with shared_database.write() as connection:
        # The audit log refuses to be emptied by whoever does not switch triggers off, which takes a superuser.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in metadata.tables:
            connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - the names of our own tables
    return shared_database.url


@pytest.fixture
def new_database(postgresql: Cluster) -> Iterator[str]:
    """Give the address of a PostgreSQL database with nothing in it."""
    name = postgresql.new()
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the address of a database for a test that both kinds must pass: a file to come, or empty tables."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("emptied"))
    return f"sqlite:///{tmp_path / 'clawback.db'}"
