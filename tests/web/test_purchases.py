import json
from io import BytesIO
from typing import Any

import pytest

from schemas.base import Access
from schemas.resources import Purchase
from tests.web import seed
from tests.web.service import Service

TOLD: dict[str, Any] = {
    "app": seed.APP,
    "platform": "google",
    "environment": "production",
    "purchase_id": "GPA.3312-5550-1234-56789",
    "product_id": seed.ANNUAL,
    "user_id": "ada",
    "kind": "subscription",
    "quantity": 1,
    "amount": 4999,
    "currency": "usd",
    "purchased_at": seed.NOW - 270 * seed.DAY,
    "expires_at": seed.NOW + 95 * seed.DAY,
    "purchase_token": "the-token-of-the-purchase",
}


async def test_a_purchase_reads_back_as_it_was_written(service: Service) -> None:
    """What the API shows is what the fold made, field by field, alone and in the list."""
    purchase = seed.purchase()
    seed.insert(service.store, purchase)

    assert purchase == Purchase.model_validate(await service.get(f"/v1/purchases/{purchase.id}"))
    assert [purchase] == [Purchase.model_validate(one) for one in (await service.get("/v1/purchases"))["data"]]


async def test_filters_keep_what_they_name(service: Service) -> None:
    """Each filter keeps the purchases that have its value and no others."""
    other = seed.purchase(
        2,
        app="other",
        platform="stripe",
        environment="sandbox",
        user_id="grace",
        original_purchase_id="sub_1",
        access=Access.SUSPENDED,
    )
    seed.insert(service.store, seed.purchase(1), other)

    for name in ("app", "platform", "environment", "purchase_id", "original_purchase_id", "user_id", "access"):
        page = await service.get("/v1/purchases", **{name: getattr(other, name)})
        assert [other.id] == [purchase["id"] for purchase in page["data"]], name


async def test_an_expiry_counts_before_any_sweep(service: Service) -> None:
    """A purchase whose end has passed is expired when it is read, and is found as expired and not as active."""
    seed.insert(service.store, seed.purchase(expires_at=seed.NOW))

    (shown,) = (await service.get("/v1/purchases", access="expired"))["data"]
    assert ("expired", "expired") == (shown["access"], shown["access_reason"])
    assert [] == (await service.get("/v1/purchases", access="active"))["data"]
    service.clock.now -= 1
    assert "active" == (await service.get(f"/v1/purchases/{shown['id']}"))["access"]


async def test_pages_neither_repeat_nor_skip(service: Service) -> None:
    """Following the cursor shows every purchase once, also those of which nobody knows when they were bought."""
    purchases = [seed.purchase(n, purchased_at=None if n % 2 else seed.NOW - n) for n in range(5)]
    seed.insert(service.store, *purchases)

    seen, query = [], {"limit": 2}
    while True:
        page = await service.get("/v1/purchases", **query)
        seen += [purchase["id"] for purchase in page["data"]]
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]

    assert sorted(purchase.id for purchase in purchases) == sorted(seen)


async def test_telling_of_a_purchase_gives_access(service: Service) -> None:
    """What an app tells is 201 and gives access at once; told again it is 200 and the same purchase."""
    async with service.http.post("/v1/purchases", json=TOLD) as response:
        assert 201 == response.status, await response.text()
        told = await response.json()
    async with service.http.post("/v1/purchases", json=TOLD) as response:
        assert 200 == response.status
        assert told == await response.json()

    (entitlement,) = (await service.get("/v1/customers/ada/entitlements"))["data"]
    assert ("pro", True, [told["id"]]) == (entitlement["key"], entitlement["active"], entitlement["purchases"])


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"app": "nobody's"}, "app"),
        ({"platform": "paypal"}, "platform"),
        ({"purchase_id": ""}, "purchase_id"),
        ({"quantity": "1"}, "quantity"),
        ({"amount": 49.99}, "amount"),
        ({"currency": "USD"}, "currency"),
        ({"user_id": None}, "user_id"),
        ({"colour": "blue"}, "colour"),
    ],
)
async def test_a_wrong_field_is_named(service: Service, change: dict[str, Any], param: str) -> None:
    """A body with a wrong field is a 400 that names the field and does not repeat its value."""
    async with service.http.post("/v1/purchases", json=TOLD | change) as response:
        error = (await response.json())["error"]

    assert (400, param) == (response.status, error["param"])
    assert "blue" not in json.dumps(error)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not_json"),
        (b"{", 400, "not_json"),
        (b"[]", 400, "not_an_object"),
        (b'{"app":"acme","app":"other"}', 400, "duplicate_key"),
        (b"[" * 40, 400, "too_deep"),
        (b" " * (1024 * 1024 + 1), 413, "body_too_large"),
    ],
)
async def test_a_body_that_is_no_object_is_refused(service: Service, body: bytes, status: int, code: str) -> None:
    """JSON is read as strictly from app backends as from platforms."""
    headers = {"Content-Type": "application/json"}
    async with service.http.post("/v1/purchases", data=BytesIO(body), headers=headers) as response:
        assert (status, code) == (response.status, (await response.json())["error"]["code"])


async def test_only_json_is_taken(service: Service) -> None:
    """A form is a 415, and nothing is guessed from it."""
    async with service.http.post("/v1/purchases", data={"app": "acme"}) as response:
        assert (415, "Content-Type") == (response.status, (await response.json())["error"]["param"])
