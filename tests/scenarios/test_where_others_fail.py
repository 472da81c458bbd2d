"""Refunds that other services get wrong: each was seen going wrong somewhere, and goes right here.

Real: the platforms' own payloads, `read`, `normalize`, placing, folding and deciding. Left out: the seals, which
`verify` has its own tests for. Every story is told in every order in which its notifications could arrive.
"""

from typing import Any

import pytest

from schemas.base import Access
from schemas.entry import Entry, EntryKind
from tests.handlers.entries import ANNUAL, MONTHLY, Story, day, told
from tests.scenarios import posts
from tests.scenarios.posts import ANN, TOKEN, amazon, apple, charge, google, period, refund, revoked, stripe, voided
from tests.scenarios.shop import COINS, LIFETIME, hear, hear_in_any_order, rules, shop, types

pytestmark = pytest.mark.unit

K = EntryKind
JANUARY, FEBRUARY = "2000000900000001", "2000000900000002"
ORDER = "GPA.3345-1234-5678-90123"
INTENT = "payment_intent:pi_lifetime"


def app_tells(purchase: str, on_day: float, product: str, **said: Any) -> tuple[Entry]:
    """The app's backend tells of a purchase that Ann made."""
    return (told(on_day, purchase, product_id=product, user_id=ANN, **said),)


def test_a_late_renewal_does_not_reactivate_a_refunded_subscription():
    """The renewal of February arrives after February's refund: it is the older word, and gives nothing back."""
    # Seen elsewhere: DID_RENEW, retried by Apple after a time-out, set the subscription to active again.
    story = hear_in_any_order(
        apple("SUBSCRIBED", 0, JANUARY, subtype="INITIAL_BUY", **period(0)),
        apple("REFUND", 35, FEBRUARY, status=5, **period(30), **revoked(35)),
        apple("DID_RENEW", 30, FEBRUARY, **period(30)),
        on_day=40,
    )

    assert "revoked" == story.status(ANN)
    assert Access.REVOKED is story.purchases[FEBRUARY].access
    assert "entitlement.reinstated" not in types(story.events)


def _old_period_apple() -> list[tuple[Entry, ...]]:
    return [
        apple("SUBSCRIBED", 0, JANUARY, subtype="INITIAL_BUY", **period(0)),
        apple("DID_RENEW", 30, FEBRUARY, **period(30)),
        apple("REFUND", 35, JANUARY, status=1, **period(0), **revoked(35)),
    ]


def _old_period_google() -> list[tuple[Entry, ...]]:
    google_plan: dict[str, Any] = {"platform": "google", "lineage": [f"token:{TOKEN}"]}
    return [
        app_tells(ORDER, 0, MONTHLY, purchased_at_ms=day(0), expires_at_ms=day(30), **google_plan),
        app_tells(f"{ORDER}..0", 30, MONTHLY, purchased_at_ms=day(30), expires_at_ms=day(60), **google_plan),
        google(30, "subscriptionNotification", version="1.0", notificationType=2),
        voided(35, ORDER),
    ]


def _old_period_stripe() -> list[tuple[Entry, ...]]:
    return [
        stripe("invoice.paid", posts.invoice("january", 0), 0),
        stripe("invoice.paid", posts.invoice("february", 30), 30),
        stripe("refund.created", refund("january", 35, amount=999), 35),
    ]


@pytest.mark.parametrize(
    ("notifications", "old", "current"),
    [
        (_old_period_apple, JANUARY, FEBRUARY),
        (_old_period_google, ORDER, f"{ORDER}..0"),
        (_old_period_stripe, "ch_january", "ch_february"),
    ],
    ids=["apple", "google", "stripe"],
)
def test_the_refund_of_an_old_period_does_not_cancel_the_paid_one(notifications, old, current):
    """January is refunded while February is paid: January is revoked, February goes on, and nobody loses access."""
    # Seen elsewhere: the subscription was canceled, and its expiry set back to the day of the refund.
    story = hear_in_any_order(*notifications(), on_day=40)

    assert (1, 2) == (len(story.book.lineages), len(story.purchases))
    assert (Access.REVOKED, Access.ACTIVE) == (story.purchases[old].access, story.purchases[current].access)
    assert "active" == story.status(ANN)
    assert ["entitlement.granted", "refund.succeeded"] == types(story.events[-2:])
    (record,) = story.refunds.values()
    assert story.purchases[old].id == record.charge_id


