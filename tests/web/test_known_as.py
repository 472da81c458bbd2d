"""A purchase is found by every id it goes by, whichever of them the platform or the app happens to have at hand."""

from typing import Any

import pytest
from sqlalchemy import event

from tests.web import by_stripe, seed
from tests.web.by_stripe import CHARGE, CHECKOUT, REFUND
from tests.web.service import Service
from tests.web.test_told_subscriptions import INVOICE


async def found(service: Service, name: str, **query: Any) -> list[str]:
    """List what goes by that id, by the platform's ids."""
    return [
        purchase["purchase_id"] for purchase in (await service.get("/v1/purchases", purchase_id=name, **query))["data"]
    ]


@pytest.mark.parametrize("name", ["ch_3Annual", "pi_3Annual", "in_1", "sub_1", "re_3Annual"])
async def test_a_purchase_is_found_by_every_id_it_goes_by(service: Service, name: str) -> None:
    """Charge, payment intent, invoice, subscription and refund of an annual plan all lead to its one purchase."""
    await by_stripe.say(service, "invoice.paid", INVOICE, at=CHARGE["created"])
    await by_stripe.say(service, "refund.created", REFUND)

    assert ["ch_3Annual"] == await found(service, name)
    assert [] == await found(service, name, platform="google")
    assert [] == await found(service, f"{name}0")


async def test_an_id_that_was_told_first_still_finds_its_purchase(service: Service) -> None:
    """Told by its checkout, known by its charge since: whoever kept the checkout's id finds it."""
    await by_stripe.tell(service, "cs_live_1")
    assert ["cs_live_1"] == await found(service, "cs_live_1")
    await by_stripe.say(service, "checkout.session.completed", CHECKOUT, at=CHARGE["created"])
    await by_stripe.say(service, "charge.succeeded", CHARGE, at=CHARGE["created"])

    assert ["ch_3Annual"] == await found(service, "cs_live_1")


async def test_a_refund_that_came_first_still_finds_its_purchase(service: Service) -> None:
    """A payment of which only the refund's intent was known is found by that, by the charge and by the refund."""
    await by_stripe.say(service, "refund.created", {**REFUND, "charge": None})
    assert ["pi_3Annual"] == await found(service, "pi_3Annual")
    await by_stripe.say(service, "charge.succeeded", CHARGE, at=CHARGE["created"])

    assert [["ch_3Annual"]] * 3 == [await found(service, name) for name in ("pi_3Annual", "ch_3Annual", "re_3Annual")]


async def test_an_id_of_many_finds_the_newest(service: Service) -> None:
    """A subscription finds the payment that telling of it answers with; its own payments' ids find each its own."""
    await by_stripe.say(service, "invoice.paid", INVOICE, at=CHARGE["created"])
    newer = {**INVOICE, "id": "in_2", "charge": "ch_4", "payment_intent": "pi_4", "created": seed.NOW - seed.DAY}
    await by_stripe.say(service, "invoice.paid", newer, at=seed.NOW - seed.DAY)

    _, told = await by_stripe.tell(service, "sub_1")
    assert [told["purchase_id"]] == ["ch_4"] == await found(service, "sub_1")
    assert [["ch_3Annual"], ["ch_4"]] == [await found(service, name) for name in ("in_1", "in_2")]


async def test_a_subscription_without_a_payment_finds_nothing(service: Service) -> None:
    """What was told of a subscription is no purchase, by whichever name it is asked for."""
    await by_stripe.tell(service, "sub_1")

    assert [] == await found(service, "sub_1")


async def test_finding_by_any_id_reads_no_whole_table(embedded: Service) -> None:
    """However many purchases there are, an id is looked up in an index, and its purchase by its own."""
    service = embedded  # tests/store/test_plans.py asks PostgreSQL, among rows of many years
    await by_stripe.say(service, "invoice.paid", INVOICE, at=CHARGE["created"])
    asked: list[Any] = []
    engine = service.store.engine
    event.listen(engine, "before_cursor_execute", lambda *said: asked.append(said[2:4]))
    await found(service, "pi_3Annual")

    plans = []
    with service.store.read() as connection:
        for statement, values in [one for one in asked if one[0].startswith("SELECT")]:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            plans += [str(row[-1]) for row in plan]

    assert any("autoindex_refs_1 (ref=?)" in step for step in plans), plans
    # What `json_each` goes through is the list of ids that the question brings along.
    scans = [step for step in plans if step.startswith("SCAN") and "json_each" not in step]
    assert [] == scans, plans
