"""A replay of a notification whose money contradicts: quarantined for as long as the contradiction stands."""

from typing import Any

import pytest

from tests.web import by_stripe, seed
from tests.web.by_stripe import CHARGE, REFUND
from tests.web.service import Service
from worker.process import process

SOLD = {**CHARGE, "amount": 999, "amount_captured": 999, "metadata": {"product_id": seed.ANNUAL, "user_id": "ada"}}
BACK = {**REFUND, "amount": 2000}
STORY: dict[str, tuple[dict[str, Any], int]] = {
    "charge.succeeded": (SOLD, CHARGE["created"]),
    "refund.created": (BACK, seed.NOW),
}
PROCESSED = ("processed", None)
WRONG = ("quarantined: money_contradicts", "2000 of 999 usd")


async def inbox(service: Service) -> dict[str, tuple[Any, ...]]:
    """Show what became of each notification; what nobody could be asked is beside the point."""
    shown = (await service.get("/v1/notifications"))["data"]
    ends = {one["type"]: f"{one['status']}: {one['reason']}" for one in shown}
    return {
        one["type"]: (ends[one["type"]].partition(": not_looked_up")[0].removesuffix(": None"), one["detail"])
        for one in shown
    }


async def replay(service: Service, *types: str) -> None:
    """Replay these notifications, in this order."""
    ids = {one["type"]: one["id"] for one in (await service.get("/v1/notifications"))["data"]}
    for type_ in types:
        async with service.http.post(f"/v1/notifications/{ids[type_]}/replay") as response:
            assert 200 == response.status, await response.text()
        process(service.runtime, [ids[type_]])


@pytest.mark.parametrize("order", [("refund.created", "charge.succeeded"), ("charge.succeeded", "refund.created")])
async def test_a_replay_says_the_same_while_the_contradiction_stands(service: Service, order: tuple[str, str]) -> None:
    """Whichever came second is quarantined with both numbers, replayed as often as one likes; the other never is."""
    for type_ in order:
        subject, at = STORY[type_]
        await by_stripe.say(service, type_, subject, at=at)
    first, last = order
    assert {first: PROCESSED, last: WRONG} == await inbox(service)

    await replay(service, last, first, last)

    assert {first: PROCESSED, last: WRONG} == await inbox(service)
    (purchase,) = (await service.get("/v1/purchases"))["data"]
    (refund,) = (await service.get("/v1/refunds"))["data"]
    assert ("active", 0, 999) == (purchase["access"], purchase["amount_refunded"], purchase["amount"])
    assert (2000, "succeeded", "2000 of 999 usd") == (refund["amount"], refund["status"], refund["contradiction"])


@pytest.mark.parametrize("order", [("refund.created", "charge.succeeded"), ("charge.succeeded", "refund.created")])
async def test_it_heals_when_the_contradiction_is_gone(service: Service, order: tuple[str, str]) -> None:
    """A later notification names a price that fits: the refund takes effect by itself, a replay ends the quarantine."""
    for type_ in order:
        subject, at = STORY[type_]
        await by_stripe.say(service, type_, subject, at=at)
    whole = {**SOLD, "amount": 2000, "amount_captured": 2000}
    await by_stripe.say(service, "charge.captured", whole, at=CHARGE["created"] + 1)
    (refund,) = (await service.get("/v1/refunds"))["data"]
    (entitlement,) = (await service.get("/v1/customers/ada/entitlements"))["data"]
    assert (None, "revoked") == (refund["contradiction"], entitlement["status"])

    await replay(service, *order)

    assert {PROCESSED} == set((await inbox(service)).values())


async def test_one_that_is_quarantined_for_one_refund_is_not_blamed_for_another(service: Service) -> None:
    """Two refunds go beyond the price: each says its own numbers when it is replayed."""
    await by_stripe.say(service, "charge.succeeded", SOLD, at=CHARGE["created"])
    await by_stripe.say(service, "refund.created", BACK)
    another = {**BACK, "id": "re_another", "amount": 3000}
    await by_stripe.say(service, "refund.updated", another, at=seed.NOW + 1)
    before = await inbox(service)
    assert ["2000 of 999 usd", "3000 of 999 usd"] == [
        before[type_][1] for type_ in ("refund.created", "refund.updated")
    ]

    await replay(service, "refund.created", "refund.updated")

    assert before == await inbox(service)