@pytest.mark.parametrize("bought_once", [False, True], ids=["subscription", "non-consumable"])
def test_a_reversed_refund_restores_what_it_took(bought_once):
    """REFUND_REVERSED gives back exactly what the REFUND took: the month that runs, or what was bought for life."""
    # Seen elsewhere: the subscription stayed expired, and the row of a one-time purchase was gone for good.
    kind = {"type": "Non-Consumable", "productId": LIFETIME, "expiresDate": None, "purchaseDate": day(0)}
    what = kind if bought_once else period(0)
    buy = "ONE_TIME_CHARGE" if bought_once else "SUBSCRIBED"
    story = hear_in_any_order(
        apple(buy, 0, JANUARY, **what),
        apple("REFUND", 10, JANUARY, status=5, **what, **revoked(10)),
        apple("REFUND_REVERSED", 20, JANUARY, **what),
        on_day=25,
    )

    assert ["entitlement.granted", "refund.succeeded", "entitlement.revoked"] == types(story.events[:3])
    assert ["refund.reversed", "entitlement.reinstated"] == types(story.events[3:])
    assert ("active", "reversed") == (story.status(ANN), story.refunds[JANUARY].status)
    assert 0 == story.only.amount_refunded


def test_units_of_a_purchase_refunded_on_google_leave_the_rest():
    """Three of ten packs of coins are voided: seven are left, and only three are taken from the balance."""
    # Seen elsewhere: the void of some units deleted the whole purchase.
    packs: dict[str, Any] = {"kind": "consumable", "quantity": 10, "amount": 4990, "currency": "usd"}
    bought = app_tells(ORDER, 0, COINS, platform="google", lineage=[f"token:{TOKEN}"], **packs)
    story = hear_in_any_order(bought, voided(5, ORDER, of=COINS, quantity=10, left=7))

    (record,) = story.refunds.values()
    assert ("quantity", "succeeded") == (record.scope, record.status)
    assert (1000, 300, Access.ACTIVE) == (story.only.units, story.only.units_clawed_back, story.only.access)
    assert ["refund.succeeded", "balance.clawed_back"] == types(story.events)
    assert {"partial_refund=keep"} == rules(story.events)


def test_units_of_a_purchase_refunded_on_google_without_credentials_leave_all_of_it():
    """How many units were voided, only the Play Developer API says: until it can be asked, the purchase stays."""
    bought = app_tells(ORDER, 0, COINS, platform="google", kind="consumable", quantity=10)
    story = hear_in_any_order(bought, voided(5, ORDER, full=False, one_time=True))

    assert ["quantity"] == [record.scope for record in story.refunds.values()]
    assert Access.ACTIVE is story.only.access


def test_units_of_a_purchase_refunded_on_apple_leave_the_rest():
    """One of three packs of coins is refunded, a third of the money: two packs stay, and 100 coins are taken."""
    packs: dict[str, Any] = {"type": "Consumable", "productId": COINS, "quantity": 3, "price": 14970}
    when: dict[str, Any] = {"purchaseDate": day(0), "expiresDate": None}
    story = hear_in_any_order(
        apple("ONE_TIME_CHARGE", 0, JANUARY, **packs, **when),
        apple("REFUND", 5, JANUARY, **packs, **when, **revoked(5, share_millis=33_333)),
    )

    record = story.refunds[JANUARY]
    assert ("quantity", 1, 499, "estimated") == (record.scope, record.quantity, record.amount, record.amount_source)
    assert (300, 100, Access.ACTIVE) == (story.only.units, story.only.units_clawed_back, story.only.access)


def test_a_failed_refund_is_written_down_and_gives_back():
    """refund.failed, eight days later: the record says so and why, the access that was taken is back."""
    # Seen elsewhere: nothing at all was stored of it. Elsewhere again the record failed, and access stayed away.
    failed = refund("lifetime", 10, "failed", failure_reason="expired_or_canceled_card")
    story = hear_in_any_order(
        stripe("charge.succeeded", charge("lifetime", 0), 0),
        stripe("refund.created", refund("lifetime", 10), 10),
        stripe("refund.failed", failed, 18),
    )

    record = story.refunds["re_lifetime_1"]
    assert ("failed", "expired_or_canceled_card") == (record.status, record.failed_reason)
    assert ["refund.failed", "entitlement.reinstated"] == types(story.events[-2:])
    assert ("active", 0) == (story.status(ANN), story.only.amount_refunded)


