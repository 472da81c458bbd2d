"""The tokens table: who may ask. Of a token only its hash is kept; one that ended stays for readers of the audit log.

A plain SHA-256 is enough: a token is 256 random bits, which nobody finds by trying. Salts and slow functions are for
what people choose (https://pages.nist.gov/800-63-3/sp800-63b.html, 5.1.2.2: from 112 bits on, a one-way function).
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from schemas.tokens import SCOPES, Token, TokenState
from worker.store.queries import After, newest_first, rows
from worker.store.tables import tokens

_c = tokens.c


def list_tokens(connection: Connection, *, now: float, after: After, limit: int) -> list[Token]:
    """List tokens, newest first, those that ended among them."""
    return [token_of(row, now) for row in newest_first(connection, select(tokens), _c.created_at, _c.id, after, limit)]


def all_tokens(connection: Connection) -> list[tuple[str, Token]]:
    """Give every token with its hash, as if none had expired: whoever keeps them for a while looks at the clock."""
    return [(row["hash"], token_of(row, 0.0)) for row in rows(connection, select(tokens))]


def find_token(connection: Connection, id_: str, *, now: float, locked: bool = False) -> Token | None:
    """Find one; `locked`: nobody else changes it before this transaction ends."""
    statement = select(tokens).where(_c.id == id_)
    found = rows(connection, statement.with_for_update() if locked else statement)
    return token_of(found[0], now) if found else None


def add_token(connection: Connection, values: Mapping[str, Any]) -> None:
    """Enter one."""
    connection.execute(insert(tokens).values(dict(values)))


def end_token(connection: Connection, id_: str, **at: int) -> None:
    """Say when one ends, or that it did: `expires_at`, `revoked_at`."""
    connection.execute(update(tokens).where(_c.id == id_).values(at))


def state_of(expires_at: int | None, revoked_at: int | None, now: float) -> TokenState:
    """Tell whether a token still opens anything."""
    if revoked_at is not None:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= now else "active"


def token_of(row: RowMapping, now: float) -> Token:
    """Read a row."""
    return Token(
        id=row["id"],
        name=row["name"],
        scopes=tuple(scope for scope in SCOPES if scope in row["scopes"].split()),
        state=state_of(row["expires_at"], row["revoked_at"], now),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
