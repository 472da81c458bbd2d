"""`/v1/notifications`: the inbox, and the way to process something again."""

from collections.abc import Mapping
from functools import partial

from aiohttp import web

from handlers.errors import Rejected
from handlers.platforms import PLATFORMS
from schemas.base import Environment, PlatformName
from schemas.meaning import Confirm
from schemas.resources import Action, Notification, NotificationStatus
from worker import replay as stored
from worker.runtime import Runtime
from worker.sealing import Sealed
from worker.store.notices import find_notification, list_notifications
from worker.web.auditing import DEED
from worker.web.errors import not_found
from worker.web.keys import RUNTIME, ask, in_thread
from worker.web.pages import Listing, Query, Text, TimePaged, listing, path_text, resource
from worker.web.routes import Answer, Route

_FILTERS = ("app", "platform", "environment", "status", "type")


class NotificationList(Listing[Notification]):
    """A page of notifications."""


class NotificationsQuery(TimePaged):
    """What may be asked of the list."""

    app: Text | None = None
    platform: PlatformName | None = None
    environment: Environment | None = None
    status: NotificationStatus | None = None
    type: Text | None = None


async def list_(request: web.Request, asked: NotificationsQuery) -> web.Response:
    """List notifications, newest first."""
    found = await ask(
        request,
        list_notifications,
        asked.model_dump(include=set(_FILTERS)),
        after=asked.cursor,
        limit=asked.limit + 1,
        action_of=partial(action_of, request.config_dict[RUNTIME]),
    )
    received = {notification.id: at_ms for at_ms, notification in found}
    return listing([shown for _, shown in found], asked.limit, lambda shown: (received[shown.id], shown.id))


async def show(request: web.Request, _: Query) -> web.Response:
    """Show one notification."""
    id_ = path_text(request, "id")
    found = await ask(request, find_notification, id_, action_of=partial(action_of, request.config_dict[RUNTIME]))
    if found is None:
        raise not_found("notification")
    return resource(found)


async def replay(request: web.Request, query: Query) -> web.Response:
    """Process a notification again. Harmless at any time: what it said is in the ledger once."""
    deed, id_ = request[DEED], path_text(request, "id")
    if not await in_thread(request, stored.replay, request.config_dict[RUNTIME], [id_], deed.note_each):
        raise not_found("notification")
    return await show(request, query)


def action_of(
    runtime: Runtime, id_: str, app: str, platform: str, body: bytes, headers: Mapping[str, str]
) -> Action | None:
    """Read out of a stored confirmation what an operator needs to confirm it."""
    apps = runtime.settings.apps
    section = apps[app].platform(platform) if app in apps else None
    if section is None or platform not in PLATFORMS:
        return None
    understand = PLATFORMS[platform]
    try:
        said = understand.read(*runtime.bodies.take(id_, body, headers))
        meaning = understand.normalize(said, {}, settings=section)
    except (Rejected, Sealed):
        return None
    if not isinstance(meaning, Confirm):
        return None
    return Action(type="confirm_subscription", topic=meaning.topic, token=meaning.token, url=meaning.url)


ROUTES = (
    Route(
        "GET",
        "/v1/notifications",
        list_,
        "List notifications",
        "Notifications",
        {200: Answer("Notifications, newest first", NotificationList)},
        query=NotificationsQuery,
        scope="read",
    ),
    Route(
        "GET",
        "/v1/notifications/{id}",
        show,
        "Show a notification",
        "Notifications",
        {200: Answer("The notification", Notification)},
        scope="read",
    ),
    Route(
        "POST",
        "/v1/notifications/{id}/replay",
        replay,
        "Process a notification again",
        "Notifications",
        {200: Answer("It is accepted again and queued", Notification)},
        scope="operate",
        action="notification.replay",
    ),
)
