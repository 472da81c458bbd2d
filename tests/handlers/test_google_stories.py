"""What becomes of access and refund records when Google Play tells a story, in every order in which it may arrive.

Real: reading, meaning and the ledger. Double: the Play Developer API's answers, which are written out.
"""

from typing import Any

import pytest

from config.products import Product
from config.settings import App
from handlers.told import entry_of
from schemas.base import Access
from schemas.entry import Entry
from schemas.meaning import Lookup, Missing
from schemas.resources import PurchaseTold
from tests.handlers.entries import DAY_MS, START_MS, Story, settle
from tests.handlers.play import (
    BOUGHT,
    COINS,
    COINS_ORDER,
    PRODUCT,
    SUBSCRIBED,
    TOKEN,
    bought,
    entries_of,
    item,
    one_time,
    ordered,
    refunded,
    review,
    subscribed,
    subscription,
    usd,
    voided,
)

pytestmark = pytest.mark.unit

USER = "u_4711"
FIRST, SECOND = "GPA.3345-1234-5678-90123", "GPA.3345-1234-5678-90123..0"
MONTHLY = "com.acme.weather.pro.monthly"
OLD_TOKEN, OLD_ORDER = "oldmonthlyplan.AO-J1OxOLD", "GPA.3000-1111-2222-33333"
APP = App(
    products={
        PRODUCT: Product(entitlements=("pro",)),
        MONTHLY: Product(entitlements=("pro",)),
        COINS: Product(kind="consumable", units=100),
    }
)


def on(day: float, notification: dict[str, Any], facts: Any = None) -> list[Entry]:
    """Have a notification sent on a day of 2026."""
    return entries_of(notification | {"eventTimeMillis": str(START_MS + int(day * DAY_MS))}, facts)


def period(
    order: str, until: str = "2027-01-31T00:00:00Z", product: str = PRODUCT, **changes: Any
) -> dict[Lookup, Any]:
    """Answer that this order pays for the product until then, in a subscription that reads active."""
    return {SUBSCRIBED: subscribed(item(latestSuccessfulOrderId=order, expiryTime=until, productId=product), **changes)}


def told_by_app(day: float, order: str, token: str = TOKEN, product: str = PRODUCT) -> Entry:
    """Have the app's backend tell of a purchase."""
    told = PurchaseTold(
        app="acme",
        platform="google",
        environment="production",
        purchase_id=order,
        product_id=product,
        user_id=USER,
        purchased_at=(START_MS + int(day * DAY_MS)) // 1000,
        purchase_token=token,
    )
    return entry_of(told, now_ms=START_MS)


def accesses(story: Story) -> dict[str, Access]:
    """Give what each order gives."""
    return {name: purchase.access for name, purchase in story.purchases.items()}


def test_the_void_of_an_old_cycle_leaves_this_one_alone():
    """The first month is refunded while the second runs: the order names the cycle, and only that one is gone."""
    story = settle(
        *on(0, subscription(4), period(FIRST)),
        *on(30, subscription(2), period(SECOND)),
        *on(40, voided(orderId=FIRST), period(SECOND)),
        app=APP,
    )

    assert {FIRST: Access.REVOKED, SECOND: Access.ACTIVE} == accesses(story)
    assert "active" == story.status(USER)
    assert ["succeeded"] == [refund.status for refund in story.refunds.values()]


def test_a_full_void_wins_over_an_api_that_reads_active():
    """The running cycle is voided; what the API still says, and a renewal that is told late, bring nothing back."""
    story = settle(
        *on(0, subscription(4), period(FIRST)),
        *on(30, subscription(2), period(SECOND)),
        *on(270, voided(orderId=SECOND), period(SECOND)),
        *on(271, subscription(7), period(SECOND)),
        app=APP,
    )

    assert Access.REVOKED is story.purchases[SECOND].access
    assert "full_refund=revoke" == story.purchases[SECOND].rule


