"""`/openapi.json`: the OpenAPI 3.1 document, made from the very records that serve the routes.

spec.openapis.org/oas/v3.1.0. Nothing of it is written twice: parameters come from the query models, bodies and answers
from the resources, and what many routes share (who may ask, what can go wrong) from the tables here.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from schemas.resources import Refund
from worker.version import installed_version
from worker.web.errors import ErrorAnswer
from worker.web.idempotency import HEADER, KEY_PATTERN
from worker.web.pages import Anything, document
from worker.web.routes import Answer, Route

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"

_ERRORS: Mapping[int, str] = {
    400: "A parameter, a field or the body is wrong",
    401: "No token, or one that is not known here, has expired or was revoked",
    403: "Authentic, and for another app, environment or topic; or the token lacks the scope that this asks for",
    404: "There is none by that name",
    409: "The Idempotency-Key came with another request, or its first request is still under way",
    413: "The body is larger than 1 MiB",
    415: "The body is not application/json",
    429: "Too many unknown tokens came from that address: try again after Retry-After",
    500: "Our mistake; it was logged",
    503: "Try again after Retry-After",
}

_HEADERS: Mapping[int, Json] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}},
    503: {"Retry-After": {"description": "Seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}},
}

_WEBHOOK_ERRORS = (400, 401, 403, 404, 413, 503)

_KEY_PARAMETER: Json = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat: for 24 hours the same key gets the first answer again",
    "schema": {"type": "string", "pattern": KEY_PATTERN},
}

_BEARER = """A token of `clawback token new` or `POST /v1/tokens`, which opens what its scopes say (`read`, `write`,
`operate`); or one of `[admin] tokens`, which opens everything."""

_DESCRIPTION = """Clawback turns the refund notifications of payment platforms into revoked entitlements, refund
records and one feed of events. Times are integer Unix seconds in resources and ISO 8601 in events; money is integer
minor units with a lower-case ISO 4217 code. An unknown parameter is refused, never ignored."""


def describe(routes: Iterable[Route]) -> Json:
    """Describe routes as one document."""
    paths: Json = {}
    schemas = _Schemas()
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Clawback", "version": installed_version(), "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": _BEARER}},
            "schemas": dict(sorted(schemas.definitions.items())),
        },
    }


def serving(routes: Iterable[Route]) -> Route:
    """Make the route that serves the document of these routes and of itself."""
    routes = tuple(routes)

    async def show(_request: web.Request, _: Anything) -> web.Response:
        """Show the document."""
        return document(json.dumps(describe((*routes, route))))

    answers = {200: Answer("This document", dict)}
    route = Route("GET", "/openapi.json", show, "Show this document", "Operation", answers, query=Anything)
    return route


def parameters_of(model: type[BaseModel]) -> list[Json]:
    """Write a query model as parameters, for whoever describes a route elsewhere."""
    return _Schemas().parameters(model)


class _Schemas:
    """The components, gathered while routes refer to them."""

    def __init__(self) -> None:
        self.definitions: Json = {}

    def of_answer(self, model: Any) -> Json:
        """Refer to what is answered: every field is there, whether it has a default or not."""
        if model is dict:
            return {"type": "object"}
        return self._add(model, "serialization")

    def of_body(self, model: type[BaseModel]) -> Json:
        """Refer to what is sent."""
        return self._add(model, "validation")

    def parameters(self, model: type[BaseModel]) -> list[Json]:
        """Write a query model as parameters."""
        schema = model.model_json_schema(ref_template=_REF)
        self.definitions |= schema.get("$defs", {})
        return [_parameter(name, dict(field)) for name, field in schema.get("properties", {}).items()]

    def _add(self, model: Any, mode: JsonSchemaMode) -> Json:
        refs, schema = models_json_schema([(model, mode)], ref_template=_REF, schema_generator=_Generator)
        self.definitions |= schema["$defs"]
        return dict(refs[model, mode])


class _Generator(GenerateJsonSchema):
    """Write down what answers are: every field is there, and a later version may add some."""

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: FBT001 - pydantic's own signature
        return self._answers or super().field_is_required(field, total)

    def model_schema(self, schema: Any) -> Json:
        written = super().model_schema(schema)
        if self._answers:
            written.pop("additionalProperties", None)
        if schema["cls"] is Refund:
            # Left out, not null, unless it is asked for.
            written["required"] = [name for name in written["required"] if name != "charge"]
        return written

    @property
    def _answers(self) -> bool:
        return self.mode == "serialization"


def _operation(route: Route, schemas: _Schemas) -> Json:
    operation: Json = {
        "operationId": re.sub(r"[^a-z]+", "_", route.summary.lower()).strip("_"),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
    }
    if route.description:
        operation["description"] = route.description
    if _is_closed(route):
        # Roles that a scheme does not define by itself may be named since 3.1.
        operation["security"] = [{"token": [route.needs]}]
    if route.body is not None:
        content = {"application/json": {"schema": schemas.of_body(route.body)}}
        operation["requestBody"] = {"required": not route.body_optional, "content": content}
    elif route.tag == "Webhooks":
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {}}}}
    return operation


def _is_closed(route: Route) -> bool:
    return route.path.startswith("/v1/")


def _parameters(route: Route, schemas: _Schemas) -> list[Json]:
    names = re.findall(r"{(\w+)}", route.path)
    own = [_path_parameter(name, route.notes.get(name, "Our id of it")) for name in names]
    keyed = [_KEY_PARAMETER] if route.method == "POST" and _is_closed(route) else []
    headers = [_header_parameter(name, description) for name, description in route.headers.items()]
    return [*own, *schemas.parameters(route.query), *keyed, *headers]


def _path_parameter(name: str, description: str) -> Json:
    schema = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"^[^\x00]+$"}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _header_parameter(name: str, description: str) -> Json:
    schema = {"type": "string", "format": "cursor"}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _parameter(name: str, schema: Json) -> Json:
    """Write a field of a query model as a parameter. Null cannot be written in a query, so it is no choice."""
    own = schema.pop("description", None)
    schema.pop("title", None)
    if schema.get("default", ...) in (None, []):
        del schema["default"]
    choices = [choice for choice in schema.pop("anyOf", []) if choice != {"type": "null"}]
    schema |= choices[0] if choices else {}
    description = own or schema.pop("description", None)
    schema.pop("description", None)
    parameter: Json = {"name": name, "in": "query", "required": False, "schema": schema}
    return parameter | ({"description": description} if description else {})


def _responses(route: Route, schemas: _Schemas) -> Json:
    responses = {str(status): _response(answer, status, schemas) for status, answer in route.answers.items()}
    for status in _errors(route):
        error = Answer(_ERRORS[status], ErrorAnswer)
        responses.setdefault(str(status), _response(error, status, schemas))
    return dict(sorted(responses.items()))


def _errors(route: Route) -> Iterable[int]:
    """Say what can go wrong with a route, from what it is."""
    if route.tag == "Webhooks":
        return _WEBHOOK_ERRORS
    if not _is_closed(route):
        return (401, 429) if route.path in ("/readyz", "/metrics") else ()
    found = (404,) if "{id}" in route.path else ()
    posted = (409, 413) if route.method == "POST" else ()
    told = (413, 415) if route.body is not None else ()
    return (400, 401, 403, 429, *found, *posted, *told, 500, 503)


def _response(answer: Answer, status: int, schemas: _Schemas) -> Json:
    schema = schemas.of_answer(answer.model) if answer.model is not None else {"type": "string"}
    response: Json = {"description": answer.description, "content": {answer.media_type: {"schema": schema}}}
    if status in _HEADERS and answer.model is ErrorAnswer:
        response["headers"] = _HEADERS[status]
    return response
