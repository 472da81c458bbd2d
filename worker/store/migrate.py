"""Bring a database up to date, forward only, and tell how far it is.

Alembic migrates. To tell how far a database is takes one look at its table, so every process that only asks starts
without importing Alembic, which costs as much as SQLAlchemy.

A migration runs while processes of the version before are still at work, so a database may be ahead of the code that
looks at it. Whoever migrates writes down the oldest version that may go on (`tables.FITS_FROM`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import Connection, column, delete, inspect, select, table
from sqlalchemy.exc import DBAPIError

from worker.store.engine import Store
from worker.store.postgresql import lock_migration
from worker.store.tables import FITS_FROM, marks

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"

FITS: Final = "tables.fits_from"
"""The mark that says which version may work on these tables at the least."""
Standing = Literal["behind", "current", "ahead", "too_new"]
"""Where a database is, as seen from this code: `ahead` it may be worked on, `too_new` not any more."""

_alembic_version = table("alembic_version", column("version_num"))


def upgrade(store: Store) -> tuple[str | None, str | None]:
    """Run every pending migration; none where the database is ahead of this code.

    Returns:
        The revision before and after.

    Raises:
        StoreUnavailable: the database is away or full; it is as it was.
    """
    before = current(store)
    if not pending(store):
        return before, before
    try:
        _upgrade(store)
    except DBAPIError as error:
        # What is wrong with a statement of a migration is nothing that will pass: https://www.sqlite.org/rescode.html#error
        wrong = getattr(error.orig, "sqlite_errorname", None) == "SQLITE_ERROR"
        if wrong or (away := store.meaning(error)) is None:
            raise
        raise away from error
    return before, current(store)


def _upgrade(store: Store) -> None:
    from alembic import command  # noqa: PLC0415 - see above

    config = _config()
    with store.engine.connect() as connection:
        config.attributes["connection"] = connection
        lock_migration(connection)
        command.upgrade(config, "head")
        _say_whom_it_fits(connection)
        connection.commit()


def _say_whom_it_fits(connection: Connection) -> None:
    connection.execute(delete(marks).where(marks.c.name == FITS))
    connection.execute(marks.insert().values(name=FITS, value=FITS_FROM))


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
    return standing(store) == "behind"


def standing(store: Store) -> Standing:
    """Tell where the database is, as seen from this code."""
    at, wanted = current(store), head()
    if at is None or at < wanted:
        return "behind"
    if at == wanted:
        return "current"
    with store.read() as connection:
        fits_from = connection.execute(select(marks.c.value).where(marks.c.name == FITS)).scalar()
    return "ahead" if fits_from and fits_from <= wanted else "too_new"


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
