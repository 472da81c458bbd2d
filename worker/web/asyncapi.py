"""`/asyncapi.json`: the AsyncAPI 3.0 document of everything that this service tells, by push and by pull.

asyncapi.com/docs/reference/specification/v3.0.0. Nothing of it is written twice: what events are comes from
`schemas/published.py`, the examples from `handlers/samples.py`, and what may be asked of the feed from its routes.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from aiohttp import web

from handlers.samples import sample
from schemas.events import EVENT_TYPES
from schemas.published import VERSION, payload_of
from worker.version import installed_version
from worker.web.keys import POOL, on_pool
from worker.web.openapi import parameters_of
from worker.web.pages import Anything, document
from worker.web.routes import Answer, Route

Json = dict[str, Any]

PUSH: Final = "push"
PULLS: Final[Mapping[str, str]] = {"/v1/events": "feed", "/v1/events/stream": "stream"}
"""Where the feed is read, and what the document calls it."""

_SCHEMA: Final = "#/components/schemas/{model}"
_BINDING: Final = "0.3.0"

_DESCRIPTION: Final = """What Clawback tells app backends: one signed POST per event to each subscriber (`push`), and
the same events in one order for whoever would rather fetch (`feed`, `stream`). Delivery is at least once: an event's
`id` is the same however often it comes. Every field is there, as null where it does not apply; fields, words and types
may be added."""

_PUSHED: Final = """The URL of a subscriber. Any 2xx says that the event is taken; 410 ends the subscription; a
redirect, any other status, or none within the subscriber's time-out is tried again by schedule, with the same
`webhook-id` and a new `webhook-timestamp`. With order `per_customer` an event waits until the earlier ones of its
customer are taken."""

_FED: Final = "`GET` with the cursor of the page before; `wait` holds the question open until there is an event."

_STREAMED: Final = """`GET`: each message has the cursor as its `id`, the type as its `event` and the event as its
`data`. Whoever comes back says with `Last-Event-ID` where it was. Comments keep the connection open."""

_PULLED: Final[Mapping[str, tuple[str, str]]] = {
    "feed": ("Pages of the feed, oldest first", _FED),
    "stream": ("The feed as server-sent events", _STREAMED),
}

_HEADERS: Final[Json] = {
    "type": "object",
    "description": "Standard Webhooks. Signed are id, timestamp and the raw body, joined by dots.",
    "required": ["content-type", "webhook-id", "webhook-timestamp", "webhook-signature"],
    "properties": {
        "content-type": {"type": "string", "const": "application/json"},
        "webhook-id": {
            "type": "string",
            "pattern": "^[0-9A-Za-z_]+$",
            "description": "The event's `id`, the same over all attempts: deduplicate by it",
        },
        "webhook-timestamp": {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "Unix seconds of this attempt: refuse what is more than five minutes off",
        },
        "webhook-signature": {
            "type": "string",
            "pattern": "^v1a?,[0-9A-Za-z+/=]+( v1a?,[0-9A-Za-z+/=]+)*$",
            "description": "Separated by spaces; one that fits is enough. `v1` is HMAC-SHA256, `v1a` ed25519",
        },
    },
}

_SECURITY: Final[Json] = {
    "token": {"type": "http", "scheme": "bearer", "description": "One of [admin] tokens"},
    "signature": {
        "type": "httpApiKey",
        "name": "webhook-signature",
        "in": "header",
        "description": "Not a key but a signature, by a secret that only this subscriber shares",
    },
}

_SERVERS: Final[Json] = {
    "clawback": {
        "host": "{host}",
        "protocol": "http",
        "description": "This service, mostly behind a proxy that speaks https",
        "variables": {"host": {"default": "127.0.0.1:8080", "description": "Where this document comes from"}},
        "security": [{"$ref": "#/components/securitySchemes/token"}],
    },
    "subscriber": {
        "host": "{host}",
        "protocol": "https",
        "description": "A backend of yours",
        "variables": {"host": {"default": "api.acme.example", "description": "The host of the subscriber's URL"}},
        "security": [{"$ref": "#/components/securitySchemes/signature"}],
    },
}


def describe(routes: Iterable[Route]) -> Json:
    """Describe what is told, by push and by those of these routes that read the feed."""
    pulls = {PULLS[route.path]: route for route in routes if route.path in PULLS}
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:clawback:events:v{VERSION}",
        "info": {"title": "Clawback events", "version": installed_version(), "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": _SERVERS,
        "channels": {PUSH: _push()} | {name: _pull(name, route) for name, route in pulls.items()},
        "operations": {"tell": _telling()} | {f"read_{name}": _reading(name, route) for name, route in pulls.items()},
        "components": {"messages": _messages(), "schemas": _schemas(), "securitySchemes": _SECURITY},
    }


def serving(routes: Iterable[Route]) -> Route:
    """Make the route that serves the document."""
    routes = tuple(routes)

    @lru_cache(maxsize=1)
    def written() -> str:
        return json.dumps(describe(routes))

    async def show(request: web.Request, _: Anything) -> web.Response:
        """Show the document."""
        return document(await on_pool(request.config_dict[POOL], written))

    answers = {200: Answer("AsyncAPI 3.0: what subscribers are sent, and what the feed holds", dict)}
    summary = "Show the document of the events"
    return Route("GET", "/asyncapi.json", show, summary, "Operation", answers, query=Anything)


def _push() -> Json:
    return {
        "address": None,
        "title": "Deliveries",
        "description": _PUSHED,
        "servers": [{"$ref": "#/servers/subscriber"}],
        "messages": {name: _ref("messages", f"{name}.delivery") for name in EVENT_TYPES},
    }


def _pull(name: str, route: Route) -> Json:
    told = {"page": _ref("messages", "page")} if name == "feed" else {n: _ref("messages", n) for n in EVENT_TYPES}
    title, description = _PULLED[name]
    return {
        "address": route.path,
        "title": title,
        "description": description,
        "servers": [{"$ref": "#/servers/clawback"}],
        "messages": told,
    }


def _telling() -> Json:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{PUSH}"},
        "summary": "Tell a subscriber what its filter matches",
        "bindings": {"http": {"method": "POST", "bindingVersion": _BINDING}},
    }


def _reading(name: str, route: Route) -> Json:
    asked = {each["name"]: _asked(each) for each in parameters_of(route.query)}
    query = {"type": "object", "properties": asked, "additionalProperties": False}
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": route.summary,
        "bindings": {"http": {"method": route.method, "query": query, "bindingVersion": _BINDING}},
    }


def _asked(parameter: Json) -> Json:
    said = {"description": parameter["description"]} if "description" in parameter else {}
    return {**parameter["schema"], **said}


def _messages() -> Json:
    """Write each type twice: as it stands in the feed, and with the headers of a delivery."""
    messages: Json = {"page": _page()}
    for name, kind in EVENT_TYPES.items():
        example = {"name": "sample", "payload": sample(name).model_dump(mode="json")}
        told = {"name": name, "title": name, "summary": kind.says, "payload": _ref("schemas", name)}
        messages[name] = {**told, "examples": [example]}
        messages[f"{name}.delivery"] = {**told, "headers": _ref("schemas", "DeliveryHeaders")}
    return messages


def _page() -> Json:
    return {
        "name": "page",
        "title": "A page of the feed",
        "summary": "`next_cursor` is there as soon as there was any event: the feed has no last page.",
        "payload": _ref("schemas", "EventPage"),
    }


def _schemas() -> Json:
    schemas: Json = {"DeliveryHeaders": _HEADERS, "EventPage": _page_schema()}
    for name in EVENT_TYPES:
        payload, shared = payload_of(name, ref=_SCHEMA)
        schemas |= {name: payload, **shared}
    return schemas


def _page_schema() -> Json:
    cursor = {
        "type": ["string", "null"],
        "description": "Ask with it for what comes after; null: there was no event yet",
    }
    fields: Json = {
        "object": {"type": "string", "const": "list"},
        "data": {"type": "array", "items": {"oneOf": [_ref("schemas", name) for name in EVENT_TYPES]}},
        "has_more": {"type": "boolean", "description": "Whether there is another page already"},
        "next_cursor": cursor,
    }
    return {"type": "object", "properties": fields, "required": [*fields]}


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}
