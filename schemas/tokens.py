"""Who may ask: a token as the API shows it, what may be asked for when one is made, and what it opens."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from schemas.base import Noun

Scope = Literal["read", "write", "operate"]
SCOPES: tuple[Scope, ...] = ("read", "write", "operate")
"""read: ask. write: tell of purchases, and say who is told. operate: do something again, and say who may ask."""

TokenState = Literal["active", "expired", "revoked"]


def _ordered(value: object) -> object:
    """Take a JSON array of scopes in any order, each once."""
    if not isinstance(value, list | tuple):
        return value
    known = [scope for scope in SCOPES if scope in value]
    return (*known, *(scope for scope in value if scope not in SCOPES))


Scopes = Annotated[
    tuple[Scope, ...],
    BeforeValidator(_ordered),
    Field(min_length=1, max_length=8, description="What it opens", examples=[["read", "write"]]),
]
TokenName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@/-]{0,63}$",
        description="Who is to have it, for whoever reads the audit log. Several may have one name, as while rotating",
    ),
]


class Token(Noun):
    """A bearer token, without what it is: that is kept by whoever it was made for."""

    id: str = Field(description="`tok_…`")
    object: Literal["token"] = "token"
    name: TokenName
    scopes: Scopes
    state: TokenState
    created_at: int
    expires_at: int | None = Field(description="From then on it opens nothing; null: never")
    revoked_at: int | None


class TokenWithSecret(Token):
    """A token that was just made. What it is, is shown this once."""

    token: str = Field(description="`cb_…`: send it as `Authorization: Bearer …`")


class TokenWanted(Noun):
    """What is asked for when a token is made."""

    name: TokenName
    scopes: Scopes
    expires_in_seconds: Annotated[
        int | None, Field(ge=1, le=10 * 366 * 86_400, description="How long it opens; null: until it is revoked")
    ] = None


class TokenRotation(Noun):
    """How a token is replaced by one of the same name and scopes."""

    keep_seconds: Annotated[
        int, Field(ge=0, le=30 * 86_400, description="How long the old one goes on; 0: it ends now")
    ] = 86_400
    expires_in_seconds: Annotated[
        int | None,
        Field(ge=1, le=10 * 366 * 86_400, description="How long the new one opens; null: until it is revoked"),
    ] = None
