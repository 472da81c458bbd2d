"""Every answer that is not what was asked for: one shape, made in one place.

An exception says what happened; the tables here say what that is over HTTP. A status matters to platforms: Amazon
never retries a 4xx and Apple may not, so what may pass by itself is 503 with Retry-After, whatever went wrong.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import Field, ValidationError

from handlers.errors import Rejected, TooSoon
from schemas.base import Noun
from worker.sealing import Sealed
from worker.store.engine import StoreUnavailable
from worker.trust import TrustUnavailable

log = structlog.get_logger()

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "idempotency_error",
    "api_error",
]

_TYPES: Mapping[int, ErrorType] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "idempotency_error",
    429: "authentication_error",
    500: "api_error",
    503: "api_error",
}
"""Status → what kind of mistake it is. Every other 4xx is the request's own."""

_FROM_THE_ROUTER: Mapping[int, tuple[str, str]] = {
    404: ("unknown_route", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method."),
    413: ("body_too_large", "The body is larger than 1 MiB."),
}
"""What aiohttp refuses before a handler of ours runs."""

RETRY_AFTER_SECONDS = 5
"""Long enough for a database to come back, short for a platform whose first retry would come after minutes."""


class ErrorDetail(Noun):
    """What is wrong."""

    type: ErrorType
    code: str = Field(description="A stable snake_case name")
    message: str = Field(description="For a person")
    param: str | None = Field(description="The parameter, header or field that is wrong, if it is one")


class ErrorAnswer(Noun):
    """The body of every answer from 400 up."""

    error: ErrorDetail


class ExpiredDetail(ErrorDetail):
    """What is wrong with a cursor, and which one to go on with."""

    oldest_cursor: str = Field(description="What comes after this is still there")


class ExpiredAnswer(ErrorAnswer):
    """The body of a 410: what would come next has been pruned."""

    error: ExpiredDetail


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as it will be answered."""

    status: int
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    """What only this kind of error says beside the usual."""

    @property
    def type(self) -> ErrorType:
        """Name the kind of mistake: a 409 is about the Idempotency-Key, or about what is there already."""
        if self.status == 409 and not self.code.startswith("idempotency_"):
            return "invalid_request_error"
        return _TYPES.get(self.status, "invalid_request_error")


class Refused(Exception):
    """The request gets this error for an answer."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def bad_parameter(param: str | None, message: str) -> Refused:
    """Refuse a request for one of its parameters."""
    return Refused(Refusal(400, "parameter_invalid", message, param))


def invalid(error: ValidationError, *, depth: int = 8) -> Refused:
    """Refuse a request for the first of its parameters or fields that is wrong, without repeating its value.

    Args:
        error: what pydantic says.
        depth: how much of the path to the wrong value names it.
    """
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    param = ".".join(str(part) for part in first["loc"][:depth]) or None
    if first["type"] == "extra_forbidden":
        return Refused(Refusal(400, "parameter_unknown", "Unknown parameter.", param))
    # What our own validators say comes with pydantic's word for a ValueError before it.
    return bad_parameter(param, f"{first['msg'].removeprefix('Value error, ').capitalize()}.")


def not_found(noun: str) -> Refused:
    """Refuse to show what does not exist."""
    return Refused(Refusal(404, f"{noun}_not_found", "There is none by that name.", "id"))


def try_again(code: str, message: str, *, after_seconds: int = RETRY_AFTER_SECONDS) -> Refusal:
    """Ask for the same request again, a little later."""
    return Refusal(503, code, message, headers={"Retry-After": str(after_seconds)})


def explain(error: Exception) -> Refusal:  # noqa: PLR0911 - one for each kind
    """Map what went wrong to its answer. What nobody foresaw is a 500; see `worker/web/ingest.py` for webhooks."""
    match error:
        case Refused(refusal=refusal):
            return refusal
        case TooSoon():
            return try_again(error.reason, "Signed in our future: one of two clocks is wrong.")
        case Rejected():
            return Refusal(error.status_hint, error.reason, f"Refused: {error.reason.replace('_', ' ')}.")
        case Sealed():
            return Refusal(409, error.code, f"{str(error)[:1].upper()}{str(error)[1:]}.")
        case StoreUnavailable():
            return try_again("store_unavailable", "The store is out of reach. Nothing was changed.")
        case TrustUnavailable(retry_after_seconds=seconds):
            return try_again("trust_unavailable", "The platform's keys are out of reach.", after_seconds=seconds)
        case web.HTTPException() if error.status < 500:
            return _from_the_router(error)
        case _:
            return Refusal(500, "unexpected", "This is our mistake; it was logged.")


def _from_the_router(error: web.HTTPException) -> Refusal:
    code, message = _FROM_THE_ROUTER.get(error.status, ("bad_request", f"{error.reason}."))
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Refusal(error.status, code, message, headers=allow)


def answer(refusal: Refusal) -> web.Response:
    """Write a refusal down as JSON."""
    return web.Response(
        body=_written(refusal.type, refusal.code, refusal.message, refusal.param, tuple(refusal.more.items())),
        status=refusal.status,
        headers=refusal.headers,
        content_type="application/json",
    )


@lru_cache(maxsize=256)
def _written(kind: ErrorType, code: str, message: str, param: str | None, more: tuple[tuple[str, str], ...]) -> bytes:
    """Write down once what is said of many: in a storm most are refused, and for the same reason."""
    detail = ErrorDetail(type=kind, code=code, message=message, param=param)
    return json.dumps({"error": detail.model_dump() | dict(more)}, separators=(",", ":")).encode()


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into its answer."""
    return await answered(request, handler)


async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Run a handler; what it raises becomes its answer."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 - the one place where it ends
        refusal = explain(error)
        if refusal.status == 500:
            names = {"method": request.method, "route": _route(request), **blame(error)}
            log.error("api.failed", **names)  # noqa: TRY400 - a traceback may quote what was sent
        return answer(refusal)


def blame(error: BaseException) -> dict[str, str]:
    """Say what failed and where, with nothing in it that came from outside."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return {"error": type(error).__name__, "where": where}


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"
