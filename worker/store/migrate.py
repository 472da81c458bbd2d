"""Bring a database up to date, forward only, and tell how far it is.

Alembic migrates. To tell how far a database is takes one look at its table, so every process that only asks starts
without importing Alembic, which costs as much as SQLAlchemy.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import column, inspect, select, table

from worker.store.engine import Store
from worker.store.postgresql import lock_migration

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"

_alembic_version = table("alembic_version", column("version_num"))


def upgrade(store: Store) -> tuple[str | None, str | None]:
    """Run every pending migration.

    Returns:
        The revision before and after.
    """
    before = current(store)
    if before == head():
        return before, before
    from alembic import command  # noqa: PLC0415 - see above

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
        if not inspect(connection).has_table(_alembic_version.name):
            return None
        revision: str | None = connection.execute(select(_alembic_version.c.version_num)).scalar_one_or_none()
        return revision


def head() -> str:
    """Name the revision this code wants: migrations are numbered, and their files named after their numbers."""
    return max(found.name.partition("_")[0] for found in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def pending(store: Store) -> bool:
    """Tell whether `clawback migrate` has something to do."""
    return current(store) != head()


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
