"""`/v1/customers/{user_id}`: what a user may use, and everything that happened to them."""

from aiohttp import web

from schemas.base import Environment
from schemas.resources import Entitlement, TimelineItem
from worker.store import queries, timeline
from worker.web.keys import ask, now
from worker.web.pages import Listing, NameCursor, Paged, Text, TimePaged, listing, path_text
from worker.web.routes import Answer, Route


class EntitlementList(Listing[Entitlement]):
    """A page of a user's entitlements."""


class Timeline(Listing[TimelineItem]):
    """A page of what happened to a user."""


class EntitlementsQuery(Paged):
    """What may be asked of a user's entitlements."""

    app: Text | None = None
    environment: Environment | None = None
    cursor: NameCursor | None = None


class TimelineQuery(TimePaged):
    """What may be asked of a user's timeline."""

    app: Text | None = None
    environment: Environment | None = None


async def list_entitlements(request: web.Request, asked: EntitlementsQuery) -> web.Response:
    """List what a user may use at this moment, and what not any more."""
    found = await ask(
        request,
        queries.list_entitlements,
        {"user_id": path_text(request, "user_id"), "app": asked.app, "environment": asked.environment},
        now=now(request),
        after=asked.cursor,
        limit=asked.limit + 1,
    )
    return listing(found, asked.limit, lambda one: (one.app, one.environment, one.key))


async def list_timeline(request: web.Request, asked: TimelineQuery) -> web.Response:
    """List what happened to a user, newest first."""
    found = await ask(
        request,
        timeline.list_timeline,
        {"user_id": path_text(request, "user_id"), "app": asked.app, "environment": asked.environment},
        after=asked.cursor,
        limit=asked.limit + 1,
    )
    sorted_at = {item.id: at_ms for at_ms, item in found}
    return listing([item for _, item in found], asked.limit, lambda item: (sorted_at[item.id], item.id))


_NOTES = {"user_id": "The app's own id of the user"}

ROUTES = (
    Route(
        "GET",
        "/v1/customers/{user_id}/entitlements",
        list_entitlements,
        "List a user's entitlements",
        "Customers",
        {200: Answer("Entitlements with their state and cause; none for a user nobody knows", EntitlementList)},
        query=EntitlementsQuery,
        notes=_NOTES,
        scope="read",
    ),
    Route(
        "GET",
        "/v1/customers/{user_id}/timeline",
        list_timeline,
        "List everything that happened to a user",
        "Customers",
        {200: Answer("What platforms said and what followed, newest first", Timeline)},
        query=TimelineQuery,
        notes=_NOTES,
        scope="read",
    ),
)
