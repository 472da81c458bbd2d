"""The document against the service: the same routes, and answers that are what it says they are."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.web import seed
from tests.web import service as real
from tests.web.service import TOKEN
from worker.web import openapi
from worker.web.app import ROUTES, make_runner
from worker.web.errors import ErrorAnswer, ExpiredAnswer
from worker.web.pages import encode

DOCUMENT = openapi.describe((*ROUTES, openapi.serving(ROUTES)))
EXAMPLES = 15

schemathesis.openapi.format("cursor", st.integers(0, 2**50).map(lambda at: encode([at, "re_1"])))
# A stream does not end: tests/web/test_stream.py listens to it.
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path="/v1/events/stream")


def test_every_route_is_documented_and_every_documented_route_is_there(url: str) -> None:
    """The routes of the application and the operations of the document are the same set."""
    queue, clock = real.Queue(), real.Clock()
    app = real.application(real.runtime_of(real.settings(), url, queue, clock), queue)
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}

    webhooks = "/webhooks/{platform}/{app}"
    assert described - {("POST", webhooks)} == served - {("*", webhooks)}
    assert {("POST", webhooks), ("*", webhooks)} <= described | served


def test_names_in_the_document_are_unique_and_refer_to_something() -> None:
    """Each operation has a name of its own, and each reference leads somewhere."""
    operations = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))

    assert len(set(operations)) == len(operations)
    assert references <= set(DOCUMENT["components"]["schemas"])


def test_every_schema_is_one() -> None:
    """Each component is a valid JSON Schema of the dialect that OpenAPI 3.1 speaks."""
    for name, component in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **component})
        assert "description" in component, name


def test_every_refusal_has_one_shape() -> None:
    """Whatever is documented from 400 up is an error in the one shape, but for readiness; a 410 says one thing more."""
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status >= "400" and (path, status) != ("/readyz", "503"):
                    content = response["content"]["application/json"]["schema"]
                    shape = ExpiredAnswer if status == "410" else ErrorAnswer
                    assert {"$ref": f"#/components/schemas/{shape.__name__}"} == content


def test_everything_behind_a_token_says_so() -> None:
    """An operation asks for the token in the document exactly where the service does."""
    for path, item in DOCUMENT["paths"].items():
        for operation in item.values():
            assert path.startswith("/v1/") is ("security" in operation)


async def test_the_document_is_served(service: real.Service) -> None:
    """What the service serves is the document that these tests are about."""
    assert DOCUMENT == await service.get("/openapi.json")


@pytest.fixture(name="base_url", scope="module")
def _base_url(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("driven") / "clawback.db"
    path.write_bytes(migrated.read_bytes())
    with _in_a_thread(f"sqlite:///{path}") as base_url:
        yield base_url


@contextmanager
def _in_a_thread(url: str) -> Iterator[str]:
    """Run the service on a loop of its own, so that a client that blocks can drive it."""
    queue, clock = real.Queue(), real.Clock()
    runtime = real.runtime_of(real.settings(), url, queue, clock)
    _seed(runtime)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(real.application(runtime, queue)), loop).result(30)
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()
    runtime.store.close()


async def _start(app: web.Application) -> web.AppRunner:
    runner = make_runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


def _seed(runtime: Any) -> None:
    """Have something of everything, so that answers are not only empty lists."""
    for number in range(1, 4):
        seed.insert_notification(runtime.store, number)
        things = (seed.purchase(number), seed.refund(number), seed.refunded(number), seed.event(number))
        seed.insert(runtime.store, *things, seed.entitlement(f"pro-{number}"))


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
def test_the_service_answers_as_documented(case: schemathesis.Case, base_url: str) -> None:
    """Whatever is asked, right or wrong, the answer's status, type, headers and body are among those documented."""
    if "wait" in (case.query or {}):
        case.query["wait"] = 0  # what a long poll waits for is tested beside this
    response = case.call(base_url=base_url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        negative_data_rejection,
        unsupported_method,
    ]
    case.validate_response(response, checks=checks)


@pytest.mark.parametrize("path", ["/v1/refunds", "/v1/purchases", "/v1/notifications", "/v1/events"])
def test_seeded_answers_keep_their_schema(base_url: str, path: str) -> None:
    """Lists that hold something are what the document says, too."""
    case = schema[path]["GET"].Case(query={"limit": 2})
    response = case.call(base_url=base_url, headers={"Authorization": f"Bearer {TOKEN}"})

    assert 2 == len(response.json()["data"])
    case.validate_response(response)
