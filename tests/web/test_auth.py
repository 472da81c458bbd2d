import pytest

from config.settings import Admin
from tests.web.service import OTHER_TOKEN, Service, running, settings
from worker.web.app import API

CLOSED = sorted({(route.method, route.path.format(id="x", user_id="ada", delivery="y")) for route in API})


@pytest.mark.parametrize(("method", "path"), [*CLOSED, ("GET", "/v1"), ("GET", "/v1/nothing"), ("DELETE", "/console")])
@pytest.mark.parametrize(
    "shown", [None, "Bearer", "Bearer wrong", "Basic dXNlcjpwYXNz", "Bearer the-token-of-the-operator"]
)
async def test_nothing_opens_without_a_token(service: Service, method: str, path: str, shown: str | None) -> None:
    """Whatever is under /v1 or /console, there or not, is a 401 that says how to ask, unless a known token is shown."""
    headers = {"Authorization": shown or ""}
    async with service.http.request(method, path, headers=headers) as response:
        error = (await response.json())["error"]

    assert (401, "authentication_error") == (response.status, error["type"])
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="clawback"')


@pytest.mark.parametrize("token", [OTHER_TOKEN, f" {OTHER_TOKEN}"])
async def test_every_configured_token_opens(service: Service, token: str) -> None:
    """Each of several tokens is good, so that they can be changed one by one."""
    async with service.http.get("/v1/refunds", headers={"Authorization": f"bearer {token}"}) as response:
        assert 200 == response.status


@pytest.mark.parametrize("tokens", [(), ("",)])
async def test_without_tokens_everything_is_closed(url: str, tokens: tuple[str, ...]) -> None:
    """An empty configuration opens nothing, not even for an empty token, and the answer says what to configure."""
    chosen = settings().model_copy(update={"admin": Admin(tokens=tokens)})
    async with running(url, chosen) as service:
        for shown in ("Bearer ", "Bearer x"):
            async with service.http.get("/v1/refunds", headers={"Authorization": shown}) as response:
                error = (await response.json())["error"]
                assert (401, "authentication_not_configured") == (response.status, error["code"])
                assert "[admin] tokens" in error["message"]


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_metrics_ask_for_their_token_only_if_there_is_one(url: str, path: str) -> None:
    """Metrics and readiness are open, unless a token for them is configured."""
    nobody = {"Authorization": ""}
    async with running(url) as service, service.http.get(path, headers=nobody) as response:
        assert 200 == response.status
    chosen = settings().model_copy(update={"admin": Admin(metrics_token="for-prometheus")})
    async with running(url, chosen) as service:
        async with service.http.get(path, headers=nobody) as response:
            assert 401 == response.status
        async with service.http.get(path, headers={"Authorization": "Bearer for-prometheus"}) as response:
            assert 200 == response.status


async def test_health_and_the_document_are_open(service: Service) -> None:
    """What a load balancer and a code generator ask for needs no token."""
    for path in ("/healthz", "/openapi.json"):
        async with service.http.get(path, headers={"Authorization": ""}) as response:
            assert 200 == response.status
