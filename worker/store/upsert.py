"""Make INSERTs that bear what is there already, in the words of the one database that is used.

SQLAlchemy has them in a package for each database, and one that nobody uses is memory in each process.
"""

from importlib import import_module
from typing import Any

from sqlalchemy import Table


def insert(dialect: str, table: Table) -> Any:
    """Begin an INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`.

    Args:
        dialect: `postgresql` or `sqlite`: SQLAlchemy's name of the database.
        table: into which.
    """
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
