"""The document of the events against the service: the same routes, headers and events that are really there."""

import json
import re
from typing import Any

import aiohttp
import jsonschema_rs
import pytest

from handlers import outgoing
from handlers.samples import sample
from schemas.events import EVENT_TYPES
from schemas.published import schema_of
from tests.web import seed
from tests.web import service as real
from worker.web import asyncapi
from worker.web.app import API

DOCUMENT = asyncapi.describe(API)
OLD, NEW = (f"whsec_{letter * 43}=" for letter in "kl")
COMPONENTS = DOCUMENT["components"]


def fits(name: str, value: Any) -> None:
    """Validate against a component, as an independent validator reads it."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": COMPONENTS}
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(value)


def lookup(reference: str) -> Any:
    """Follow a reference within the document."""
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


async def test_the_document_is_served_to_everybody(embedded: real.Service) -> None:
    """Like the other document it needs no token, and it is the one that these tests are about."""
    address = f"http://127.0.0.1:{embedded.port}/asyncapi.json"
    async with aiohttp.ClientSession() as stranger, stranger.get(address) as response:
        answer = response.status, response.content_type, await response.json()

    assert (200, "application/json", DOCUMENT) == answer


def test_it_is_built_as_the_specification_says() -> None:
    """AsyncAPI 3.0: what is required is there, and no part has a field that the specification does not know."""
    allowed = {
        "": "asyncapi id info servers defaultContentType channels operations components",
        "info": "title version description",
        "servers": "host protocol description variables security",
        "channels": "address title description servers messages",
        "operations": "action channel summary bindings",
        "messages": "name title summary payload headers examples",
    }
    parts = {"": [DOCUMENT], "info": [DOCUMENT["info"]], "messages": [*COMPONENTS["messages"].values()]}
    for name in ("servers", "channels", "operations"):
        parts[name] = [*DOCUMENT[name].values()]

    assert "3.0.0" == DOCUMENT["asyncapi"]
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    assert all({"host", "protocol"} <= server.keys() for server in parts["servers"])
    assert all({"action", "channel"} <= operation.keys() for operation in parts["operations"])
    assert {"send"} == {operation["action"] for operation in parts["operations"]}
    for name, found in parts.items():
        assert set() == {key for part in found for key in part} - set(allowed[name].split())
    for kind in ("messages", "schemas", "securitySchemes"):
        assert all(re.fullmatch(r"[A-Za-z0-9.\-_]+", name) for name in COMPONENTS[kind])


def test_every_reference_leads_somewhere() -> None:
    """Channels name servers and messages that are there, operations channels, messages schemas."""
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT)))

    assert references
    assert all(isinstance(lookup(reference), dict) for reference in references)


def test_every_way_to_be_told_is_a_channel() -> None:
    """Push has the address that each subscriber gives; the others are exactly the routes that read the feed."""
    read = {route.path for route in API if route.path.startswith("/v1/events")}
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}

    assert {None, *read} == addresses
    assert {f"#/channels/{name}" for name in DOCUMENT["channels"]} == {
        operation["channel"]["$ref"] for operation in DOCUMENT["operations"].values()
    }


def test_what_may_be_asked_of_the_feed_is_what_its_route_takes() -> None:
    """The query of each operation that reads is the query of its route."""
    routes = {asyncapi.PULLS[route.path]: route for route in API if route.path in asyncapi.PULLS}
    for name, route in routes.items():
        query = DOCUMENT["operations"][f"read_{name}"]["bindings"]["http"]["query"]
        assert set(route.query.model_fields) == set(query["properties"])


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_type_is_a_message_with_an_example(event_type: str) -> None:
    """Each type is pushed with headers and read without, and its example fits the payload here as in docs/events."""
    delivered = lookup(DOCUMENT["channels"]["push"]["messages"][event_type]["$ref"])
    message = COMPONENTS["messages"][event_type]
    (example,) = message["examples"]

    assert message["payload"] == delivered["payload"]
    assert {"$ref": "#/components/schemas/DeliveryHeaders"} == delivered["headers"]
    fits(event_type, example["payload"])
    jsonschema_rs.validate(schema_of(event_type), example["payload"])
    with pytest.raises(jsonschema_rs.ValidationError):
        fits(event_type, {**example["payload"], "data": {}})


def test_the_headers_are_those_that_are_sent() -> None:
    """What is sent with a delivery, with one signature or several, is what the document says, and nothing less."""
    body = sample("refund.succeeded").model_dump_json().encode()
    sent = outgoing.headers("evt_sample", body, keys=outgoing.keys([OLD, NEW]), now=seed.NOW)

    fits("DeliveryHeaders", sent)
    assert set(COMPONENTS["schemas"]["DeliveryHeaders"]["required"]) == set(sent)
    with pytest.raises(jsonschema_rs.ValidationError):
        fits("DeliveryHeaders", {**sent, "webhook-timestamp": "2026-11-22T11:54:48Z"})


async def test_a_page_of_the_feed_is_what_the_document_says(embedded: real.Service) -> None:
    """What the service answers, empty and full, is the message of the feed."""
    fits("EventPage", await embedded.get("/v1/events"))
    seed.insert(embedded.store, *(sample(event_type) for event_type in EVENT_TYPES))

    page = await embedded.get("/v1/events")

    assert list(EVENT_TYPES) == [event["type"] for event in page["data"]]
    fits("EventPage", page)