@pytest.mark.parametrize(("verdict", "status"), [("won", "active"), ("lost", "revoked")])
def test_a_dispute_is_judged_by_its_verdict(verdict, status):
    """A dispute that is won gives access back; only one that is lost takes it."""
    # Seen elsewhere: "resolved" meant won or lost, and both revoked.
    dispute = posts.dispute("lifetime", "needs_response")
    story = hear_in_any_order(
        stripe("charge.succeeded", charge("lifetime", 0), 0),
        stripe("charge.dispute.created", dispute, 10),
        stripe("charge.dispute.funds_withdrawn", dispute, 10),
        stripe("charge.dispute.closed", {**dispute, "status": verdict}, 70),
    )

    assert status == story.status(ANN)
    assert f"chargeback.{verdict}" in types(story.events)


def test_a_refund_while_the_bank_decides_is_no_double_loss_of_access():
    """Refunded and disputed at once, then won: the refund still stands, so access stays away until that fails too."""
    dispute = posts.dispute("lifetime", "needs_response")
    notifications = [
        stripe("charge.succeeded", charge("lifetime", 0), 0),
        stripe("refund.created", refund("lifetime", 9), 9),
        stripe("charge.dispute.created", dispute, 10),
        stripe("charge.dispute.closed", {**dispute, "status": "won"}, 70),
    ]

    assert "revoked" == hear_in_any_order(*notifications).status(ANN)
    failed = refund("lifetime", 9, "failed", failure_reason="charge_for_pending_refund_disputed")
    assert "active" == hear_in_any_order(*notifications, stripe("refund.failed", failed, 80)).status(ANN)


SAME_ID = "2000000900000001"


def test_one_platform_does_not_take_what_another_gives():
    """Ann pays on Apple and on Stripe; even under the very same id, a refund takes what its own platform sold."""
    # Seen elsewhere: a refund event looked up its user, and ended whatever subscription that user had.
    on_apple = apple("SUBSCRIBED", 0, SAME_ID, **period(0))
    on_amazon = amazon("ENTITLEMENT_PURCHASED", 1, SAME_ID)
    amazons = app_tells(SAME_ID, 1, LIFETIME, platform="amazon")
    refunded = amazon("ENTITLEMENT_CANCELLED", 5, SAME_ID)

    story = hear_in_any_order(on_apple, on_amazon, amazons, refunded, on_day=10)

    assert "active" == story.status(ANN)
    assert {"apple": Access.ACTIVE, "amazon": Access.REVOKED} == {
        purchase.platform: purchase.access for lineage in story.book.lineages.values() for purchase in lineage.purchases
    }
    assert {"entitlement.revoked", "entitlement.suspended"}.isdisjoint(types(story.events))


def test_a_second_refund_event_does_not_take_a_purchase_made_anew():
    """Bought, refunded, bought again; then Stripe says more of the first refund: the second purchase is untouched."""
    # Seen elsewhere: a bank reference that arrived weeks later revoked what the customer had bought in the meantime.
    story = Story(shop())
    first = [stripe("charge.succeeded", charge("lifetime", 0), 0), stripe("refund.created", refund("lifetime", 10), 10)]
    again = stripe("charge.succeeded", charge("again", 20), 20)
    bank = {"type": "refund", "reference": "74627884", "reference_status": "available"}
    told_by_the_bank = refund("lifetime", 10, destination_details={"type": "card", "card": bank})
    more = stripe("refund.updated", told_by_the_bank, 30)
    total = stripe("charge.refunded", charge("lifetime", 0, amount_refunded=12000, refunded=True), 30)

    hear(story, *first, again)
    assert [] == hear(story, more, total)
    story = hear_in_any_order(*first, again, more, total)
    assert ("active", Access.ACTIVE) == (story.status(ANN), story.purchases["ch_again"].access)
    assert ("revoked", "74627884") == (story.purchases["ch_lifetime"].access, story.refunds["re_lifetime_1"].reference)
    assert 12000 == sum(amount or 0 for amount in story.refunded_amounts)


def test_a_subscription_bought_again_outlives_the_refund_of_the_one_before():
    """Apple keeps one original id over both subscriptions: a second notice of the old refund takes nothing new."""
    year: dict[str, Any] = {"productId": ANNUAL, "purchaseDate": day(10), "expiresDate": day(375)}
    story = hear_in_any_order(
        apple("SUBSCRIBED", 0, JANUARY, subtype="INITIAL_BUY", **period(0)),
        apple("REFUND", 5, JANUARY, status=5, **period(0), **revoked(5)),
        apple("SUBSCRIBED", 10, FEBRUARY, subtype="RESUBSCRIBE", **year),
        apple("REFUND", 20, JANUARY, status=1, **period(0), **revoked(5)),
        on_day=30,
    )

    assert ("active", Access.ACTIVE) == (story.status(ANN), story.purchases[FEBRUARY].access)
    assert Access.REVOKED is story.purchases[JANUARY].access
