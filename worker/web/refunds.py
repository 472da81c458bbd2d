"""`/v1/refunds`: every time that money went back, or was meant to."""

from typing import Annotated, Literal

from aiohttp import web
from pydantic import BeforeValidator, Field

from schemas.base import Environment, PlatformName
from schemas.resources import Refund, RefundStatus
from worker.store import queries
from worker.web.errors import not_found
from worker.web.keys import ask, now
from worker.web.pages import Listing, Query, Seconds, Text, TimePaged, listing, path_text, resource
from worker.web.routes import Answer, Route

Include = Literal["charge"]
_FILTERS = ("app", "platform", "environment", "status", "user_id", "charge_id")
_FLAGS = {"true": True, "false": False}


def _flag(value: object) -> object:
    """Take the two words of JSON only, not the many that Python reads as yes."""
    if value not in _FLAGS:
        raise ValueError("should be true or false")
    return _FLAGS[str(value)]


class RefundList(Listing[Refund]):
    """A page of refunds."""


class RefundsQuery(TimePaged):
    """What may be asked of the list."""

    app: Text | None = None
    platform: PlatformName | None = None
    environment: Environment | None = None
    status: RefundStatus | None = None
    user_id: Text | None = None
    charge_id: Annotated[Text | None, Field(description="Our id of the purchase")] = None
    unmatched: Annotated[
        bool | None,
        BeforeValidator(_flag),
        Field(description="`true`: only those of which nobody knows whose they are; `false`: only the others"),
    ] = None
    created_gte: Annotated[Seconds | None, Field(description="Created at this Unix second or later")] = None
    created_lte: Annotated[Seconds | None, Field(description="Created at this Unix second or earlier")] = None
    include: Annotated[Include | None, Field(description="`charge`: the purchase, whole")] = None


class RefundQuery(Query):
    """What may be asked of one."""

    include: Annotated[Include | None, Field(description="`charge`: the purchase, whole")] = None


async def list_refunds(request: web.Request, asked: RefundsQuery) -> web.Response:
    """List refunds, newest first."""
    found = await ask(
        request,
        queries.list_refunds,
        asked.model_dump(include=set(_FILTERS)),
        unmatched=asked.unmatched,
        created_from=asked.created_gte,
        created_to=asked.created_lte,
        after=asked.cursor,
        limit=asked.limit + 1,
    )
    shown = await _included(request, found, asked.include)
    left_out = None if asked.include else {"data": {"__all__": {"charge"}}}
    return listing(shown, asked.limit, lambda refund: (refund.created_at, refund.id), exclude=left_out)


async def show_refund(request: web.Request, asked: RefundQuery) -> web.Response:
    """Show one refund."""
    found = await ask(request, queries.find_refund, path_text(request, "id"))
    if found is None:
        raise not_found("refund")
    (shown,) = await _included(request, [found], asked.include)
    return resource(shown, exclude=None if asked.include else {"charge"})


async def _included(request: web.Request, refunds: list[Refund], include: Include | None) -> list[Refund]:
    if include is None:
        return refunds
    charges = await ask(request, queries.find_purchases, [refund.charge_id for refund in refunds], now=now(request))
    return [refund.model_copy(update={"charge": charges.get(refund.charge_id)}) for refund in refunds]


ROUTES = (
    Route(
        "GET",
        "/v1/refunds",
        list_refunds,
        "List refunds",
        "Refunds",
        {200: Answer("Refunds, newest first", RefundList)},
        query=RefundsQuery,
        scope="read",
    ),
    Route(
        "GET",
        "/v1/refunds/{id}",
        show_refund,
        "Show a refund",
        "Refunds",
        {200: Answer("The refund", Refund)},
        query=RefundQuery,
        scope="read",
    ),
)
