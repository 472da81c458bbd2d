"""Stories of whose a purchase is, how long it lasts, and what its neighbors are: renewals, platforms, people.

Real: placing, folding and deciding. Double: nothing. Asserted: what the API would show, after every order of arrival
of the same notifications (`settle`), and the events where their order is the story.
"""

from typing import Any

from schemas.base import Access
from schemas.entry import Entry, EntryKind
from tests.handlers.entries import (
    ANN,
    ANNUAL,
    APPLE,
    BOB,
    BUNDLE,
    GOOGLE,
    MONTHLY,
    SUBSCRIPTION,
    Story,
    bought,
    day,
    entry,
    money,
    settle,
    told,
)

K = EntryKind


def month(number: int, purchase: str, **said: Any) -> Entry:
    """Ann pays a month of her subscription."""
    begins = 30 * number
    paid: dict[str, Any] = {
        "product_id": MONTHLY,
        "amount": 900,
        "lineage": SUBSCRIPTION,
        "expires_at_ms": day(begins + 30),
    }
    return bought(begins, purchase, **(paid | said))


def test_the_refund_of_an_old_period_leaves_this_month():
    """January is refunded at the end of the year: January is revoked, the month that runs gives access as before."""
    story = settle(
        month(0, "ch_january"),
        month(1, "ch_february"),
        month(12, "ch_this_month"),
        money(K.REFUND_SUCCEEDED, 340, 900, purchase="ch_january"),
    )

    accesses = {name: purchase.access for name, purchase in story.purchases.items()}
    assert {"ch_january": Access.REVOKED, "ch_february": Access.ACTIVE, "ch_this_month": Access.ACTIVE} == accesses
    assert "active" == story.status()
    assert "entitlement.revoked" not in [event.type for event in story.events]


def test_a_late_renewal_does_not_give_a_refunded_period_back():
    """The word "renewed" that arrives after the refund of that very period gives nothing back."""
    renewed = entry(K.RENEWED, 30, "ch_february", product_id=MONTHLY, user_id=ANN, lineage=SUBSCRIPTION)
    refunded = money(K.REFUND_SUCCEEDED, 31, None, purchase="ch_february", lineage=SUBSCRIPTION, scope="full")
    late = entry(K.RENEWED, 40, "ch_february", lineage=SUBSCRIPTION)

    assert "revoked" == settle(renewed, refunded, late).status()


def test_a_whole_subscription_is_revoked():
    """Google takes a subscription back: every period until then ends, what is bought afterwards does not."""
    periods = [
        bought(begins, order, product_id=MONTHLY, **GOOGLE) for begins, order in ((0, "GPA.1"), (30, "GPA.1..0"))
    ]
    taken = entry(K.REVOKED, 45, None, **GOOGLE)
    later = bought(200, "GPA.2", product_id=MONTHLY, expires_at_ms=day(400), **GOOGLE)

    assert {Access.REVOKED} == {p.access for p in settle(*periods, taken).purchases.values()}
    story = settle(*periods, taken, later)
    assert ("active", Access.ACTIVE) == (story.status(), story.purchases["GPA.2"].access)
    assert Access.REVOKED is story.purchases["GPA.1..0"].access


def test_bought_on_two_platforms():
    """Ann pays on Apple and on Stripe: losing one leaves her the other, losing both leaves her nothing."""
    both = (bought(0), bought(10, **APPLE), money(K.REFUND_SUCCEEDED, 60))

    assert "active" == settle(*both).status()
    assert "revoked" == settle(*both, money(K.REFUND_SUCCEEDED, 70, name="2000000123", **APPLE)).status()


def test_the_user_is_learned_later():
    """Nobody knew whose it was; once the app says so, she has it."""
    story = Story()

    assert [] == story.say(bought(0, user_id=None))
    assert ["entitlement.granted"] == story.say(told(0))
    assert "active" == settle(bought(0, user_id=None), told(0)).status()


def test_a_guessed_user_gives_way():
    """A Stripe customer was a guess: it ends there and begins with the user whom the app names."""
    story = Story()
    story.say(bought(0, user_id="cus_1", user_authority="guess"))

    assert ["entitlement.granted", "entitlement.revoked"] == story.say(told(0, user_id=ANN))
    left = story.entitlement("cus_1")
    assert left is not None
    assert (False, "reassigned", ()) == (left.active, left.reason, left.purchases)
    assert "active" == story.status(ANN)
    assert [] == story.say(told(1, user_id=ANN))


def test_a_purchase_moves_to_another_user():
    """The platform's latest word on the user wins: one loses what the other gains, each by an event of their own."""
    story = Story()
    story.say(bought(0), bought(5, "ch_other", product_id=BUNDLE, user_id=ANN))

    moved = entry(K.RENEWED, 6, "ch_other", user_id=BOB)
    assert ["entitlement.revoked", "entitlement.granted", "entitlement.granted"] == story.say(moved)
    assert {
        ("ann", "offline"): "revoked",
        ("ann", "pro"): "active",
        ("bob", "offline"): "active",
        ("bob", "pro"): "active",
    } == {(held.holder.user_id, held.key): e.status for held, e in story.book.entitlements.items()}


