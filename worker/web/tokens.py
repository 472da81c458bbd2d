"""`/v1/tokens`: who may ask, changed while everything runs. What a token is, is shown once."""

from collections.abc import Iterable

from aiohttp import web

from schemas.tokens import Scope, Token, TokenRotation, TokenWanted, TokenWithSecret
from worker import tokens as work
from worker.store import tokens as store
from worker.tokens import TokenEnded, TokenNotFound
from worker.web.auditing import DEED
from worker.web.auth import require
from worker.web.errors import ErrorAnswer, Refusal, Refused, not_found
from worker.web.idempotency import HEADER, SECRET
from worker.web.keys import RUNTIME, ask, in_thread, now
from worker.web.pages import Listing, Query, TimePaged, listing, path_text, resource
from worker.web.register import REGISTER
from worker.web.routes import Answer, Route


class TokenList(Listing[Token]):
    """A page of tokens."""


async def list_(request: web.Request, asked: TimePaged) -> web.Response:
    """List tokens, newest first, those that ended among them."""
    found = await ask(request, store.list_tokens, now=now(request), after=asked.cursor, limit=asked.limit + 1)
    return listing(found, asked.limit, lambda token: (token.created_at, token.id))


async def create(request: web.Request, wanted: TokenWanted) -> web.Response:
    """Make a token."""
    _allow(request, wanted.scopes)
    made = await in_thread(
        request,
        work.create,
        request.config_dict[RUNTIME],
        request[DEED],
        wanted.name,
        wanted.scopes,
        expires_in_seconds=wanted.expires_in_seconds,
    )
    return _shown_once(request, made, status=201)


async def rotate(request: web.Request, asked: TokenRotation) -> web.Response:
    """Make a token that takes the place of another, which goes on for a while."""
    runtime, id_ = request.config_dict[RUNTIME], path_text(request, "id")
    old = await ask(request, store.find_token, id_, now=now(request))
    if old is None:
        raise not_found("token")
    _allow(request, old.scopes)
    try:
        made = await in_thread(request, work.rotate, runtime, request[DEED], id_, **asked.model_dump())
    except TokenEnded as ended:
        raise Refused(Refusal(409, "token_ended", f"{ended!s}.", "id")) from None
    return _shown_once(request, made)


async def revoke(request: web.Request, _: Query) -> web.Response:
    """Revoke a token. It stays in the list, as others may ask later whose it was."""
    runtime, id_ = request.config_dict[RUNTIME], path_text(request, "id")
    try:
        ended = await in_thread(request, work.revoke, runtime, request[DEED], id_)
    except TokenNotFound:
        raise not_found("token") from None
    request.app[REGISTER].outdate()
    return resource(ended)


def _allow(request: web.Request, scopes: Iterable[Scope]) -> None:
    """Refuse to give what the asking token has not itself, and an answer that could not be kept for a repetition."""
    for scope in scopes:
        require(request, scope)
    if HEADER in request.headers:
        request.config_dict[RUNTIME].sealer.seal("")


def _shown_once(request: web.Request, made: TokenWithSecret, *, status: int = 200) -> web.Response:
    request[SECRET] = True
    request.app[REGISTER].outdate()
    return resource(made, status=status)


ROUTES = (
    Route(
        "GET",
        "/v1/tokens",
        list_,
        "List tokens",
        "Operation",
        {200: Answer("Tokens, newest first, without what they are", TokenList)},
        query=TimePaged,
        scope="operate",
    ),
    Route(
        "POST",
        "/v1/tokens",
        create,
        "Make a token",
        "Operation",
        {201: Answer("It opens at once. What it is, is shown this once", TokenWithSecret)},
        body=TokenWanted,
        scope="operate",
        action="token.create",
        description="No token gives a scope that it has not itself.",
    ),
    Route(
        "POST",
        "/v1/tokens/{id}/rotate",
        rotate,
        "Replace a token",
        "Operation",
        {
            200: Answer("The new one, shown this once; the old one goes on for as long as asked for", TokenWithSecret),
            409: Answer("It has ended, or the Idempotency-Key came with another request", ErrorAnswer),
        },
        body=TokenRotation,
        body_optional=True,
        scope="operate",
        action="token.rotate",
    ),
    Route(
        "DELETE",
        "/v1/tokens/{id}",
        revoke,
        "Revoke a token",
        "Operation",
        {200: Answer("It opens nothing from now on, on every host within seconds", Token)},
        scope="operate",
        action="token.revoke",
    ),
)
