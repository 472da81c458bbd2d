"""Telling of a Stripe purchase by what an app has at hand: a subscription, a checkout, an intent, a charge."""

from typing import Any

from tests.web import by_stripe, seed
from tests.web.by_stripe import CHARGE, CHECKOUT, REFUND
from tests.web.service import Service

INVOICE: dict[str, Any] = {
    "id": "in_1",
    "object": "invoice",
    "amount_paid": 4999,
    "billing_reason": "subscription_create",
    "charge": "ch_3Annual",
    "created": CHARGE["created"],
    "currency": "usd",
    "metadata": {},
    "payment_intent": "pi_3Annual",
    "status": "paid",
    "subscription": "sub_1",
}


async def test_a_subscription_without_a_payment_is_not_known_yet(service: Service) -> None:
    """The answer says clearly that nothing was bought so far; told again it is known, and still gives nothing."""
    status, shown = await by_stripe.tell(service, "sub_1", kind="subscription")
    again, same = await by_stripe.tell(service, "sub_1", kind="subscription")

    assert (201, 200, shown) == (status, again, same)
    assert ("unknown", "no_payment_known", []) == (shown["access"], shown["access_reason"], shown["entitlements"])
    assert ("sub_1", seed.ANNUAL, "ada") == (shown["purchase_id"], shown["product_id"], shown["user_id"])
    assert [] == (await service.get("/v1/purchases"))["data"]
    assert [] == (await service.get("/v1/customers/ada/entitlements"))["data"]
    assert "purchase_not_found" == (await service.refused(f"/v1/purchases/{shown['id']}", 404))["code"]


async def test_what_is_told_of_a_subscription_describes_its_payments(service: Service) -> None:
    """User and product were told before any payment: the payment has them, and the first answer's id leads to it."""
    _, told = await by_stripe.tell(service, "sub_1")
    await by_stripe.say(service, "invoice.paid", INVOICE, at=CHARGE["created"])

    (bought,) = (await service.get("/v1/purchases"))["data"]
    assert ("ada", seed.ANNUAL, "active", "sub_1") == (
        bought["user_id"],
        bought["product_id"],
        bought["access"],
        bought["original_purchase_id"],
    )
    assert bought == await service.get(f"/v1/purchases/{told['id']}")
    (entitlement,) = (await service.get("/v1/customers/ada/entitlements"))["data"]
    assert ("pro", [bought["id"]]) == (entitlement["key"], entitlement["purchases"])


async def test_telling_of_a_subscription_answers_with_its_newest_payment(service: Service) -> None:
    """Payments were known first: the answer is the newest of them, and all belong to the user."""
    await by_stripe.say(service, "invoice.paid", INVOICE, at=CHARGE["created"])
    newest = {**INVOICE, "id": "in_2", "charge": "ch_4", "payment_intent": "pi_4", "created": seed.NOW - seed.DAY}
    await by_stripe.say(service, "invoice.paid", newest, at=seed.NOW - seed.DAY)

    status, shown = await by_stripe.tell(service, "sub_1")

    listed = (await service.get("/v1/purchases", user_id="ada"))["data"]
    assert (200, shown["id"], 2) == (status, listed[0]["id"], len(listed))


async def test_a_subscription_brings_its_refund_in(service: Service) -> None:
    """A refund of a payment of which only the subscription is told takes effect at once."""
    await by_stripe.tell(service, "ch_3Annual", original_purchase_id="sub_1", user_id="grace")
    await by_stripe.say(service, "refund.created", REFUND)

    status, shown = await by_stripe.tell(service, "sub_1", user_id="grace")

    assert (200, "revoked") == (status, shown["access"])


async def test_a_checkout_is_a_name_of_its_purchase(service: Service) -> None:
    """A purchase that was told by its checkout session is the one that Stripe's session leads to."""
    status, told = await by_stripe.tell(service, "cs_live_1")
    await by_stripe.say(service, "checkout.session.completed", CHECKOUT, at=CHARGE["created"])
    await by_stripe.say(service, "charge.succeeded", CHARGE, at=CHARGE["created"])

    (bought,) = (await service.get("/v1/purchases"))["data"]
    again, shown = await by_stripe.tell(service, "cs_live_1")
    assert (201, "cs_live_1", 200) == (status, told["purchase_id"], again)
    assert ("ch_3Annual", "ada", 4999) == (bought["purchase_id"], bought["user_id"], bought["amount"])
    assert bought["id"] == shown["id"]
    assert bought == await service.get(f"/v1/purchases/{told['id']}")