def test_a_date_passed_and_then_moved():
    """Our clock passed the date; when a later one becomes known, the lapse is void and access is back."""
    lapsed = entry(K.LAPSED, 30, expires_at_ms=day(30))
    first = bought(0, expires_at_ms=day(30))

    ended = settle(first, lapsed)
    assert ("expired", "lapsed") == (ended.status(), ended.only.rule)
    story = settle(first, lapsed, entry(K.RENEWED, 29, expires_at_ms=day(400)))
    assert ("active", day(400) // 1000) == (story.status(), story.only.expires_at)


def test_a_notification_that_was_signed_after_the_date_it_tells():
    """Bought until day 30, told on day 35: once the date has lapsed it is over, although "bought" is the later word."""
    # Such a purchase stayed active in the ledger: the sweeper found it in every round, and 500 of them would have kept
    # it from everything else that ran out.
    story = settle(
        bought(35, purchased_at_ms=day(0), expires_at_ms=day(30)), entry(K.LAPSED, 30, expires_at_ms=day(30))
    )

    assert (Access.EXPIRED, "lapsed") == (story.only.access, story.only.rule)


def test_a_renewal_without_a_date_outdates_the_told_expiry():
    """Google says "renewed" and no date: the date that the app told once counts no more, and no lapse of it."""
    first = told(0, "GPA.1", product_id=MONTHLY, purchased_at_ms=day(0), expires_at_ms=day(30), **GOOGLE)
    renewed = entry(K.RENEWED, 29.9, None, **GOOGLE)

    story = settle(first, renewed, entry(K.LAPSED, 30, "GPA.1", expires_at_ms=day(30), **GOOGLE))
    assert ("active", None) == (story.status(), story.only.expires_at)


def test_the_date_of_a_first_period_is_not_that_of_a_later_one():
    """What Google says of a token when it is bought ends the period of that day, and not one that was bought since."""
    token = entry(K.PURCHASED, 0, None, product_id=MONTHLY, expires_at_ms=day(30), **GOOGLE)
    first = told(0, "GPA.1", product_id=MONTHLY, purchased_at_ms=day(0), **GOOGLE)
    second = told(30, "GPA.1..0", product_id=MONTHLY, purchased_at_ms=day(30), expires_at_ms=day(400), **GOOGLE)

    story = settle(token, first, second)
    assert {"GPA.1": day(30) // 1000, "GPA.1..0": day(400) // 1000} == {
        name: p.expires_at for name, p in story.purchases.items()
    }


def test_sandbox_and_production_never_mix():
    """The same ids in a test and in earnest are two purchases of two holders; their events share one number line."""
    story = settle(bought(0), bought(0, environment="sandbox"), money(K.REFUND_SUCCEEDED, 60, environment="sandbox"))

    assert ("active", "revoked") == (story.status(), story.status(environment="sandbox"))
    assert 2 == len(story.book.lineages)
    assert [1, 2, 3, 4] == [event.sequence for event in story.events]
    assert {"production", "sandbox"} == {event.environment for event in story.events}


def test_google_learns_that_it_was_a_test():
    """Google's notifications do not say so: once somebody does, the purchase leaves production."""
    story = Story()
    story.say(bought(0, "GPA.1", environment=None, **GOOGLE))
    assert "active" == story.status()

    story.say(told(0, "GPA.1", environment="sandbox", **GOOGLE))
    assert ("revoked", "active") == (story.status(), story.status(environment="sandbox"))
    assert {"production": "entitlement.revoked", "sandbox": "entitlement.granted"} == {
        event.environment: event.type for event in story.events[1:]
    }


def test_the_platform_ends_it():
    """The platform's "expired" ends access with its own reason, and outlives our clock's lapse of the same date."""
    ended = entry(K.EXPIRED, 30, reason="voluntary")
    story = settle(bought(0, expires_at_ms=day(30)), ended, entry(K.LAPSED, 30, expires_at_ms=day(30)))

    assert ("expired", "platform_expired", "voluntary") == (story.status(), story.only.rule, story.only.access_reason)
    assert "active" == settle(bought(0), ended, entry(K.RENEWED, 31)).status()


def test_a_renewal_of_a_lineage_in_which_nothing_was_bought_yet():
    """A renewal before the first period that is known concerns none of them."""
    late = bought(60, "GPA.1", **GOOGLE, expires_at_ms=day(400))
    early = entry(K.RENEWED, 30, None, **GOOGLE)

    assert day(400) // 1000 == settle(late, early).only.expires_at


def test_a_product_that_is_not_configured():
    """What gives no entitlement has records and refund events, and changes nobody's access."""
    story = settle(bought(0, product_id="acme.unknown"), money(K.REFUND_SUCCEEDED, 60))

    assert ["refund.succeeded"] == [event.type for event in story.events]
    assert (Access.REVOKED, ()) == (story.only.access, story.only.entitlements)
    assert {} == story.book.entitlements


def test_one_charge_known_by_three_names():
    """Charge, payment intent and invoice arrive apart; whatever ties them together, they are one purchase."""
    charge = bought(0, "ch_annual", aliases=["payment_intent:pi_1"], product_id=None, user_id=None)
    invoice = bought(0, None, aliases=["invoice:in_1"], lineage=SUBSCRIPTION)
    tie = entry(K.LINKED, 0, None, aliases=["invoice:in_1", "payment_intent:pi_1"])

    story = settle(charge, invoice, tie, money(K.REFUND_SUCCEEDED, 60))
    assert ("ch_annual", "sub_1", ANNUAL) == (
        story.only.purchase_id,
        story.only.original_purchase_id,
        story.only.product_id,
    )
    assert ("invoice:in_1", "payment_intent:pi_1") == story.only.aliases
    assert ("revoked", 1) == (story.status(), len(story.book.lineages))
