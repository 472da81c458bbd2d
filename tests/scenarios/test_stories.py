"""What a product manager asks: who keeps what, when money goes back.

Real: placing, folding and deciding. Double: nothing. Each story is told once in the order in which it happened, with
everything that the app's backend hears of it, and then in every order in which its notifications could arrive.
"""

import sqlite3
from contextlib import closing

import pytest

from schemas.base import Access
from schemas.entry import EntryKind
from tests.handlers.entries import (
    ANN,
    ANNUAL,
    APPLE,
    BOB,
    GOOGLE,
    MONTHLY,
    PRICE,
    bought,
    day,
    dispute,
    entry,
    money,
    told,
)
from tests.house.tree import ROOT
from tests.scenarios.shop import (
    COINS,
    COINS_PRICE,
    FAMILY_PLAN,
    MONTHLY_PRICE,
    hear,
    hear_in_any_order,
    month,
    rules,
    shop,
    types,
)

pytestmark = pytest.mark.unit

K = EntryKind
ORGANIZERS = "2000000555"
MEMBERS = "2000000777"


def test_annual_plan_refunded_half_after_six_months():
    """A goodwill refund of half the price is paid out and recorded, and Ann keeps her plan to its end."""
    plan = bought(0, expires_at_ms=day(365))
    half = money(K.REFUND_SUCCEEDED, month(6), PRICE // 2, reason="goodwill")

    story = hear_in_any_order([plan], [half])

    assert ("active", Access.ACTIVE) == (story.status(), story.only.access)
    assert ["entitlement.granted", "refund.succeeded"] == types(story.events)
    assert {"partial_refund=keep"} == rules(story.events[1:])
    refund = story.refunds["re_1"]
    assert ("succeeded", "partial", PRICE // 2, "usd") == (refund.status, refund.scope, refund.amount, refund.currency)
    assert (PRICE, PRICE // 2) == (story.only.amount, story.only.amount_refunded)


def test_annual_plan_refunded_half_where_every_refund_ends_access():
    """The other choice: a shop whose policy says so takes the plan away with the first part of the money."""
    plan, half = bought(0, expires_at_ms=day(365)), money(K.REFUND_SUCCEEDED, month(6), PRICE // 2)

    story = hear_in_any_order([plan], [half], app=shop(partial_refund="revoke"))

    assert "revoked" == story.status()
    assert ["refund.succeeded", "entitlement.revoked"] == types(story.events[1:])
    assert {"partial_refund=revoke"} == rules(story.events[1:])


@pytest.mark.parametrize(
    ("choice", "told_of_the_balance", "below_zero"),
    [
        ("claw_back", ["balance.clawed_back"], False),
        ("allow_negative", ["balance.clawed_back"], True),
        ("tell", [], None),
    ],
)
def test_100_coins_bought_80_spent_refunded(choice, told_of_the_balance, below_zero):
    """The app is told to take all 100 coins, and whether the spent ones make a debt; or hears only of the refund."""
    # Clawback does not know that 80 are spent: the app's backend does. It takes 20 and stops at zero, or 100 and stands
    # at minus 80, as the event says.
    coins = {"product_id": COINS, "kind": "consumable", "quantity": 1, "amount": COINS_PRICE}
    pack = bought(0, "ch_coins", **coins)
    refund = money(K.REFUND_SUCCEEDED, 3, COINS_PRICE, purchase="ch_coins")

    story = hear_in_any_order([pack], [refund], app=shop(consumable_refund=choice))

    assert ["refund.succeeded", *told_of_the_balance] == types(story.events)
    balances = [event.data.balance for event in story.events if event.data.balance]
    assert [(COINS, 100, below_zero)] * len(told_of_the_balance) == [
        (b.product_id, b.units, b.allow_negative) for b in balances
    ]
    assert (100, 100 * len(told_of_the_balance)) == (story.only.units, story.only.units_clawed_back)
    assert (Access.REVOKED, "succeeded") == (story.only.access, story.refunds["re_1"].status)
    assert {"full_refund=revoke"} == rules(story.events)
    assert {ANN} == {event.customer.user_id for event in story.events if event.customer}


def test_100_coins_refunded_and_then_not():
    """The refund of the coins fails: the app is told to give the same 100 coins back."""
    pack = bought(0, "ch_coins", product_id=COINS, kind="consumable", amount=COINS_PRICE)
    refund = money(K.REFUND_SUCCEEDED, 3, COINS_PRICE, purchase="ch_coins")
    failed = money(K.REFUND_FAILED, 11, COINS_PRICE, purchase="ch_coins", failed_reason="declined")

    story = hear_in_any_order([pack], [refund], [failed])

    assert ["refund.failed", "balance.restored"] == types(story.events[-2:])
    balance = story.events[-1].data.balance
    assert balance is not None
    assert (100, 0) == (balance.units, story.only.units_clawed_back)


@pytest.mark.parametrize(("allow_negative", "after"), [(False, [20, 0, 20]), (True, [20, -80, 20])])
def test_what_subscribers_are_advised_to_do_with_a_balance(allow_negative, after):
    """The page's own SQL: 80 of 100 coins are spent, the refund takes what it may, its failure gives that back."""
    page = (ROOT / "docs" / "subscribing.md").read_text("utf-8").partition("```sql\n")[2].partition("```")[0]
    all_of_them, what_is_left, back = page.strip().split(";\n")
    said = {"user": ANN, "product": COINS, "units": 100}
    with closing(sqlite3.connect(":memory:")) as backend:
        backend.execute("create table balances (user, product, units, short)")
        backend.execute("insert into balances values (:user, :product, 20, 0)", said)
        balances = [20]
        for statement in (all_of_them if allow_negative else what_is_left, back):
            backend.execute(statement, said)
            balances += backend.execute("select units from balances").fetchone()

    assert after == balances


def test_family_organizer_refunded_member_loses_access():
    """The organizer's refund and the member's loss are two notifications about two transactions; each takes its own."""
    organizers_plan = bought(
        0, ORGANIZERS, platform="apple", product_id=FAMILY_PLAN, lineage=[f"original:{ORGANIZERS}"]
    )
    members_copy = entry(K.PURCHASED, 1, MEMBERS, platform="apple", product_id=FAMILY_PLAN)
    whose = told(1, MEMBERS, platform="apple", product_id=FAMILY_PLAN, user_id=BOB)
    refund = money(K.REFUND_SUCCEEDED, 60, name=ORGANIZERS, purchase=ORGANIZERS, platform="apple")
    removed = entry(K.MEMBER_REMOVED, 60, MEMBERS, platform="apple", reason="family_revoke")

    story = hear_in_any_order([organizers_plan], [members_copy], [whose], [refund], [removed])

    assert ("revoked", "revoked") == (story.status(ANN), story.status(BOB))
    assert ["refund.succeeded", "entitlement.revoked", "entitlement.revoked"] == types(story.events[-3:])
    assert [ANN, ANN, BOB] == [event.customer.user_id for event in story.events[-3:] if event.customer]
    assert ["full_refund=revoke", "full_refund=revoke", "member_removed=revoke"] == [
        event.data.cause.rule for event in story.events[-3:]
    ]
    assert {ORGANIZERS: "succeeded"} == {name: record.status for name, record in story.refunds.items()}


def test_family_member_leaves_and_the_organizer_keeps_the_plan():
    """Who leaves the family loses the share; nobody else does, and no money is said to have moved."""
    organizers_plan = bought(0, ORGANIZERS, platform="apple", product_id=FAMILY_PLAN)
    members_copy = bought(1, MEMBERS, platform="apple", product_id=FAMILY_PLAN, user_id=BOB, amount=None, currency=None)
    removed = entry(K.MEMBER_REMOVED, 60, MEMBERS, platform="apple", reason="family_revoke")

    story = hear_in_any_order([organizers_plan], [members_copy], [removed])

    assert ("active", "revoked") == (story.status(ANN), story.status(BOB))
    assert ["entitlement.granted", "entitlement.granted", "entitlement.revoked"] == types(story.events)
    assert {} == story.refunds


def test_chargeback_opened_evidence_won():
    """While the bank's case is open Ann is locked out; when the evidence wins, she is let in again."""
    plan = bought(0)
    opened = dispute(K.CHARGEBACK_OPENED, 40, reason="fraudulent")
    won = dispute(K.CHARGEBACK_WON, 100)

    story = hear_in_any_order([plan], [opened], [won])

    assert [
        "entitlement.granted",
        "chargeback.opened",
        "entitlement.suspended",
        "chargeback.won",
        "entitlement.reinstated",
    ] == types(story.events)
    assert {"chargeback_opened=suspend"} == rules(story.events[1:3])
    assert {"bought"} == rules(story.events[3:])
    record = story.refunds["dp_1"]
    assert ("chargeback", "reversed", PRICE, "fraudulent") == (record.type, record.status, record.amount, record.reason)
    assert ("active", 0) == (story.status(), story.only.amount_refunded)


def test_refund_fails_after_eight_days():
    """The bank of a closed card sends the money back: the plan is Ann's again, and the app hears both."""
    plan = bought(0)
    refund = money(K.REFUND_SUCCEEDED, 100)
    failed = money(K.REFUND_FAILED, 108, failed_reason="expired_or_canceled_card")

    story = hear_in_any_order([plan], [refund], [failed])

    assert [
        "entitlement.granted",
        "refund.succeeded",
        "entitlement.revoked",
        "refund.failed",
        "entitlement.reinstated",
    ] == types(story.events)
    assert ({"full_refund=revoke"}, {"bought"}) == (rules(story.events[1:3]), rules(story.events[3:]))
    record = story.refunds["re_1"]
    assert ("failed", "expired_or_canceled_card", day(108) // 1000) == (
        record.status,
        record.failed_reason,
        record.failed_at,
    )
    assert ("active", 0) == (story.status(), story.only.amount_refunded)


def test_two_partial_refunds_make_a_full_one():
    """After $40 of $99 Ann keeps the plan; with the remaining $59 all is paid back, and it ends."""
    story = hear_in_any_order(
        [bought(0)],
        [money(K.REFUND_SUCCEEDED, 60, 4000, "re_1")],
        [money(K.REFUND_SUCCEEDED, 90, 5900, "re_2")],
    )

    assert ["entitlement.granted", "refund.succeeded", "refund.succeeded", "entitlement.revoked"] == types(story.events)
    assert ["bought", "partial_refund=keep", "full_refund=revoke", "full_refund=revoke"] == [
        event.data.cause.rule for event in story.events
    ]
    assert [("partial", 4000), ("partial", 5900)] == [(r.scope, r.amount) for r in story.refunds.values()]
    assert ("revoked", PRICE) == (story.status(), story.only.amount_refunded)


MONTH = {"product_id": MONTHLY, "amount": MONTHLY_PRICE, "lineage": ["original:2000000123"], "platform": "apple"}


def _upgrade() -> tuple[list, list]:
    """Ann pays a month and moves to the annual plan in the middle of it: one notification ends this, begins that."""
    old = bought(0, "2000000123", expires_at_ms=day(30), **MONTH)
    year = {**MONTH, "product_id": ANNUAL, "amount": PRICE, "expires_at_ms": day(380)}
    ends = entry(K.EXPIRED, 15, None, lineage=["original:2000000123"], platform="apple", reason="upgraded")
    begins = bought(15 + 1 / 86400, "2000000124", **year)
    return [old], [ends, begins]


def test_upgrade_in_the_middle_of_a_month():
    """The store pays back the rest of the old month by itself: that is no refund, and Ann never loses access."""
    story = hear_in_any_order(*_upgrade(), on_day=16)

    assert ["entitlement.granted", "entitlement.renewed"] == types(story.events)
    assert {"bought"} == rules(story.events)
    assert {"2000000123": Access.EXPIRED, "2000000124": Access.ACTIVE} == {
        name: purchase.access for name, purchase in story.purchases.items()
    }
    assert ("active", {}) == (story.status(), story.refunds)


def test_upgrade_refunded_does_not_bring_the_old_month_back():
    """When the annual plan is refunded too, the month that it replaced is over all the same."""
    refund = money(K.REFUND_SUCCEEDED, 20, name="2000000124", purchase="2000000124", platform="apple")

    story = hear_in_any_order(*_upgrade(), [refund], on_day=21)

    assert "revoked" == story.status()
    assert ["refund.succeeded", "entitlement.revoked"] == types(story.events[-2:])
    assert {"full_refund=revoke"} == rules(story.events[-2:])


def test_refund_arrives_before_the_purchase():
    """A refund of something nobody knows is kept and shown; once the purchase is told, access is refused at once."""
    refund, purchase = money(K.REFUND_SUCCEEDED, 3), told(0, amount=PRICE, currency="usd")

    story = hear_in_any_order([refund], [purchase])

    assert ["refund.succeeded", "entitlement.revoked"] == types(story.events)
    first, second = story.events
    assert (None, None) == (first.customer, first.sequence)
    assert second.customer is not None
    assert (ANN, 1, "full_refund=revoke") == (second.customer.user_id, second.sequence, second.data.cause.rule)
    assert second.data.refund == story.refunds["re_1"]
    assert ("revoked", ANN) == (story.status(), story.refunds["re_1"].user_id)


def test_refund_arrives_before_the_purchase_and_is_undone_before_it_too():
    """The refund failed before anybody knew what it was of: the purchase begins as if nothing had happened."""
    refund, failed = money(K.REFUND_SUCCEEDED, 3), money(K.REFUND_FAILED, 11)

    story = hear_in_any_order([refund], [failed], [bought(0)])

    assert ["refund.succeeded", "refund.failed", "entitlement.granted"] == types(story.events)
    assert "active" == story.status()


def test_a_refund_is_asked_for_and_declined():
    """A request opens a record and takes nothing; declined, the record is closed and Ann has lost nothing."""
    asked = money(K.REFUND_REQUESTED, 10, None, "2000000123", **APPLE)
    declined = money(K.REFUND_DECLINED, 12, None, "2000000123", **APPLE)

    story = hear_in_any_order([bought(0, **APPLE)], [asked], [declined])

    assert ["entitlement.granted", "refund.requested", "refund.declined"] == types(story.events)
    record = story.refunds["2000000123"]
    assert ("canceled", "declined", "active") == (record.status, record.failed_reason, story.status())


def test_a_refund_is_asked_for_and_granted():
    """The refund that was asked for and the one that is made are one record, and access ends when it is made."""
    asked = money(K.REFUND_REQUESTED, 10, None, "2000000123", **APPLE)
    made = money(K.REFUND_SUCCEEDED, 12, PRICE, "2000000123", **APPLE)

    story = hear_in_any_order([bought(0, **APPLE)], [asked], [made])

    assert ["refund.requested", "refund.succeeded", "entitlement.revoked"] == types(story.events[1:])
    assert ["succeeded"] == [record.status for record in story.refunds.values()]


def test_more_money_goes_back_than_was_paid():
    """$150 of $99 cannot be: the record is kept with both numbers, and takes neither access nor money from the sums."""
    story = hear_in_any_order(
        [bought(0)], [money(K.REFUND_SUCCEEDED, 60, 15000, amount_source="exact", reason="typing_error")]
    )

    assert ["entitlement.granted"] == types(story.events)
    assert ("15000 of 9900 usd", "succeeded") == (story.refunds["re_1"].contradiction, story.refunds["re_1"].status)
    assert ("active", 0) == (story.status(), story.only.amount_refunded)


def test_a_card_fails_and_is_paid_later():
    """On hold is not gone: access is held back while the payment is overdue, and back when it goes on."""
    plan = bought(0, "GPA.1", expires_at_ms=day(380), **GOOGLE)
    held = entry(K.SUSPENDED, 30, None, reason="on_hold", **GOOGLE)
    resumed = entry(K.RESUMED, 33, None, **GOOGLE)

    story = hear_in_any_order([plan], [held], [resumed])

    assert ["entitlement.granted", "entitlement.suspended", "entitlement.reinstated"] == types(story.events)
    assert ["bought", "platform_suspended", "bought"] == [event.data.cause.rule for event in story.events]


def test_going_on_gives_nothing_back_that_was_refunded():
    """What was refunded while it was on hold stays refunded when the rest of the subscription goes on."""
    plan = bought(0, "GPA.1", expires_at_ms=day(380), **GOOGLE)
    held = entry(K.SUSPENDED, 30, None, reason="on_hold", **GOOGLE)
    refund = money(K.REFUND_SUCCEEDED, 31, None, "GPA.1", purchase="GPA.1", scope="full", **GOOGLE)
    resumed = entry(K.RESUMED, 33, None, **GOOGLE)

    assert "revoked" == hear_in_any_order([plan], [held], [refund], [resumed]).status()


def test_hearing_a_story_twice_tells_nothing_twice():
    """Every platform repeats itself: a story that arrives again adds no event, no record, no money."""
    notifications = [bought(0)], [money(K.REFUND_SUCCEEDED, 100)], [money(K.REFUND_FAILED, 108)]
    story = hear_in_any_order(*notifications)
    before = story.standing()

    assert [] == hear(story, *notifications)
    assert before == story.standing()
