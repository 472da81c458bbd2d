"""A database that a later version has migrated, as a process of this one finds it."""

from sqlalchemy import text

from worker.store.engine import Store
from worker.store.migrate import FITS
from worker.store.tables import marks


def at_9999(store: Store, fits_from: str) -> None:
    """Bring a database to a revision that this code knows nothing of, which fits code from this one on."""
    with store.write() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("INSERT INTO alembic_version (version_num) VALUES ('9999')"))
        connection.execute(marks.delete().where(marks.c.name == FITS))
        connection.execute(marks.insert().values(name=FITS, value=fits_from))
