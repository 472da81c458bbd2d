"""`/v1/subscribers`: who is told, made and changed while everything runs; their secrets are shown once."""

import structlog
from aiohttp import web

from schemas.subscribers import (
    Rotation,
    Subscriber,
    SubscriberChange,
    SubscriberDeleted,
    SubscriberState,
    SubscriberWanted,
    SubscriberWithSecret,
)
from worker import keyring
from worker.web import admission, subscribing
from worker.web.auditing import DEED
from worker.web.errors import ErrorAnswer
from worker.web.idempotency import SECRET
from worker.web.keys import RUNTIME, ask, in_thread
from worker.web.pages import Listing, Query, Text, TimePaged, listing, path_text, resource
from worker.web.routes import Answer, Route

log = structlog.get_logger()


class SubscriberList(Listing[Subscriber]):
    """A page of subscribers."""


class SubscribersQuery(TimePaged):
    """What may be asked of the list."""

    app: Text | None = None
    state: SubscriberState | None = None


async def list_(request: web.Request, asked: SubscribersQuery) -> web.Response:
    """List subscribers, newest first."""
    runtime = request.config_dict[RUNTIME]
    filters = asked.model_dump(include={"app", "state"})
    found = await ask(request, subscribing.page, runtime, filters, after=asked.cursor, limit=asked.limit + 1)
    return listing(found, asked.limit, lambda one: (one.created_at, one.id))


async def show(request: web.Request, _: Query) -> web.Response:
    """Show one subscriber."""
    return resource(await ask(request, subscribing.shown, request.config_dict[RUNTIME], path_text(request, "id")))


async def create(request: web.Request, wanted: SubscriberWanted) -> web.Response:
    """Make a subscriber, who is told of what happens from now on."""
    runtime = request.config_dict[RUNTIME]
    admission.check_app(runtime.settings, wanted.app)
    admission.check_types(wanted.types)
    admission.check_secret(wanted.secret, wanted.signature)
    await admission.check_address(request, runtime.settings, wanted.url, allow_private=wanted.allow_private)
    secret = wanted.secret or keyring.make_secret(wanted.signature)
    kept = keyring.keep(secret, runtime.sealer)
    made = await in_thread(request, subscribing.create, runtime, request[DEED], wanted, kept)
    log.info("subscriber.created", subscriber=made.id, app=made.app)
    return _with_secret(request, made, secret if wanted.secret is None else None, status=201)


async def change(request: web.Request, asked: SubscriberChange) -> web.Response:
    """Change what was said of a subscriber, pause it, disable it, or give it another chance."""
    runtime, id_ = request.config_dict[RUNTIME], path_text(request, "id")
    said = asked.model_dump(include=asked.model_fields_set)
    before = await ask(request, subscribing.shown, runtime, id_)
    if "types" in said:
        admission.check_types(asked.types)
    if {"url", "allow_private"} & said.keys() and before.origin == "api":
        url, allow_private = (said.get(name, getattr(before, name)) for name in ("url", "allow_private"))
        await admission.check_address(request, runtime.settings, url, allow_private=allow_private)
    changed = await in_thread(request, subscribing.change, runtime, request[DEED], id_, said)
    log.info("subscriber.changed", subscriber=id_, state=changed.state, fields=sorted(said))
    return resource(changed)


async def delete(request: web.Request, _: Query) -> web.Response:
    """Delete a subscriber, and what is on its way to it."""
    id_ = path_text(request, "id")
    dropped = await in_thread(request, subscribing.delete, request.config_dict[RUNTIME], request[DEED], id_)
    log.info("subscriber.deleted", subscriber=id_, deliveries=dropped)
    return resource(SubscriberDeleted(id=id_))


async def rotate(request: web.Request, asked: Rotation) -> web.Response:
    """Give a subscriber a new secret; the one before goes on signing, too, for as long as is asked for."""
    runtime, id_ = request.config_dict[RUNTIME], path_text(request, "id")
    before = await ask(request, subscribing.shown, runtime, id_)
    signature = asked.signature or before.signature
    admission.check_secret(asked.secret, signature)
    secret = asked.secret or keyring.make_secret(signature)
    rotated = await in_thread(
        request, subscribing.rotate, runtime, request[DEED], id_, secret, expires_in_seconds=asked.expires_in_seconds
    )
    log.info("subscriber.rotated", subscriber=id_, active_secrets=rotated.active_secrets)
    return _with_secret(request, rotated, secret if asked.secret is None else None)


def _with_secret(request: web.Request, made: Subscriber, secret: str | None, *, status: int = 200) -> web.Response:
    """Show a secret: this once, and nowhere in clear. A private key is shown to nobody, as nobody else needs it."""
    request[SECRET] = True
    shown = secret if made.signature == "v1" else None
    return resource(SubscriberWithSecret(**made.model_dump(), secret=shown), status=status)


_CONFLICT = Answer(
    "Its address is taken, there are too many, it is configured in a file, or a key is missing", ErrorAnswer
)
_REFUSED = Answer("`[subscribing]` does not permit it", ErrorAnswer)

ROUTES = (
    Route(
        "GET",
        "/v1/subscribers",
        list_,
        "List subscribers",
        "Subscribers",
        {200: Answer("Subscribers, newest first", SubscriberList)},
        query=SubscribersQuery,
        scope="read",
    ),
    Route(
        "POST",
        "/v1/subscribers",
        create,
        "Make a subscriber",
        "Subscribers",
        {
            201: Answer("It is told from now on. Its secret is shown this once", SubscriberWithSecret),
            403: _REFUSED,
            409: _CONFLICT,
        },
        body=SubscriberWanted,
        scope="write",
        action="subscriber.create",
    ),
    Route(
        "GET",
        "/v1/subscribers/{id}",
        show,
        "Show a subscriber",
        "Subscribers",
        {200: Answer("The subscriber", Subscriber)},
        scope="read",
    ),
    Route(
        "PATCH",
        "/v1/subscribers/{id}",
        change,
        "Change a subscriber",
        "Subscribers",
        {200: Answer("The subscriber as it is now", Subscriber), 403: _REFUSED, 409: _CONFLICT},
        body=SubscriberChange,
        description="What is left out stays. Of one that a file configures, `state` alone can be changed.",
        scope="write",
        action="subscriber.change",
    ),
    Route(
        "DELETE",
        "/v1/subscribers/{id}",
        delete,
        "Delete a subscriber",
        "Subscribers",
        {200: Answer("It is told no more, and what was on its way is dropped", SubscriberDeleted), 409: _CONFLICT},
        scope="write",
        action="subscriber.delete",
    ),
    Route(
        "POST",
        "/v1/subscribers/{id}/rotate",
        rotate,
        "Replace the secret of a subscriber",
        "Subscribers",
        {
            200: Answer("Both sign until the old one ends. The new one is shown this once", SubscriberWithSecret),
            409: _CONFLICT,
        },
        body=Rotation,
        body_optional=True,
        scope="write",
        action="subscriber.rotate",
    ),
)