def test_a_hold_suspends_until_it_is_paid():
    """On hold there is no access, even if the API reads active; the payment that recovers it begins a new cycle."""
    bought_then = on(0, subscription(4), period(FIRST))
    held = on(30, subscription(5), period(FIRST))
    recovered = on(40, subscription(1), period(SECOND))

    story = settle(*bought_then, *held, app=APP)
    assert ("suspended", "on_hold") == (story.status(USER), story.only.access_reason)
    assert "active" == settle(*bought_then, *held, *recovered, app=APP).status(USER)


def test_a_pause_suspends_and_an_end_ends():
    """Paused is not lost, expired is over, and neither is a refund."""
    bought_then = on(0, subscription(4), period(FIRST))

    assert "suspended" == settle(*bought_then, *on(30, subscription(10)), app=APP).status(USER)
    ended = settle(*bought_then, *on(30, subscription(10)), *on(60, subscription(13)), app=APP)
    assert ("expired", {}) == (ended.status(USER), ended.refunds)


def test_canceled_means_will_not_renew():
    """What was paid for lasts to its end, with an answer and without one."""
    bought_then = on(0, subscription(4), period(FIRST))
    canceled = on(10, subscription(3), period(FIRST, "2027-01-15T00:00:00Z"))

    story = settle(*bought_then, *canceled, app=APP)
    assert ("active", 1_799_971_200) == (story.status(USER), story.only.expires_at)


def test_an_upgrade_in_the_middle_of_a_month():
    """The monthly plan ends as the annual one begins, nothing is refunded, and a refund of the new revives no old."""
    monthly = told_by_app(0, OLD_ORDER, OLD_TOKEN, MONTHLY)
    upgraded = on(15, subscription(4), period(FIRST, linkedPurchaseToken=OLD_TOKEN))
    refund = on(20, voided(orderId=FIRST), period(FIRST, linkedPurchaseToken=OLD_TOKEN))

    story = settle(monthly, *upgraded, app=APP)
    assert {OLD_ORDER: Access.EXPIRED, FIRST: Access.ACTIVE} == accesses(story)
    assert ("replaced", {}, "active") == (
        story.purchases[OLD_ORDER].access_reason,
        story.refunds,
        story.status(USER),
    )

    undone = settle(monthly, *upgraded, *refund, app=APP)
    assert {OLD_ORDER: Access.EXPIRED, FIRST: Access.REVOKED} == accesses(undone)
    assert [FIRST] == list(undone.refunds)
    assert "active" != undone.status(USER)


def test_an_upgrade_that_waits_for_the_months_end():
    """Until the new plan is paid for, its token shows the old order: the old token's end is not the new plan's."""
    february, new = "2026-02-01T00:00:00Z", {"linkedPurchaseToken": OLD_TOKEN, "startTime": "2026-01-16T00:00:00Z"}
    old = item(productId=MONTHLY, latestSuccessfulOrderId=OLD_ORDER, expiryTime=february)
    monthly = on(0, subscription(4, purchaseToken=OLD_TOKEN), {Lookup("subscriptionsv2", OLD_TOKEN): subscribed(old)})
    both = subscribed(
        old | {"deferredItemReplacement": {"productId": PRODUCT}},
        item(latestSuccessfulOrderId=None, expiryTime=None),
        **new,
    )
    ordered_then = on(15, subscription(4), {SUBSCRIBED: both})
    began = on(31, subscription(2), period(FIRST, **new))
    over = on(31.01, subscription(13, purchaseToken=OLD_TOKEN))

    waiting = settle(monthly[0], *ordered_then, app=APP)
    assert (OLD_ORDER, MONTHLY, START_MS // 1000, Access.ACTIVE) == (
        waiting.only.purchase_id,
        waiting.only.product_id,
        waiting.only.purchased_at,
        waiting.only.access,
    )
    story = settle(*monthly, *ordered_then, *began, *over, app=APP)
    assert {OLD_ORDER: Access.EXPIRED, FIRST: Access.ACTIVE} == accesses(story)
    assert "active" == story.status(USER)


