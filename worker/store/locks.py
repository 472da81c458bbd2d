"""Let one process at a time do what must run once, and let another take over when its holder dies."""

from sqlalchemy import Connection, or_
from sqlalchemy.dialects import postgresql, sqlite

from worker.store.tables import locks


def acquire(connection: Connection, name: str, *, holder: str, now_ms: int, until_ms: int) -> bool:
    """Take the lock, or extend it, unless another holder's time has not run out.

    Args:
        connection: a write transaction; the lock is held once it commits.
        name: what must run once.
        holder: who asks.
        now_ms: Unix milliseconds.
        until_ms: when others may take it, should the holder not come back.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(locks).values(name=name, holder=holder, until_ms=until_ms)
    statement = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": statement.excluded.holder, "until_ms": statement.excluded.until_ms},
        where=or_(locks.c.holder == holder, locks.c.until_ms <= now_ms),
    )
    return connection.execute(statement.returning(locks.c.name)).first() is not None
