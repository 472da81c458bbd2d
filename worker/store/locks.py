"""Let one process at a time do what must run once, and let another take over when its holder dies.

A lock is a row with an end. Whoever takes it writes its own work in the same transaction, which is the fence: nobody
else can take the row before that transaction has ended, and one that ended too late (its server gave it up, its host
was cut off) has done nothing. The clock is the database's, the same for every host, however wrong their own are.
"""

import os
import secrets
import socket
from functools import lru_cache

from sqlalchemy import BigInteger, ColumnElement, Connection, Executable, Text, bindparam, cast, func, or_

from worker.store import upsert
from worker.store.tables import locks


@lru_cache(maxsize=1)
def this_process() -> str:
    """Name this process: host and number for whoever looks, and what no other has, since containers share both."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def acquire(connection: Connection, name: str, *, holder: str, lease_ms: int) -> bool:
    """Take the lock, or extend it, unless another holder's time has not run out.

    Args:
        connection: a write transaction; the lock is held once it commits, and by nobody else before.
        name: what must run once.
        holder: who asks.
        lease_ms: how long others wait for its holder, the same for everybody who asks for it.
    """
    said = {"name": name, "holder": holder, "lease_ms": lease_ms}
    return connection.execute(_taking(connection.dialect.name), said).first() is not None


@lru_cache(maxsize=2)
def _taking(dialect: str) -> Executable:
    """Write the statement once: it is made of circles, which a worker would leave to Python's collector each second."""
    now, lease_ms, holder = _now_ms(dialect), bindparam("lease_ms", type_=BigInteger), bindparam("holder", type_=Text)
    statement = upsert.insert(dialect, locks).values(name=bindparam("name"), holder=holder, until_ms=now + lease_ms)
    # An end that no lease could have reached was written before the database's clock was set back.
    over = or_(locks.c.until_ms <= now, locks.c.until_ms > now + lease_ms)
    statement = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": statement.excluded.holder, "until_ms": statement.excluded.until_ms},
        where=or_(locks.c.holder == holder, over),
    )
    taking: Executable = statement.returning(locks.c.name)
    return taking


def _now_ms(dialect: str) -> ColumnElement[int]:
    """Write Unix milliseconds as the database knows them: not those of the transaction's beginning, which may be old.

    Julian day 2440587.5 is 1970-01-01 (https://www.sqlite.org/lang_datefunc.html).
    """
    if dialect == "postgresql":
        return cast(func.extract("epoch", func.clock_timestamp()) * 1000, BigInteger)
    return cast((func.julianday("now") - 2440587.5) * 86_400_000, BigInteger)
