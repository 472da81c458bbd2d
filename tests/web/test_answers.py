"""What every answer has in common."""

import json

import pytest
from structlog.testing import capture_logs

from tests.web import seed
from tests.web.service import TOKEN, Service, running, settings


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        ("/v1/refunds", {"limit": "0"}, "limit"),
        ("/v1/refunds", {"limit": "501"}, "limit"),
        ("/v1/refunds", {"limit": "1_0"}, "limit"),
        ("/v1/refunds", {"limit": " 5"}, "limit"),
        ("/v1/refunds", {"limit": "-5"}, "limit"),
        ("/v1/refunds", {"limit": ""}, "limit"),
        ("/v1/refunds", {"cursor": "not-one-of-ours"}, "cursor"),
        ("/v1/refunds", {"cursor": "W10"}, "cursor"),
        ("/v1/refunds", {"cursor": "WyJ4IiwieCJd"}, "cursor"),
        ("/v1/refunds", {"cursor": "ążź"}, "cursor"),
        ("/v1/refunds", {"cursor": "WzEyMywiXHVkODAwIl0"}, "cursor"),
        ("/v1/refunds", {"cursor": "W" * 4000}, "cursor"),
        ("/v1/refunds", {"status": "refunded"}, "status"),
        ("/v1/refunds", {"platform": "paypal"}, "platform"),
        ("/v1/refunds", {"environment": ""}, "environment"),
        ("/v1/refunds", {"include": "customer"}, "include"),
        ("/v1/refunds", {"created_gte": "yesterday"}, "created_gte"),
        ("/v1/refunds", {"created_gte": "9" * 30}, "created_gte"),
        ("/v1/refunds", {"user": "ada"}, "user"),
        ("/v1/refunds", {"user_id": ""}, "user_id"),
        ("/v1/refunds", {"user_id": "x" * 513}, "user_id"),
        ("/v1/refunds", {"user_id": "nul\x00"}, "user_id"),
        ("/v1/purchases", {"access": "granted"}, "access"),
        ("/v1/purchases/pur_1", {"include": "refunds"}, "include"),
        ("/v1/customers/ada/entitlements", {"cursor": "WzEsIngiXQ"}, "cursor"),
        ("/v1/customers/ada/timeline", {"platform": "apple"}, "platform"),
        ("/v1/notifications", {"status": "new"}, "status"),
        ("/v1/events", {"wait": "61"}, "wait"),
        ("/v1/events", {"types": "refund.*,"}, "types"),
        ("/v1/events", {"types": "DROP TABLE"}, "types"),
        ("/v1/events", {"types": "refund.suceeded"}, "types"),
        ("/v1/events", {"after": "Wy0xXQ"}, "after"),
        ("/v1/events", {"after": "Latest"}, "after"),
        ("/v1/events", {"limit": "0"}, "limit"),
        ("/v1/events", {"environment": "test"}, "environment"),
        ("/v1/events", {"customer": ""}, "customer"),
        ("/v1/events", {"since": "-1"}, "since"),
        ("/v1/events/stream", {"limit": "1"}, "limit"),
        ("/v1/events/stream", {"types": "refund"}, "types"),
        ("/v1/events/stream", {"after": "W10"}, "after"),
    ],
)
async def test_a_wrong_parameter_is_named(service: Service, path: str, query: dict[str, str], param: str) -> None:
    """A parameter that is unknown or wrong is a 400 that names it; nothing is ignored or guessed."""
    error = await service.refused(path, 400, **query)

    assert ("invalid_request_error", param) == (error["type"], error["param"])
    assert error["code"] in {"parameter_invalid", "parameter_unknown"}


async def test_a_parameter_is_given_once(service: Service) -> None:
    """A parameter that is there twice is a 400: nobody could tell which one counts."""
    async with service.http.get("/v1/refunds?limit=1&limit=2") as response:
        assert (400, "limit") == (response.status, (await response.json())["error"]["param"])


@pytest.mark.parametrize("path", ["/v1/refunds/%00", "/v1/customers/%00/entitlements", "/v1/purchases/" + "x" * 513])
async def test_what_can_be_no_id_is_refused(service: Service, path: str) -> None:
    """An id that no store could hold is a 400, whatever the store."""
    assert "parameter_invalid" == (await service.refused(path, 400))["code"]


