"""A route is a record: what serves it, what may be asked and what is answered. The document is made from the same."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from handlers import strict_json
from schemas.tokens import Scope
from worker.web import auditing, auth, body
from worker.web.errors import Refusal, Refused, invalid
from worker.web.keys import RUNTIME
from worker.web.pages import Query, parse

BODY = web.RequestKey("body", bytes)


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which a route can answer.

    Attributes:
        model: the shape of its body; None: not JSON.
    """

    description: str
    model: Any = None
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address.

    Attributes:
        serve: is called with the request and what it asks: its body as `body` if there is one, else its query.
        tag: the chapter of the document it stands in.
        answers: by status; those that many routes share are added by `worker/web/openapi.py`.
    """

    method: str
    path: str
    serve: Callable[[web.Request, Any], Awaitable[web.StreamResponse]]
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    scope: Scope | None = None
    """What a token needs to ask for it. Under /v1 each route says so; one that forgot needs the most."""
    action: str = ""
    """What the audit log calls it. Empty: nobody operates by it, as who asks, or an app that tells of its purchases."""
    query: type[BaseModel] = Query
    body: type[BaseModel] | None = None
    body_optional: bool = False
    """Without one, nothing is asked beyond the defaults."""
    description: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Path parameter → what it is."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header that it reads → what it is."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Let in whom it is for, and have what operators do written down."""
        if not self.action:
            return await self._answer(request)
        return await auditing.written_down(request, self.action, self._answer)

    @property
    def needs(self) -> Scope | None:
        """Name the scope it asks for; None: it is open."""
        return self.scope or ("operate" if self.path.startswith("/v1/") else None)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Read what is asked, refuse what is not declared, and serve the rest."""
        if self.needs is not None:
            auth.require(request, self.needs)
        asked = parse(self.query, request)
        if self.body is not None:
            asked = await _told(self.body, request, optional=self.body_optional)
        return await self.serve(request, asked)


def mount(app: web.Application, routes: Iterable[Route]) -> None:
    """Put routes into an application."""
    for route in routes:
        if route.method == "GET":
            app.router.add_get(route.path, route.handle)
        else:
            app.router.add_route(route.method, route.path, route.handle)


async def body_of(request: web.Request) -> bytes:
    """Read the body of an API request, once."""
    if BODY not in request:
        seconds = request.config_dict[RUNTIME].settings.server.body_timeout_seconds
        request[BODY] = await body.read(request, timeout_seconds=seconds, optional=True)
    return request[BODY]


async def _told(model: type[BaseModel], request: web.Request, *, optional: bool) -> BaseModel:
    said = await body_of(request)
    if optional and not said:
        return model()
    if "Content-Type" in request.headers and request.content_type != "application/json":
        raise Refused(Refusal(415, "unsupported_media_type", "Send application/json.", "Content-Type"))
    return told(model, said)


def told(model: type[BaseModel], said: bytes) -> BaseModel:
    """Read what a body says, or refuse it for its first mistake."""
    try:
        return model.model_validate(strict_json.parse_object(said), strict=True)
    except ValidationError as error:
        raise invalid(error) from None
