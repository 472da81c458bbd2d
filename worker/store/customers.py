"""How many events each customer was told of, and locks on that: found one by one, and locked in one order.

"All of these apps and these users, in their order" is a walk along the key through everybody an app has, which costs
nothing in a young database: there PostgreSQL plans it, and goes on with it until somebody counts what has come since.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final, Literal

from sqlalchemy import Connection

from worker.store import bulk

Customer = tuple[str, str]
"""App and user."""

_COUNT: Final = "SELECT sequence FROM customers WHERE app = asked.app AND user_id = asked.user_id"


def ask_counts(
    connection: Connection, customers: Collection[Customer], lock: Literal["", " FOR UPDATE", " FOR SHARE"] = ""
) -> Iterable[tuple[str, str, int | None]]:
    """Ask for the count of each, which is waited for when it is read: app, user, and the count, or None.

    Args:
        connection: a transaction.
        customers: in any order; they are locked in that of their names, as everybody does.
        lock: kept until the transaction ends, where several write at a time.
    """
    return bulk.ask_each(connection, f"{_COUNT}{lock}", ("app", "user_id"), sorted(customers))


def hold(connection: Connection, customers: Collection[Customer]) -> None:
    """Let nobody count on for these until the transaction ends; others may hold them too."""
    found: Iterable[Any] = ask_counts(connection, customers, " FOR SHARE")
    list(found)
