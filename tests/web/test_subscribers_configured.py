"""Subscribers of the configuration: changed in the file while they are in it, and through the API once they left it.

Real: the service on a loopback port, its store, keys and seals. Double: the clock, which stands until it is set.
"""

from typing import Any

from config.settings import Settings, Subscriber
from tests.web.seed import APP
from tests.web.service import running, settings
from tests.web.subscribing import OWN, URL, ask, make, signing, stored
from worker import bootstrap


def configured(*, there: bool = True) -> Settings:
    """Configure a subscriber in a file, or take it out again."""
    one = Subscriber(app=APP, url=URL, secrets=(OWN,))
    return settings().model_copy(update={"subscribers": (one,) if there else ()}).read_from("/etc/clawback.toml")


async def test_a_file_s_subscriber_is_changed_in_the_file(url: str) -> None:
    """Of a subscriber of the configuration the state alone is changed here; all else names the file."""
    async with running(url, configured()) as service:
        bootstrap.introduce_subscribers(service.runtime)
        (shown,) = (await service.get("/v1/subscribers"))["data"]
        id_ = shown["id"]
        wrong: tuple[tuple[str, str, Any], ...] = (
            ("PATCH", "", {"types": ["refund.*"]}),
            ("PATCH", "", {"state": "paused", "url": "https://b.acme.example/"}),
            ("POST", "/rotate", {}),
            ("DELETE", "", None),
        )
        for method, path, body in wrong:
            error = await ask(service, method, f"/{id_}{path}", 409, body)
            assert "configured_in_file" == error["code"]
            assert "/etc/clawback.toml" in error["message"]

        assert ("config", 1, "v1") == (shown["origin"], shown["active_secrets"], shown["signature"])
        assert (OWN,) == signing(service, id_)
        assert "paused" == (await ask(service, "PATCH", f"/{id_}", 200, {"state": "paused"}))["state"]
        bootstrap.introduce_subscribers(service.runtime)
        assert "paused" == (await service.get(f"/v1/subscribers/{id_}"))["state"]
        assert OWN not in stored(service)


async def test_what_left_the_file_can_go_on_here(url: str) -> None:
    """A subscriber that was taken out of the file is neither enabled nor re-keyed, and is made anew under its id."""
    async with running(url, configured()) as service:
        bootstrap.introduce_subscribers(service.runtime)
    async with running(url, configured(there=False)) as service:
        bootstrap.introduce_subscribers(service.runtime)
        (shown,) = (await service.get("/v1/subscribers"))["data"]
        error = await ask(service, "PATCH", f"/{shown['id']}", 409, {"state": "enabled"})
        made = await make(service)

        assert ("disabled", "removed_from_configuration") == (shown["state"], shown["reason"])
        assert "taken out of /etc/clawback.toml" in error["message"]
        assert (shown["id"], "enabled", "api") == (made["id"], made["state"], made["origin"])
        assert (made["secret"],) == signing(service, made["id"])
