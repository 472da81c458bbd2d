"""What is decided before a platform's API answers, and what its answer, at once or late, makes of that.

Real: configuration, signatures, store, processing, sweeper, look-ups with their thread, and the API as a server on
this machine. Double: the queue, which is a list, and the clock.
"""

import json
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.worker.home import Home, answering, away, open_home, opened, sell, subscription
from worker.simulator.amazon import AmazonSimulator
from worker.store import tables

__all__ = ["open_home"]


async def test_an_answer_at_once_is_part_of_the_first_decision(home: Home):
    """What the API tells in time counts from the beginning: one attempt, and the user has access."""
    sale = sell(home)
    answering(home.api, sale)
    bought = await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()

    assert ("processed", None) == home.status(bought)
    assert {sale.user_id: "active"} == home.house.statuses()
    assert {"verified", "picked_up", "decided", "looked_up:subscriptionsv2"} == home.stations(bought).keys()


async def test_a_late_answer_supersedes_what_was_said_without_it(home: Home):
    """While the API is away the notification stays open; once it answers, what it adds takes effect."""
    sale = sell(home)
    away(home.api)
    with capture_logs() as lines:
        bought = await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
        await home.work()
        assert ("accepted", "looking_up:subscriptionsv2") == home.status(bought)
        assert {} == home.house.statuses()

        answering(home.api, sale)
        await home.later()
    assert ("processed", None) == home.status(bought)
    assert {sale.user_id: "active"} == home.house.statuses()
    assert "partly_decided" not in home.stations(bought)
    assert [("process.looking_up", "looking_up"), ("process.decided", "processed")] == [
        (line["event"], line["status"]) for line in lines if line["event"].startswith("process.")
    ]
    revisions = [json.loads(row["document"]).get("revision", 0) for row in home.rows(tables.entries)]
    assert [0, 1] == sorted(revisions)


async def test_a_revocation_never_waits(home: Home):
    """Access that was paid back is gone though the API says nothing, and what it says later changes no access."""
    sale = sell(home)
    home.house.tell("google", sale)
    assert {sale.user_id: "active"} == home.house.statuses()
    away(home.api)
    void = await home.arrive("google", home.house.simulator("google").refund(sale, home.house.clock()))
    await home.work()

    assert ("accepted", "looking_up:orders,subscriptionsv2") == home.status(void)
    assert {sale.user_id: "revoked"} == home.house.statuses()
    assert [("estimated", "succeeded")] == [(r["amount_source"], r["status"]) for r in home.rows(tables.refunds)]

    answering(home.api, sale)
    await home.later()
    assert ("processed", None) == home.status(void)
    assert {sale.user_id: "revoked"} == home.house.statuses()
    assert [(sale.amount, "exact", "succeeded")] == [
        (r["amount"], r["amount_source"], r["status"]) for r in home.rows(tables.refunds)
    ]


@pytest.mark.parametrize(
    "late", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)], ids=str
)
async def test_late_answers_end_as_answers_at_once(tmp_path: Path, late: tuple[bool, bool, bool]):
    """Bought, renewed and refunded: whichever of the answers come late, purchases, refunds and access end the same."""
    now = time.time()
    ends = []
    for directory, delays in ((tmp_path / "at-once", (False, False, False)), (tmp_path / "late", late)):
        directory.mkdir()
        async with opened(directory, now=now) as home:
            await _live(home, delays)
            ends.append(home.views())

    assert ends[0] == ends[1]
    assert ["revoked", "active"] == [p["access"] for p in sorted(ends[0]["purchases"], key=lambda p: p["purchase_id"])]


async def _live(home: Home, late: tuple[bool, bool, bool]) -> None:
    """Buy a month, renew it, and void the first order; what is late is answered after all else."""
    at = home.house
    month_ms = 30 * 86_400_000
    bought_ms = int(at.clock() * 1000) - month_ms
    first, second = (at.till("google").sell(n, bought_ms=bought_ms + n * month_ms) for n in (0, 1))
    simulator = at.simulator("google")
    shots = (
        (first, simulator.purchase(first, bought_ms / 1000)),
        (second, simulator.renew(second, at.clock())),
        (first, simulator.refund(first, at.clock() + 1)),
    )
    for (sale, shot), delayed in zip(shots, late, strict=True):
        at.clock.now += 60  # so that no answer is older than the notification
        away(home.api) if delayed else answering(home.api, sale)
        await home.arrive("google", simulator.reseal(shot, at.clock()))
        await home.work()
        if delayed:
            at.clock.now += 20  # whatever pause a failure made is over
            answering(home.api, sale)
            await home.later()


async def test_what_was_learned_is_not_lost_to_a_worse_attempt(home: Home):
    """An attempt that is told less than an earlier one adds nothing; one that is told more does."""
    sale = sell(home)
    home.house.tell("google", sale)
    home.api.answers = {"subscriptionsv2": (200, subscription(sale)), "orders": (500, {})}
    void = await home.arrive("google", home.house.simulator("google").refund(sale, home.house.clock()))
    await home.work()
    told = home.views()

    home.restart()
    home.api.answers = {"subscriptionsv2": (500, {}), "orders": (500, {})}
    await home.later()
    assert ("accepted", "looking_up:orders,subscriptionsv2") == home.status(void)
    assert told == home.views()

    home.restart()
    answering(home.api, sale)
    await home.later()
    assert ("processed", None) == home.status(void)
    assert [(sale.amount, "exact")] == [(r["amount"], r["amount_source"]) for r in home.rows(tables.refunds)]


async def test_what_was_said_can_be_taken_back(home: Home):
    """A subscription's end without its reason ends access at once; the reason, when it is known, takes its place."""
    sale = sell(home, "amazon")
    home.house.tell("amazon", sale)
    away(home.api)
    simulator = home.house.simulator("amazon")
    assert isinstance(simulator, AmazonSimulator)
    ended = await home.arrive("amazon", simulator.revoke(sale, home.house.clock()))
    await home.work()
    assert ("accepted", "looking_up:rvs,rvs_sandbox") == home.status(ended)
    assert {sale.user_id: "revoked"} == home.house.statuses()

    home.api.status = 200
    home.api.answer = {
        "receiptId": sale.purchase_id,
        "productId": sale.product_id,
        "productType": "SUBSCRIPTION",
        "purchaseDate": sale.purchased_at_ms,
        "cancelDate": sale.purchased_at_ms,
        "cancelReason": 1,
    }
    await home.later()
    assert "processed" == home.status(ended)[0]
    assert {sale.user_id: "expired"} == home.house.statuses()


async def test_the_promise_is_timed_once(home: Home):
    """From receipt to effect is measured at the first effect, and not again when an answer comes hours later."""
    away(home.api)
    sale = sell(home)
    await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()
    answering(home.api, sale)
    await home.later()

    [metric] = home.house.runtime.metrics.receive_to_effect_seconds.collect()
    assert [1.0] == [s.value for s in metric.samples if s.name.endswith("_count")]