@pytest.mark.parametrize("path", ["/v1/refunds/%ED%A0%80", "/v1/purchases?user_id=%ED%A0%80", "/v1/events?app=%FF"])
async def test_bytes_that_are_no_text_break_nothing(service: Service, path: str) -> None:
    """Escaped bytes that spell no character find nothing, and are no error of ours."""
    async with service.http.get(f"http://127.0.0.1:{service.port}{path}") as response:
        assert response.status in {200, 400, 404}


@pytest.mark.parametrize("path", ["/", "/v1/nothing", "/v1/subscriptions", "/v1/events/streams", "/webhooks/stripe"])
async def test_what_is_not_there_is_a_404_as_json(service: Service, path: str) -> None:
    """An address without anything behind it answers in the shape of every error."""
    error = await service.refused(path, 404)

    assert ("not_found_error", "unknown_route", None) == (error["type"], error["code"], error["param"])


async def test_a_wrong_method_is_a_405_as_json(service: Service) -> None:
    """A method that an address does not take is a 405 that lists those it takes."""
    async with service.http.delete("/v1/purchases") as response:
        error = (await response.json())["error"]

    assert (405, "method_not_allowed") == (response.status, error["code"])
    assert {"GET", "HEAD", "POST"} == set(response.headers["Allow"].split(","))


@pytest.mark.parametrize("path", ["/healthz", "/v1/refunds", "/nothing", "/webhooks/stripe/acme"])
async def test_answers_give_away_nothing(service: Service, path: str) -> None:
    """No answer names a version, may be sniffed, or opens itself to scripts of other origins."""
    async with service.http.get(path, headers={"Origin": "https://elsewhere.example"}) as response:
        headers = response.headers

    assert ("clawback", "nosniff") == (headers["Server"], headers["X-Content-Type-Options"])
    assert not [name for name in headers if name.lower().startswith("access-control-")]
    assert "application/json" == response.content_type


async def test_what_a_token_was_asked_for_is_not_kept(service: Service) -> None:
    """Answers under /v1, errors included, tell every cache to keep nothing."""
    for path in ("/v1/refunds", "/v1/nothing", "/v1/refunds?limit=0"):
        async with service.http.get(path) as response:
            assert "no-store" == response.headers["Cache-Control"]


async def test_a_store_that_is_away_is_503(service: Service) -> None:
    """The API asks for another try when the store is away, and says nothing of why."""
    with service.store.write() as connection:
        for table in ("refunds", "alembic_version"):  # as before a restore
            connection.exec_driver_sql(f"DROP TABLE {table}")

    async with service.http.get("/v1/refunds") as response:
        error = (await response.json())["error"]

    assert (503, "api_error", "store_unavailable") == (response.status, error["type"], error["code"])
    assert int(response.headers["Retry-After"]) > 0
    assert "refunds" not in error["message"]


async def test_an_unforeseen_error_is_500_and_one_line(service: Service) -> None:
    """A mistake of ours is a 500 without its reasons, and one line with its kind and place and without its words."""
    seed.insert(service.store, seed.refund())
    with service.store.write() as connection:
        connection.exec_driver_sql("UPDATE refunds SET status = 'lost-on-the-way'")

    with capture_logs() as lines:
        async with service.http.get("/v1/refunds") as response:
            text = await response.text()

    assert (500, "api_error") == (response.status, json.loads(text)["error"]["type"])
    (line,) = lines
    assert ("api.failed", "GET", "/v1/refunds", "ValidationError") == tuple(
        line[name] for name in ("event", "method", "route", "error")
    )
    assert "lost-on-the-way" not in json.dumps(lines) + text


async def test_each_side_has_its_port(url: str) -> None:
    """With an admin port, the public side has webhooks and health only, and the other one everything but webhooks."""
    async with running(url, settings(admin_port=9090)) as public:
        statuses = [
            await _status(public, path) for path in ("/healthz", "/webhooks/stripe/acme", "/readyz", "/metrics")
        ]
        assert [200, 405, 404, 404] == statuses
        assert 404 == await _status(public, "/v1/refunds")
    async with running(url, settings(admin_port=9090), admin=True) as admin:
        paths = ("/healthz", "/v1/refunds", "/readyz", "/metrics", "/openapi.json", "/webhooks/stripe/acme")
        assert [200, 200, 200, 200, 200, 404] == [await _status(admin, path) for path in paths]


async def _status(service: Service, path: str) -> int:
    async with service.http.get(path, headers={"Authorization": f"Bearer {TOKEN}"}) as response:
        return response.status
