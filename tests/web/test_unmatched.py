"""Refunds of which nobody knows whose they are: kept, shown, counted, and matched as soon as somebody says."""

from typing import Any

import pytest
from sqlalchemy import event

from tests.web import by_stripe, seed
from tests.web.by_stripe import CHARGE, REFUND
from tests.web.service import Service


async def listed(service: Service, **query: Any) -> list[str]:
    """List the platform's ids of refunds."""
    return [refund["platform_refund_id"] for refund in (await service.get("/v1/refunds", **query))["data"]]


async def gauge(service: Service) -> float:
    """Read the number of unmatched refunds from a scrape."""
    async with service.http.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("clawback_refunds_unmatched "))


async def test_a_refund_is_matched_or_unmatched(service: Service) -> None:
    """Both answers together are all refunds, none is in both, and other filters hold beside."""
    known, unknown = seed.refund(1), seed.refund(2, user_id=None, status="failed")
    seed.insert(service.store, known, unknown)

    assert [unknown.platform_refund_id] == await listed(service, unmatched="true")
    assert [known.platform_refund_id] == await listed(service, unmatched="false")
    assert 2 == len(await listed(service))
    assert [] == await listed(service, unmatched="true", status="succeeded")


@pytest.mark.parametrize("word", ["yes", "1", "True", ""])
async def test_a_flag_is_true_or_false(service: Service, word: str) -> None:
    """Any other word is refused by the parameter's name, not guessed."""
    assert "unmatched" == (await service.refused("/v1/refunds", 400, unmatched=word))["param"]


async def test_unmatched_refunds_are_found_by_an_index(embedded: Service) -> None:
    """However many refunds there are, those of nobody are looked up and never searched for."""
    asked: list[Any] = []
    engine = embedded.store.engine
    event.listen(engine, "before_cursor_execute", lambda *said: asked.append(said[2:4]))
    await listed(embedded, unmatched="true")
    await gauge(embedded)

    plans = []
    with embedded.store.read() as connection:
        for statement, values in [one for one in asked if "FROM refunds" in one[0]]:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            plans.append(" ".join(str(row[-1]) for row in plan))

    assert [True, True] == ["ix_refunds_user_id_app (user_id=?)" in plan for plan in plans], plans


async def test_what_came_to_nothing_alarms_nobody(service: Service) -> None:
    """Counted is money that is gone, on its way or asked for; not what failed, was canceled or came back."""
    statuses = ("to_issue", "pending", "requires_action", "succeeded", "failed", "canceled", "reversed")
    refunds = [seed.refund(n, user_id=None, status=status) for n, status in enumerate(statuses)]
    seed.insert(service.store, *refunds, seed.refund(9))

    assert 4 == await gauge(service)


async def test_telling_of_the_purchase_matches_its_refund(service: Service) -> None:
    """A refund that came first is nobody's until the app tells whose purchase it was: then it counts no more."""
    await by_stripe.say(service, "refund.created", REFUND)
    assert (["re_3Annual"], 1) == (await listed(service, unmatched="true"), await gauge(service))

    await by_stripe.tell(service, "ch_3Annual")

    assert ([], 0) == (await listed(service, unmatched="true"), await gauge(service))
    assert ["re_3Annual"] == await listed(service, user_id="ada")
    (entitlement,) = (await service.get("/v1/customers/ada/entitlements"))["data"]
    assert "revoked" == entitlement["status"]


async def test_a_later_notification_matches_a_refund(service: Service) -> None:
    """The purchase's own notification says whose it is, though it comes after its refund."""
    await by_stripe.say(service, "refund.created", REFUND)
    owned = {**CHARGE, "metadata": {"product_id": seed.ANNUAL, "user_id": "ada"}}
    await by_stripe.say(service, "charge.succeeded", owned, at=CHARGE["created"])

    assert ([], 0) == (await listed(service, unmatched="true"), await gauge(service))
    assert ["re_3Annual"] == await listed(service, user_id="ada", unmatched="false")


async def test_a_subscription_that_is_told_of_matches_its_refunds(service: Service) -> None:
    """Telling whose a subscription is matches the refund of a payment that nobody named."""
    await by_stripe.tell(service, "ch_3Annual", original_purchase_id="sub_1", user_id="grace")
    await by_stripe.say(service, "refund.created", {**REFUND, "id": "re_2", "charge": "ch_2", "payment_intent": "pi_2"})
    assert ["re_2"] == await listed(service, unmatched="true")

    await by_stripe.tell(service, "ch_2", original_purchase_id="sub_1", user_id="grace")

    assert ["re_2"] == await listed(service, user_id="grace")
