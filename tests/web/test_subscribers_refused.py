"""Which subscribers are not made: what could not be told, what may not be, and what is there already.

Real: the service on a loopback port, its store, keys and seals. Double: the clock, which stands until it is set.
"""

import asyncio
from typing import Any

import pytest

from config.settings import Subscribing
from tests.web.service import Service, running, settings
from tests.web.subscribing import OWN, URL, WANTED, ask, make


@pytest.mark.parametrize(
    ("change", "status", "code", "param", "says"),
    [
        ({"app": "other"}, 400, "parameter_invalid", "app", "acme"),
        ({"types": ["refunds.*"]}, 400, "parameter_invalid", "types", "the nearest is 'refund.*'"),
        ({"types": ["refund.suceeded"]}, 400, "parameter_invalid", "types", "the nearest is 'refund.succeeded'"),
        ({"types": []}, 400, "parameter_invalid", "types", ""),
        ({"url": "http://api.acme.example/"}, 400, "parameter_invalid", "url", "https://"),
        ({"url": "ftp://api.acme.example/"}, 400, "parameter_invalid", "url", "https://"),
        ({"url": "https://user:hunter2@acme.example/"}, 400, "parameter_invalid", "url", "credentials"),
        ({"url": "https://api.acme.example/#here"}, 400, "parameter_invalid", "url", "fragment"),
        ({"url": "https://api.acme.example:70000/"}, 400, "parameter_invalid", "url", "https://"),
        ({"url": "https://bücher.example/"}, 400, "parameter_invalid", "url", "xn--"),
        ({"url": "https://localhost/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://127.1/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://2130706433/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://10.0.0.8/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://169.254.169.254/latest/meta-data/"}, 400, "address_not_public", "url", "link-local"),
        ({"url": "https://[::ffff:127.0.0.1]/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://[fd00:ec2::254]/"}, 400, "address_not_public", "url", "private"),
        ({"allow_private": True}, 403, "allow_private_not_permitted", "allow_private", "[subscribing] allow_private"),
        ({"secret": "hunter2"}, 400, "parameter_invalid", "secret", "whsec_"),
        ({"secret": "whsec_c2hvcnQ="}, 400, "parameter_invalid", "secret", "5 bytes"),
        ({"secret": OWN, "signature": "v1a"}, 400, "parameter_invalid", "secret", "whsk_"),
        ({"secret": "whsk_" + "A" * 86 + "==", "signature": "v1a"}, 400, "parameter_invalid", "secret", "second half"),
        ({"rate_per_second": 0}, 400, "parameter_invalid", "rate_per_second", ""),
        ({"timeout_seconds": 61}, 400, "parameter_invalid", "timeout_seconds", ""),
        ({"state": "paused"}, 400, "parameter_unknown", "state", ""),
    ],
)
async def test_what_could_not_be_told_is_refused(
    embedded: Service, change: dict[str, Any], status: int, code: str, param: str, says: str
) -> None:
    """A subscriber that must not be, or could never be told, is refused in one line that repeats no secret of it."""
    error = await ask(embedded, "POST", "", status, WANTED | change)

    assert (code, param) == (error["code"], error["param"].split(".")[0])
    assert says in error["message"]
    assert "hunter2" not in error["message"]
    assert [] == (await embedded.get("/v1/subscribers"))["data"]


async def test_what_the_operator_permits_may_be_private(url: str) -> None:
    """With [subscribing] allow_private a subscriber may ask for loopback and http, and without asking still may not."""
    chosen = settings().model_copy(update={"subscribing": Subscribing(allow_private=True)})
    async with running(url, chosen) as service:
        made = await make(service, url="http://127.0.0.1:9000/", allow_private=True)
        error = await ask(service, "POST", "", 400, WANTED | {"url": "https://127.0.0.1:9000/"})
        closed = await ask(service, "PATCH", f"/{made['id']}", 400, {"allow_private": False})

    assert "address_not_public" == error["code"]
    assert "url" == closed["param"]


async def test_without_a_key_nothing_is_made(url: str) -> None:
    """A process without an encryption key says which setting is missing, and makes nobody whom none could sign for."""
    chosen = settings().model_copy(update={"store": settings().store.model_copy(update={"encryption_keys": ()})})
    async with running(url, chosen) as service:
        error = await ask(service, "POST", "", 409, WANTED, **{"Idempotency-Key": "k"})

        assert ("invalid_request_error", "no_encryption_key") == (error["type"], error["code"])
        assert "[store] encryption_keys" in error["message"]
        assert [] == (await service.get("/v1/subscribers"))["data"]


async def test_an_address_is_told_once(service: Service) -> None:
    """A second subscriber at the same address of an app is refused by the first one's id, also by a change."""
    made, other = await make(service), await make(service, url=URL + "/2")
    error = await ask(service, "POST", "", 409, WANTED)
    moved = await ask(service, "PATCH", f"/{other['id']}", 409, {"url": URL})

    assert ("subscriber_exists", "subscriber_exists") == (error["code"], moved["code"])
    assert made["id"] in error["message"]
    assert made["id"] in moved["message"]

    async def again() -> int:
        async with service.http.post("/v1/subscribers", json=WANTED | {"url": URL + "/3"}) as response:
            return response.status

    assert [201, 409, 409, 409] == sorted(await asyncio.gather(*(again() for _ in range(4))))


async def test_there_are_so_many_and_no_more(url: str) -> None:
    """Beyond the operator's bound no more subscribers of an app are made, and the answer names the setting."""
    async with running(url, settings().model_copy(update={"subscribing": Subscribing(max_per_app=1)})) as service:
        await make(service)
        error = await ask(service, "POST", "", 409, WANTED | {"url": URL + "/2"})

    assert "too_many_subscribers" == error["code"]
    assert "[subscribing] max_per_app" in error["message"]
