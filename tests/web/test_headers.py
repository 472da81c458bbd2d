"""What every answer wears, whatever was asked and however it ended."""

import pytest

from tests.web.service import Service, running
from worker.web import openapi
from worker.web.app import ROUTES
from worker.web.front import UNFRAMED

WEBHOOKS = "/webhooks/{platform}/{app}"
NAMES = {"id": "x", "user_id": "ada", "delivery": "y"}
ASKED = sorted(
    (route.method, route.path.format(**NAMES))
    for route in (*ROUTES, openapi.serving(ROUTES))
    if route.path not in (WEBHOOKS, "/v1/events/stream")
)
EDGES = [("GET", "/"), ("GET", "/v1/nothing"), ("DELETE", "/v1/refunds"), ("GET", "/console"), ("POST", "/healthz")]
STRANGER = {"Origin": "https://elsewhere.example"}


@pytest.mark.parametrize("token", ["the-token-of-the-operators", "wrong"])
async def test_no_browser_gets_to_show_frame_or_read_an_answer(service: Service, token: str) -> None:
    """Answers of every route, refusals too, are not framed, sniffed, or followed, and no other site may read them."""
    for method, path in [*ASKED, *EDGES]:
        headers = {**STRANGER, "Authorization": f"Bearer {token}"}
        async with service.http.request(method, path, headers=headers) as response:
            worn = dict(response.headers)

        assert dict(UNFRAMED).items() <= worn.items(), (method, path)
        assert ("clawback", "nosniff") == (worn["Server"], worn["X-Content-Type-Options"])
        assert [] == [name for name in worn if name.lower().startswith("access-control")]
        if path.startswith(("/v1", "/console")):
            assert "no-store" == worn["Cache-Control"]


async def test_the_stream_wears_the_same(service: Service) -> None:
    """An answer that does not end has its headers like any other."""
    async with service.http.get("/v1/events/stream", headers=STRANGER) as response:
        assert 200 == response.status
        assert dict(UNFRAMED).items() <= dict(response.headers).items()


async def test_no_other_site_is_let_in(service: Service) -> None:
    """A browser that asks on behalf of another site's page whether it may is told nothing that lets it."""
    asks = {**STRANGER, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for method, path in ASKED:
        async with service.http.options(path, headers=asks) as response:
            assert 405 == response.status, (method, path)
            assert [] == [name for name in response.headers if name.lower().startswith("access-control")]


async def test_a_platform_is_answered_without_them(service: Service) -> None:
    """What no browser reads carries no more than it did, on the short way and on the long one."""
    for path in ("/webhooks/stripe/acme", "/webhooks/stripe/nobody"):
        async with service.http.post(path, data=b"{}") as response:
            assert {"Server", "X-Content-Type-Options"} <= set(response.headers)
            assert set() == {name for name, _ in UNFRAMED} & set(response.headers)


async def test_the_admin_port_wears_the_same(url: str) -> None:
    """On a port of its own the API answers no differently."""
    async with running(url, admin=True) as service, service.http.get("/v1/refunds") as response:
        assert dict(UNFRAMED).items() <= dict(response.headers).items()
