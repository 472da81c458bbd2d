"""`/v1/purchases`: what was bought, as platforms and app backends tell of it."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from schemas.base import Access, Environment, PlatformName
from schemas.resources import Purchase, PurchaseTold
from worker.store import queries
from worker.tell import tell
from worker.web.errors import bad_parameter, not_found
from worker.web.keys import RUNTIME, ask, in_thread, now
from worker.web.pages import Listing, Query, Text, TimePaged, listing, path_text, resource
from worker.web.routes import Answer, Route

_FILTERS = ("app", "platform", "environment", "purchase_id", "original_purchase_id", "user_id")


class PurchaseList(Listing[Purchase]):
    """A page of purchases."""


class PurchasesQuery(TimePaged):
    """What may be asked of the list."""

    app: Text | None = None
    platform: PlatformName | None = None
    environment: Environment | None = None
    purchase_id: Annotated[Text | None, Field(description="Any id that the platform, or the app, knows it by")] = None
    original_purchase_id: Text | None = None
    user_id: Text | None = None
    access: Access | None = None


async def list_purchases(request: web.Request, asked: PurchasesQuery) -> web.Response:
    """List purchases, newest first."""
    found = await ask(
        request,
        queries.list_purchases,
        asked.model_dump(include=set(_FILTERS)),
        access=asked.access,
        now=now(request),
        after=asked.cursor,
        limit=asked.limit + 1,
    )
    return listing(found, asked.limit, lambda purchase: (queries.sort_at(purchase), purchase.id))


async def show_purchase(request: web.Request, _: Query) -> web.Response:
    """Show one purchase."""
    id_ = path_text(request, "id")
    found = await ask(request, queries.find_purchases, [id_], now=now(request))
    if id_ not in found:
        raise not_found("purchase")
    return resource(found[id_])


async def tell_purchase(request: web.Request, told: PurchaseTold) -> web.Response:
    """Take an app backend's word about a purchase; earlier refunds of it take effect at once."""
    runtime = request.config_dict[RUNTIME]
    if told.app not in runtime.settings.apps:
        raise bad_parameter("app", "No app of that name is configured.")
    purchase, new = await in_thread(request, tell, runtime, told)
    return resource(purchase, status=201 if new else 200)


ROUTES = (
    Route(
        "GET",
        "/v1/purchases",
        list_purchases,
        "List purchases",
        "Purchases",
        {200: Answer("Purchases, newest first", PurchaseList)},
        query=PurchasesQuery,
        scope="read",
    ),
    Route(
        "POST",
        "/v1/purchases",
        tell_purchase,
        "Tell of a purchase",
        "Purchases",
        {
            200: Answer("It was known; what was unknown of it is filled in", Purchase),
            201: Answer("It is new", Purchase),
        },
        body=PurchaseTold,
        description="Idempotent per app, platform, environment and purchase_id. Earlier refunds take effect at once.",
        scope="write",
    ),
    Route(
        "GET",
        "/v1/purchases/{id}",
        show_purchase,
        "Show a purchase",
        "Purchases",
        {200: Answer("The purchase", Purchase)},
        scope="read",
    ),
)
