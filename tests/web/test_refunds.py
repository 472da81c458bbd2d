from schemas.resources import Refund
from tests.web import seed
from tests.web.service import Service


async def test_refunds_are_listed_newest_first(service: Service) -> None:
    """The newest refund comes first."""
    seed.insert(service.store, *(seed.refund(n) for n in (2, 1, 3)))

    page = await service.get("/v1/refunds")

    assert [seed.refund(n).id for n in (3, 2, 1)] == [refund["id"] for refund in page["data"]]
    assert ("list", False, None) == (page["object"], page["has_more"], page["next_cursor"])


async def test_pages_neither_repeat_nor_skip(service: Service) -> None:
    """Following the cursor shows every refund once, though several were created in the same second."""
    refunds = [seed.refund(n, created_at=seed.NOW - n % 2) for n in range(7)]
    seed.insert(service.store, *refunds)

    seen, query = [], {"limit": 3}
    while True:
        page = await service.get("/v1/refunds", **query)
        seen += [refund["id"] for refund in page["data"]]
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]

    expected = sorted(refunds, key=lambda refund: (refund.created_at, refund.id), reverse=True)
    assert [refund.id for refund in expected] == seen


async def test_filters_keep_what_they_name(service: Service) -> None:
    """Each filter keeps the refunds that have its value and no others."""
    charge = seed.purchase(2)
    stripe = seed.refund(
        2, charge=charge, platform="stripe", user_id="grace", status="failed", environment="sandbox", app="other"
    )
    seed.insert(service.store, seed.purchase(1), charge, seed.refund(1), stripe)

    for name, value in {
        "app": "other",
        "platform": "stripe",
        "environment": "sandbox",
        "status": "failed",
        "user_id": "grace",
        "charge_id": stripe.charge_id,
        "created_gte": stripe.created_at,
    }.items():
        page = await service.get("/v1/refunds", **{name: value})
        assert [stripe.id] == [refund["id"] for refund in page["data"]], name
    page = await service.get("/v1/refunds", created_lte=stripe.created_at - 1)
    assert [seed.refund(1).id] == [refund["id"] for refund in page["data"]]


async def test_a_charge_is_there_only_when_asked_for(service: Service) -> None:
    """`charge` is left out, and is the whole purchase with `include=charge`, in the list as well as alone."""
    charge = seed.purchase()
    refund = seed.refund(charge=charge)
    seed.insert(service.store, charge, refund)

    assert "charge" not in await service.get(f"/v1/refunds/{refund.id}")
    assert "charge" not in (await service.get("/v1/refunds"))["data"][0]
    alone = await service.get(f"/v1/refunds/{refund.id}", include="charge")
    listed = (await service.get("/v1/refunds", include="charge"))["data"][0]
    assert charge.model_dump(mode="json") == alone["charge"] == listed["charge"]


async def test_a_refund_reads_back_as_it_was_written(service: Service) -> None:
    """What the API shows is what the fold made, field by field."""
    refund = seed.refund()
    seed.insert(service.store, refund)

    assert refund == Refund.model_validate(await service.get(f"/v1/refunds/{refund.id}"))


async def test_an_unknown_refund_is_not_found(service: Service) -> None:
    """A refund that does not exist is a 404 that says so in the shape of every error."""
    error = await service.refused("/v1/refunds/re_000000000000000000000000", 404)

    assert ("not_found_error", "refund_not_found", "id") == (error["type"], error["code"], error["param"])
