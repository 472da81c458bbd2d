"""Make, replace and revoke tokens while everything runs, each in one transaction with its row in the audit log.

`cb_` and 64 hexadecimal digits: 256 random bits, in a form that scanners of repositories find
(https://docs.github.com/en/code-security/secret-scanning, `cb_[0-9a-f]{64}`) and a double click takes whole.
"""

import secrets
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection

from handlers import ids as identify
from schemas.tokens import Scope, Token, TokenWithSecret
from worker.deeds import Deed
from worker.runtime import Runtime
from worker.store import tokens as store

PREFIX: Final = "cb_"
TOKEN_BYTES: Final = 32


class TokenNotFound(Exception):
    """There is no token of that id: `clawback token list` shows those that there are."""


class TokenEnded(Exception):
    """The token was revoked or has expired: what opens nothing is not replaced. Make a new one."""


def digest(token: str) -> str:
    """Hash a token: what is kept of it, and compared."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def create(
    runtime: Runtime, deed: Deed, name: str, scopes: tuple[Scope, ...], *, expires_in_seconds: int | None
) -> TokenWithSecret:
    """Make a token, which opens at once, and give what it is: this once."""

    def work(connection: Connection) -> TokenWithSecret:
        made = _enter(connection, runtime, name, scopes, expires_in_seconds)
        deed.note(connection, made.id, name=name, scopes=scopes, expires_at=made.expires_at)
        return made

    return runtime.store.change(work)


def rotate(
    runtime: Runtime, deed: Deed, id_: str, *, keep_seconds: int, expires_in_seconds: int | None
) -> TokenWithSecret:
    """Make a token of the same name and scopes; the old one goes on for a while, so that nobody is locked out.

    Raises:
        TokenNotFound: there is none.
        TokenEnded: it opens nothing any more.
    """
    now = runtime.clock()

    def work(connection: Connection) -> TokenWithSecret:
        old = _there(connection, id_, now)
        if old.state != "active":
            raise TokenEnded(f"{id_} is {old.state}: make a new one")
        ends_at = int(now) + keep_seconds
        store.end_token(connection, id_, expires_at=min(ends_at, old.expires_at or ends_at))
        made = _enter(connection, runtime, old.name, old.scopes, expires_in_seconds)
        deed.note(connection, id_, name=old.name, replaced_by=made.id, keep_seconds=keep_seconds)
        return made

    return runtime.store.change(work)


def revoke(runtime: Runtime, deed: Deed, id_: str) -> Token:
    """Revoke a token: within seconds it opens nothing anywhere. Doing it again changes nothing.

    Raises:
        TokenNotFound: there is none.
    """
    now = runtime.clock()

    def work(connection: Connection) -> Token:
        if _there(connection, id_, now).revoked_at is None:
            store.end_token(connection, id_, revoked_at=int(now))
        ended = _there(connection, id_, now)
        deed.note(connection, id_, name=ended.name)
        return ended

    return runtime.store.change(work)


def _enter(
    connection: Connection, runtime: Runtime, name: str, scopes: tuple[Scope, ...], expires_in_seconds: int | None
) -> TokenWithSecret:
    now = runtime.clock()
    token = PREFIX + secrets.token_hex(TOKEN_BYTES)
    id_ = identify.make("tok", secrets.token_hex(16))
    expires_at = None if expires_in_seconds is None else int(now) + expires_in_seconds
    values = {"name": name, "hash": digest(token), "scopes": " ".join(scopes), "created_at": int(now)}
    store.add_token(connection, {"id": id_, "expires_at": expires_at, **values})
    return TokenWithSecret(**_there(connection, id_, now).model_dump(), token=token)


def _there(connection: Connection, id_: str, now: float) -> Token:
    found = store.find_token(connection, id_, now=now, locked=True)
    if found is None:
        raise TokenNotFound(f"there is no token {id_!r}; `clawback token list` shows those that there are")
    return found
