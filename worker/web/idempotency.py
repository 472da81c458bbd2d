"""Idempotency-Key: a POST that is made again gets the first answer again, and its work is not done twice."""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Concatenate, ParamSpec, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy import Connection

from worker.sealing import Sealer
from worker.store import answers
from worker.store.engine import StoreUnavailable
from worker.web.auth import CALLER
from worker.web.errors import Refusal, Refused, answered, bad_parameter
from worker.web.keys import RUNTIME, in_thread, now
from worker.web.routes import body_of

P = ParamSpec("P")
T = TypeVar("T")

HEADER = "Idempotency-Key"
HOUR_MS = 3_600_000
KEY_PATTERN = r"^[!-~]{1,255}$"
SECRET = web.RequestKey("secret", bool)
"""Set by whoever answers with a secret: what is kept of that answer is sealed, or not kept without a key."""

_UNKNOWN = Refusal(503, "outcome_unknown", "Whether this was done is not known. Ask for it before you repeat it.")
"""Without Retry-After: once the claim of its key is given up, whoever repeats it unasked may do it twice."""


@web.middleware
async def idempotency(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a known key with its first answer; keep every answer of ours except that we failed."""
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST" or CALLER not in request:
        return await handler(request)
    if not re.fullmatch(KEY_PATTERN, key):
        raise bad_parameter(HEADER, "Should be 1 to 255 printable ASCII characters without spaces.")
    fingerprint = await _fingerprint(request)
    kept_ms = request.config_dict[RUNTIME].settings.store.keep_answers_hours * HOUR_MS
    claimed = await _write(request, answers.claim, key, fingerprint, now_ms=int(now(request) * 1000), kept_ms=kept_ms)
    if not claimed.mine:
        return _again(claimed, fingerprint, request.config_dict[RUNTIME].sealer)
    return await _first(request, handler, key, claimed)


async def _first(request: web.Request, handler: Handler, key: str, claimed: answers.Claimed) -> web.StreamResponse:
    response = await answered(request, handler)
    try:
        await _settle(request, response, key, claimed)
    except StoreUnavailable:
        if response.status < 400:
            raise Refused(_UNKNOWN) from None
    return response


async def _settle(request: web.Request, response: web.StreamResponse, key: str, claimed: answers.Claimed) -> None:
    """Keep the answer under its key, or give the key back."""
    if response.status >= 500 or not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        await _write(request, answers.release, key, claimed)
    else:
        body, sealer = response.body.decode(), request.config_dict[RUNTIME].sealer
        kept = answers.SEALED + sealer.seal(body) if sealer or SECRET in request else body
        await _write(request, answers.keep, key, claimed, response.status, kept)


def _again(claimed: answers.Claimed, fingerprint: str, sealer: Sealer) -> web.Response:
    if claimed.fingerprint != fingerprint:
        raise Refused(Refusal(409, "idempotency_key_reused", "That key came with another request.", HEADER))
    if claimed.status is None or claimed.body is None:
        raise Refused(Refusal(409, "idempotency_key_in_use", "The first request is still under way.", HEADER))
    body = claimed.body
    if body.startswith(answers.SEALED):
        body = sealer.open(body.removeprefix(answers.SEALED))
    return web.Response(
        body=body.encode(),
        status=claimed.status,
        content_type="application/json",
        headers={"Idempotent-Replayed": "true"},
    )


async def _fingerprint(request: web.Request) -> str:
    """Tell requests apart by who asks for what: method, address with its query, body and token."""
    parts = (request.method, request.path_qs, sha256(await body_of(request)).hexdigest(), request[CALLER].digest)
    return sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


async def _write(
    request: web.Request, statement: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    store = request.config_dict[RUNTIME].store

    def write() -> T:
        with store.write() as connection:
            return statement(connection, *args, **kwargs)

    return await in_thread(request, write)