def test_ten_bags_of_coins_are_refunded_in_three_slices():
    """Two, three, then the last five: each slice takes its coins, and only the last one the purchase."""

    def void(day: float, kind: int, left: int) -> list[Entry]:
        facts = {BOUGHT: bought(left=left)}
        return on(day, voided(orderId=COINS_ORDER, productType=2, refundType=kind), facts)

    coins = on(0, one_time(1, sku=COINS), {BOUGHT: bought()})
    two, three, five = void(10, 2, 8), void(20, 2, 5), void(30, 1, 0)

    clawed_back = [
        settle(*coins, *slices, app=APP).only.units_clawed_back
        for slices in ([], two, [*two, *three], [*two, *three, *five])
    ]
    assert [0, 200, 500, 1000] == clawed_back
    assert Access.ACTIVE is settle(*coins, *two, *three, app=APP).only.access
    assert Access.REVOKED is settle(*coins, *two, *three, *five, app=APP).only.access


def test_a_chargeback_is_asked_about_before_it_is_a_refund():
    """The question opens the record that the void closes; access goes with the void and not before."""
    bought_then = on(0, subscription(4), period(FIRST))
    asked = on(100, review(orderId=FIRST))
    order = {Lookup("orders", FIRST): ordered(refunded(usd("49", 990_000_000), "CHARGEBACK"), orderId=FIRST)}
    gone = on(110, voided(orderId=FIRST), order)

    story = settle(*bought_then, *asked, app=APP)
    assert ("active", "to_issue", "chargeback") == (
        story.status(USER),
        story.refunds[FIRST].status,
        story.refunds[FIRST].reason,
    )

    story = settle(*bought_then, *asked, *gone, app=APP)
    assert ("revoked", "succeeded", 4999, "exact") == (
        story.status(USER),
        story.refunds[FIRST].status,
        story.refunds[FIRST].amount,
        story.refunds[FIRST].amount_source,
    )


def test_without_credentials_token_and_order_are_enough():
    """No look-up is answered: what the app told is revoked by its order, and a revocation takes all of its token."""
    periods = [told_by_app(0, FIRST), told_by_app(30, SECOND)]

    assert {FIRST: Access.REVOKED, SECOND: Access.ACTIVE} == accesses(
        settle(*periods, *on(40, voided(orderId=FIRST)), app=APP)
    )
    assert {Access.REVOKED} == set(accesses(settle(*periods, *on(40, subscription(12)), app=APP)).values())


def test_a_token_that_cannot_be_read_any_more_blocks_no_void():
    """More than 60 days after its end the API answers 410: the void of its last order still takes effect."""
    gone = {SUBSCRIBED: Missing(410), Lookup("orders", FIRST): Missing(404)}
    story = settle(told_by_app(0, FIRST), *on(300, voided(orderId=FIRST), gone), app=APP)

    assert ("revoked", "succeeded") == (story.status(USER), story.refunds[FIRST].status)


def test_money_that_contradicts_its_order_takes_nothing():
    """More went back than was paid, says one answer: the record shows both numbers, and access stays."""
    order = {Lookup("orders", FIRST): ordered(refunded(usd("150")), orderId=FIRST, total=usd("100"))}
    story = settle(*on(0, subscription(4), period(FIRST)), *on(110, voided(orderId=FIRST), order), app=APP)

    assert ("active", "15000 of 10000 usd") == (story.status(USER), story.refunds[FIRST].contradiction)


def test_grace_lasts_as_long_as_the_answer_says():
    """The renewal failed and access goes on until the new end; the next payment starts a cycle, and ends the grace."""
    story = settle(
        *on(0, subscription(4), period(FIRST, "2026-01-31T00:00:00Z")),
        *on(30, subscription(6), period(FIRST, "2026-02-07T00:00:00Z")),
        *on(33, subscription(2), period(SECOND, "2026-02-28T00:00:00Z")),
        app=APP,
    )

    assert {FIRST: 1_769_817_600, SECOND: 1_772_236_800} == {
        name: purchase.expires_at for name, purchase in story.purchases.items()
    }
