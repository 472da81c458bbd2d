"""What speaks against access beside money: families, seats, consent, and disputes that nobody told of yet."""

from typing import Any

import pytest

from schemas.base import Access
from schemas.entry import EntryKind
from tests.handlers.entries import ANNUAL, APPLE, SUBSCRIPTION, acme, bought, dispute, entry, money, settle

K = EntryKind
DISPUTED: dict[str, Any] = {"failed_reason": "charge_for_pending_refund_disputed"}


def test_a_member_is_removed():
    """Who no longer shares the family's plan loses it, by a rule of its own, and there is no refund behind it."""
    gone = (bought(0, **APPLE), entry(K.MEMBER_REMOVED, 60, reason="family_revoke", **APPLE))

    story = settle(*gone)
    assert ("revoked", "family_revoke", "member_removed=revoke") == (
        story.status(),
        story.only.access_reason,
        story.only.rule,
    )
    assert story.events[-1].data.refund is None
    assert "active" == settle(*gone, app=acme(member_removed="keep")).status()


@pytest.mark.parametrize("seats", [1, 3])
def test_seats_never_take_the_purchase(seats):
    """However many seats go back, the purchaser keeps what the purchase gives; the record says how many."""
    story = settle(
        bought(0, quantity=3, **APPLE), money(K.REFUND_SUCCEEDED, 60, None, scope="quantity", seats=seats, **APPLE)
    )

    assert ("active", "seats_refunded", seats) == (story.status(), story.only.rule, story.refunds["re_1"].quantity)
    assert "refund.succeeded" == story.events[-1].type


def test_seats_first_and_then_all_of_it():
    """A refund that began with seats and became the whole purchase takes the whole purchase."""
    seats = money(K.REFUND_SUCCEEDED, 60, None, scope="quantity", seats=1, **APPLE)
    whole = money(K.REFUND_SUCCEEDED, 70, None, scope="full", **APPLE)

    assert "revoked" == settle(bought(0, quantity=3, **APPLE), seats, whole).status()


def test_seats_that_came_back():
    """A reversed refund of seats leaves no trace on access."""
    seats = money(K.REFUND_SUCCEEDED, 60, None, scope="quantity", seats=1, **APPLE)

    assert "bought" == settle(bought(0, **APPLE), seats, money(K.REFUND_REVERSED, 70, None, **APPLE)).only.rule


def test_consent_is_kept_by_default_and_taken_by_policy():
    """What a guardian's withdrawal does is the business's decision; it concerns what the account bought before."""
    account: dict[str, Any] = {"kin": ("app_transaction:7",), "platform": "apple"}
    plan = bought(0, "1000", lineage=("original:1000",), **account)
    later = bought(90, "3000", lineage=("original:3000",), product_id="acme.everything", **account)
    withdrawn = entry(K.CONSENT_RESCINDED, 60, None, reason="rescind_consent", **account)

    assert "active" == settle(plan, withdrawn).status()
    story = settle(plan, later, withdrawn, app=acme(consent_rescinded="revoke"))
    assert {"1000": Access.REVOKED, "3000": Access.ACTIVE} == {k: p.access for k, p in story.purchases.items()}


def test_a_refund_that_failed_because_of_a_dispute_gives_nothing_back():
    """The bank has the case: until it is decided access stays away, known dispute or not."""
    failed = (bought(0), money(K.REFUND_PENDING, 60), money(K.REFUND_FAILED, 61, **DISPUTED))

    story = settle(*failed)
    assert ("suspended", "chargeback_opened=suspend") == (story.status(), story.only.rule)
    opened = (*failed, dispute(K.CHARGEBACK_OPENED, 62))
    assert "suspended" == settle(*opened).status()
    assert "active" == settle(*opened, dispute(K.CHARGEBACK_WON, 90)).status()
    assert "revoked" == settle(*opened, dispute(K.CHARGEBACK_LOST, 90)).status()


def test_a_refund_of_a_subscription_that_goes_on():
    """At Stripe refunding and canceling are two decisions: whether the first alone takes access is its own rule."""
    period = (bought(0, lineage=SUBSCRIPTION), money(K.REFUND_SUCCEEDED, 10))
    lenient = acme(refund_without_cancellation="keep")

    assert "refund_without_cancellation=revoke" == settle(*period).only.rule
    assert ("active", "refund_without_cancellation=keep") == (
        (story := settle(*period, app=lenient)).status(),
        story.only.rule,
    )
    canceled = entry(K.EXPIRED, 11, None, lineage=SUBSCRIPTION)
    assert ("revoked", "full_refund=revoke") == (
        (story := settle(*period, canceled, app=lenient)).status(),
        story.only.rule,
    )


def test_what_is_no_subscription_cannot_be_canceled():
    """A one-time purchase, and every store's own subscription, follow the rule of full refunds."""
    lenient = acme(refund_without_cancellation="keep")

    assert "revoked" == settle(bought(0), money(K.REFUND_SUCCEEDED, 10), app=lenient).status()
    apple: dict[str, Any] = {**APPLE, "lineage": ("original:2000000001",)}
    assert "revoked" == settle(bought(0, **apple), money(K.REFUND_SUCCEEDED, 10, **apple), app=lenient).status()


def test_a_request_takes_nothing():
    """Asked, declined, asked again, granted: only the last word takes access, and each is told."""
    asked = money(K.REFUND_REQUESTED, 60, None, reason="unintended_purchase", **APPLE)
    declined = money(K.REFUND_DECLINED, 61, None, **APPLE)
    again = money(K.REFUND_REQUESTED, 70, None, **APPLE)

    story = settle(bought(0, **APPLE), asked, declined)
    assert ("active", "canceled", "declined") == (
        story.status(),
        story.refunds["re_1"].status,
        story.refunds["re_1"].failed_reason,
    )
    assert ["refund.requested", "refund.declined"] == [e.type for e in story.events if e.data.refund]
    assert ["refund.requested"] == story.say(again)
    assert ["refund.succeeded", "entitlement.revoked"] == story.say(money(K.REFUND_SUCCEEDED, 75, **APPLE))


def test_the_product_of_a_cause_is_the_purchase_it_names():
    """A cause of one purchase says nothing against another that gives the same."""
    story = settle(bought(0, **APPLE), bought(5, product_id=ANNUAL), entry(K.MEMBER_REMOVED, 60, **APPLE))

    assert "active" == story.status()
