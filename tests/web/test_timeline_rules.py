"""Every item of a timeline names the rule that decided on it when it was recorded."""

from typing import Any

from sqlalchemy import event

from tests.web import by_stripe, seed
from tests.web.by_stripe import CHARGE, REFUND
from tests.web.service import Service
from worker.sweeper import sweep

OWNED = {**CHARGE, "metadata": {"product_id": seed.ANNUAL, "user_id": "ada"}}


async def rules(service: Service) -> dict[str, str | None]:
    """Show the rule of everything that was said, by what it was."""
    items = (await service.get("/v1/customers/ada/timeline"))["data"]
    return {item["type"]: item["rule"] for item in items if item["type"].startswith("ledger.")}


async def test_each_item_names_the_rule_of_its_own_time(service: Service) -> None:
    """The purchase was bought by one rule and taken by another; history shows each beside what was said."""
    await by_stripe.say(service, "charge.succeeded", OWNED, at=CHARGE["created"])
    service.clock.now += 1
    await by_stripe.say(service, "refund.created", REFUND)
    service.clock.now += 1
    await by_stripe.say(service, "refund.failed", {**REFUND, "status": "failed"}, at=seed.NOW + 1)

    assert {
        "ledger.purchased": "bought",
        "ledger.refund_succeeded": "full_refund=revoke",
        "ledger.refund_failed": "bought",
    } == await rules(service)


async def test_what_changed_nothing_names_no_rule(service: Service) -> None:
    """Nothing followed from it, so no rule decided: null, not the rule that stands today."""
    await by_stripe.say(service, "charge.succeeded", OWNED, at=CHARGE["created"])
    service.clock.now += 1
    await by_stripe.tell(service, "ch_3Annual")

    assert {"ledger.purchased": "bought", "ledger.told": None} == await rules(service)


async def test_an_app_and_the_clock_decide_by_rules_too(service: Service) -> None:
    """What no notification is behind is matched by its moment and its purchase."""
    ends = seed.NOW + seed.DAY
    await by_stripe.tell(service, "ch_3Annual", purchased_at=CHARGE["created"], expires_at=ends)
    await by_stripe.tell(service, "ch_other", user_id="grace", purchased_at=CHARGE["created"], expires_at=ends)
    service.clock.now = float(ends)
    sweep(service.runtime)

    assert {"ledger.told": "bought", "ledger.lapsed": "lapsed"} == await rules(service)


async def test_a_purchase_with_a_better_id_keeps_its_history(service: Service) -> None:
    """Told by its intent, decided on under that name, and found under its charge since: the rule is still there."""
    await by_stripe.tell(service, "pi_3Annual")
    service.clock.now += 1
    await by_stripe.say(service, "charge.succeeded", CHARGE, at=CHARGE["created"])

    items = (await service.get("/v1/customers/ada/timeline"))["data"]
    (purchase,) = (await service.get("/v1/purchases"))["data"]
    told = {item["type"]: (item["rule"], item["purchase"]) for item in items}
    assert ("bought", purchase["id"]) == told["ledger.told"]


async def test_a_word_about_a_whole_subscription_names_its_rule(service: Service) -> None:
    """What names no single payment has the rule of those it decided on."""
    await by_stripe.tell(service, "ch_3Annual", original_purchase_id="sub_1")
    service.clock.now += 1
    ended = {"id": "sub_1", "object": "subscription", "status": "canceled", "ended_at": seed.NOW, "metadata": {}}
    await by_stripe.say(service, "customer.subscription.deleted", ended)

    assert {"ledger.told": "bought", "ledger.expired": "platform_expired"} == await rules(service)


async def test_a_timeline_takes_as_many_statements_however_long(service: Service) -> None:
    """The rules of a page are read at once: a longer page asks the store no more often."""
    asked: list[Any] = []
    engine = service.store.engine
    event.listen(engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    counts = []
    for number in range(1, 4):
        await by_stripe.tell(service, f"ch_{number}")
        asked.clear()
        await service.get("/v1/customers/ada/timeline")
        counts.append(len([one for one in asked if one.startswith("SELECT")]))

    assert 1 == len(set(counts)), counts
