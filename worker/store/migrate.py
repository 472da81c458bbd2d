"""Bring a database up to date, forward only, and tell how far it is."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from worker.store.engine import Store
from worker.store.postgresql import lock_migration


def upgrade(store: Store) -> tuple[str | None, str | None]:
    """Run every pending migration.

    Returns:
        The revision before and after.
    """
    before = current(store)
    config = _config()
    with store.engine.connect() as connection:
        config.attributes["connection"] = connection
        lock_migration(connection)
        command.upgrade(config, "head")
        connection.commit()
    return before, current(store)


def current(store: Store) -> str | None:
    """Read the revision the database is at; None: an empty one."""
    with store.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """Name the revision this code wants."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def pending(store: Store) -> bool:
    """Tell whether `clawback migrate` has something to do."""
    return current(store) != head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
