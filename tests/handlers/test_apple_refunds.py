"""How much of an App Store purchase went back: all of it, a share, some units, some seats, or some of its items."""

from typing import Any

import pytest
from appstoreserverlibrary.models.AdvancedCommerceRefundReason import AdvancedCommerceRefundReason
from appstoreserverlibrary.models.AdvancedCommerceRefundType import AdvancedCommerceRefundType
from appstoreserverlibrary.models.RevocationType import RevocationType
from hypothesis import given
from hypothesis import strategies as st

from schemas.entry import EntryKind, Subject
from schemas.meaning import Ignored, Quarantined
from tests.handlers import apple_chains as chains
from tests.handlers.apple_notes import (
    AT_MS,
    BOUGHT_MS,
    DAY_MS,
    EXPIRES_MS,
    ORIGINAL,
    TRANSACTION,
    WITHOUT_REVOCATION,
    bought,
    meaning,
    only,
    refunded,
    said,
)

pytestmark = pytest.mark.unit

K = EntryKind
THREE_PRORATED = {"quantity": 3, "revocationType": "REFUND_PRORATED"}


def test_a_refund_names_its_transaction_and_nothing_else():
    """The refund of one period is about that period: its lineage is named, and not meant."""
    refund = said("REFUND")

    assert K.REFUND_SUCCEEDED == refund.kind
    assert Subject(purchase_id=TRANSACTION, lineage=(f"original:{ORIGINAL}",)) == refund.subject
    assert not refund.subject.whole_lineage
    assert AT_MS == refund.occurred_at_ms
    assert "production" == refund.environment


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 17, None])
def test_an_old_period_is_refunded_whatever_the_subscription_does_now(status):
    """`status` is about the subscription today: it neither saves the refunded period nor ends another one."""
    data = chains.data(status=status)
    old = chains.transaction(expiresDate=AT_MS - 30 * DAY_MS)

    assert meaning("REFUND", old) == meaning("REFUND", old, data=data)


def test_a_refund_tells_of_its_purchase():
    """A purchase that nobody told us of becomes known by its refund."""
    facts = said("REFUND").facts

    assert ("com.acme.pro.annual", "subscription") == (facts.product_id, facts.kind)
    assert "7e3fb204-2ef5-4d5c-8f2a-6b1f3c7d9e10" == facts.user_id
    assert (4999, "usd", 1) == (facts.amount, facts.currency, facts.quantity)
    assert (BOUGHT_MS, EXPIRES_MS) == (facts.purchased_at_ms, facts.expires_at_ms)


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("Auto-Renewable Subscription", "subscription"),
        ("Non-Consumable", "non_consumable"),
        ("Consumable", "consumable"),
        ("Non-Renewing Subscription", "non_renewing"),
        ("Collectible", None),
    ],
)
def test_everything_that_is_sold_can_be_refunded(type_, kind):
    """All four types of product, and one that Apple has not invented yet."""
    refund = said("REFUND", type=type_, revocationType="REFUND_FULL")

    assert (K.REFUND_SUCCEEDED, kind) == (refund.kind, refund.facts.kind)
    assert refund.refund is not None
    assert ("full", 4999) == (refund.refund.scope, refund.refund.amount)


def test_a_refund_of_everything():
    """Before December 2025 Apple said no more than that there was a refund: all of it went back."""
    refund = refunded()

    assert ("full", 100_000, 1) == (refund.scope, refund.share_millis, refund.quantity)
    assert (4999, "estimated", "usd") == (refund.amount, refund.amount_source, refund.currency)
    assert TRANSACTION == refund.platform_refund_id
    assert ("app_issue", AT_MS) == (refund.reason, refund.created_at_ms)


@pytest.mark.parametrize(
    ("transaction", "scope", "share", "amount", "units"),
    [
        ({"revocationType": "REFUND_FULL"}, "full", 100_000, 4999, 1),
        ({"revocationType": "REFUND_FULL", "revocationPercentage": 100_000}, "full", 100_000, 4999, 1),
        ({"revocationType": "REFUND_PRORATED", "revocationPercentage": 26_027}, "prorated", 26_027, 1301, None),
        ({"revocationType": "REFUND_PRORATED", "revocationPercentage": 100_000}, "full", 100_000, 4999, 1),
        ({"revocationType": "REFUND_PRORATED"}, "prorated", None, None, None),
        ({"revocationPercentage": 50_000}, "partial", 50_000, 2500, None),
        ({"revocationPercentage": 0}, "partial", 0, 0, None),
        ({"quantity": 3, "revocationPercentage": 33_333}, "quantity", 33_333, 1666, 1),
        ({"quantity": 3, "revocationPercentage": 66_667}, "quantity", 66_667, 3333, 2),
        ({**THREE_PRORATED, "revocationPercentage": 33_333}, "quantity", 33_333, 1666, 1),
        ({**THREE_PRORATED, "revocationPercentage": 40_000}, "prorated", 40_000, 2000, None),
        ({"quantity": 3, "revocationPercentage": 40_000}, "partial", 40_000, 2000, None),
        ({"quantity": 3, "revocationPercentage": 100_000}, "full", 100_000, 4999, 3),
        ({"quantity": 3, "revocationType": "REFUND_FULL"}, "full", 100_000, 4999, 3),
        ({"quantity": 3}, "unknown", None, None, None),
        ({"quantity": None}, "full", 100_000, 4999, None),
        ({"quantity": 3, "multiSeatInfo": {}}, "full", 100_000, None, 3),
    ],
)  # fmt: skip
def test_how_much_went_back(transaction, scope, share, amount, units):
    """By type, percentage and quantity; units only where the share is that of whole units; amounts are estimates."""
    refund = refunded(**transaction)

    assert (scope, share, units) == (refund.scope, refund.share_millis, refund.quantity)
    assert amount == refund.amount
    assert ("unknown" if amount is None else "estimated") == refund.amount_source
    assert refund.seats is None


TIERS = [{"price": 9990, "quantity": 5}, {"price": 7990, "quantity": 3}]


@pytest.mark.parametrize(
    ("transaction", "amount", "currency"),
    [
        ({"price": 1_200_000, "currency": "JPY"}, 1200, "jpy"),
        ({"price": 3_490, "currency": "KWD"}, 3490, "kwd"),
        ({"price": 0}, 0, "usd"),
        ({"price": None}, None, "usd"),
        ({"currency": None}, None, None),
        ({"currency": "$"}, None, None),
        ({"price": None, "currency": None}, None, None),
        ({"multiSeatInfo": {"invitationManagement": "APPLE"}}, None, "usd"),
        ({"quantity": 8, "multiSeatInfo": {"priceTiers": TIERS}}, 7392, "usd"),
        ({"quantity": 9, "multiSeatInfo": {"priceTiers": TIERS}}, None, "usd"),
        ({"quantity": 8, "multiSeatInfo": {"priceTiers": "volume"}}, None, "usd"),
        ({"quantity": 99, "multiSeatInfo": {"priceTiers": [{"price": 10**14, "quantity": 99}]}}, None, "usd"),
    ],
)
def test_what_was_paid(transaction, amount, currency):
    """Milliunits become minor units; of seats the tiers tell the total and never the average; members pay nothing."""
    facts = said("REFUND", **transaction).facts

    assert (amount, currency) == (facts.amount, facts.currency)


@given(st.integers(0, 10**9), st.sampled_from(["USD", "JPY", "KWD", "CLF"]), st.integers(0, 100_000))
def test_no_refund_is_more_than_was_paid(price, currency, share):
    """Whatever the price, currency and share, the estimate is at most what was paid, in the same currency."""
    entry = said("REFUND", price=price, currency=currency, revocationPercentage=share)

    assert entry.refund is not None
    assert 0 <= (entry.refund.amount or 0) <= (entry.facts.amount or 0)
    assert entry.facts.currency == entry.refund.currency


def test_every_word_about_one_refund_names_the_same_refund():
    """Request, refusal, seats, a second partial refund and the reversal are about the refund of that transaction."""
    words = [
        bought("CONSUMPTION_REQUEST").refund,
        bought("REFUND_DECLINED").refund,
        bought("REFUND", "SEATS", multiSeatInfo={"revokedSeatQuantity": 1}).refund,
        refunded(revocationPercentage=40_000),
        refunded(),
        bought("REFUND_REVERSED").refund,
    ]

    assert {TRANSACTION} == {refund.platform_refund_id for refund in words if refund is not None}
    assert None not in words


@pytest.mark.parametrize(("code", "reason"), [(0, "other"), (1, "app_issue"), (7, None), (None, None)])
def test_why_it_was_refunded(code, reason):
    """In Apple's two reasons; a third one is no obstacle."""
    assert reason == refunded(revocationReason=code).reason


def test_a_reversal_undoes_the_refund_and_says_no_more_of_it():
    """REFUND_REVERSED names the refund; what it had been of stays as it was said."""
    entry = bought("REFUND_REVERSED")

    assert K.REFUND_REVERSED == entry.kind
    assert entry.refund is not None
    assert {"platform_refund_id"} == entry.refund.model_fields_set


@pytest.mark.parametrize("reason", ["UNINTENDED_PURCHASE", "FULFILLMENT_ISSUE", "LEGAL", "BUYERS_REMORSE"])
def test_a_customer_asks_for_the_money(reason):
    """CONSUMPTION_REQUEST opens a request with the customer's reason, and takes nothing."""
    data = chains.data(consumptionRequestReason=reason)
    answer = meaning("CONSUMPTION_REQUEST", chains.transaction(**WITHOUT_REVOCATION), data=data)
    entry = only(answer)

    assert entry.refund is not None
    assert (K.REFUND_REQUESTED, reason.lower()) == (entry.kind, entry.reason)
    assert (TRANSACTION, reason.lower()) == (entry.refund.platform_refund_id, entry.refund.reason)
    assert ("unknown", None, "unknown") == (entry.refund.scope, entry.refund.amount, entry.refund.amount_source)


@pytest.mark.parametrize("data", [chains.data(), None])
def test_a_customer_may_ask_without_a_reason(data):
    """The reason is optional, and so is whatever carries it."""
    answer = meaning("CONSUMPTION_REQUEST", chains.transaction(**WITHOUT_REVOCATION), data=data)
    entry = only(answer)

    assert (K.REFUND_REQUESTED, None) == (entry.kind, entry.reason)


def test_apple_declines():
    """REFUND_DECLINED closes the request, and takes nothing."""
    entry = bought("REFUND_DECLINED")

    assert K.REFUND_DECLINED == entry.kind
    assert entry.refund is not None
    assert {"platform_refund_id"} == entry.refund.model_fields_set


@pytest.mark.parametrize("type_", ["CONSUMPTION_REQUEST", "REFUND_DECLINED", "REFUND", "REFUND_REVERSED"])
def test_a_refund_of_nothing_waits_for_a_person(type_):
    """Without the transaction nobody knows what is asked for, declined, refunded or reversed."""
    assert Quarantined("unexpected_shape", "signedTransactionInfo: missing") == meaning(type_, None)


# --- Seats


def test_some_seats_of_many():
    """A refund of seats counts the seats, and gives no date on which the transaction was revoked."""
    entry = bought("REFUND", "SEATS", quantity=8, multiSeatInfo={"revokedSeatQuantity": 2, "priceTiers": TIERS})

    assert (K.REFUND_SUCCEEDED, TRANSACTION) == (entry.kind, entry.subject.purchase_id)
    assert entry.refund is not None
    assert (2, "quantity", None) == (entry.refund.seats, entry.refund.scope, entry.refund.quantity)
    assert (None, "unknown", None) == (entry.refund.amount, entry.refund.amount_source, entry.refund.created_at_ms)
    assert (7392, 8) == (entry.facts.amount, entry.facts.quantity)


def test_a_share_of_the_seats_is_an_estimate():
    """Where Apple tells the share that went back with the seats, it gives an amount, still estimated."""
    seats = {"revokedSeatQuantity": 2, "priceTiers": TIERS}
    refund = bought("REFUND", "SEATS", quantity=8, multiSeatInfo=seats, revocationPercentage=25_000).refund

    assert refund is not None
    assert (1848, "estimated") == (refund.amount, refund.amount_source)


@pytest.mark.parametrize(
    ("transaction", "reason", "detail"),
    [
        ({"multiSeatInfo": {"revokedSeatQuantity": 2}, "revocationDate": AT_MS}, "seats_refunded_yet_revoked", ""),
        ({"multiSeatInfo": {"invitationManagement": "APPLE"}}, "refund_without_seats", ""),
        ({"multiSeatInfo": {"revokedSeatQuantity": 0}}, "refund_without_seats", ""),
        ({}, "unexpected_shape", "multiSeatInfo: missing"),
        ({"multiSeatInfo": {"revokedSeatQuantity": "2"}}, "unexpected_shape", "revokedSeatQuantity: int_type"),
    ],
)
def test_seats_that_cannot_be_counted_wait_for_a_person(transaction, reason, detail):
    """Without a number of seats, or with a revocation beside it, a refund of seats takes nothing from anybody."""
    answer = meaning("REFUND", chains.transaction(**{**WITHOUT_REVOCATION, **transaction}), subtype="SEATS")

    assert isinstance(answer, Quarantined)
    assert reason == answer.reason
    assert detail in answer.detail


# --- Items (Advanced Commerce API)


def item(*refunds: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Describe one of the things that a transaction sold, with its refunds."""
    return {"SKU": "cafe.monthly", "price": 24_990, "refunds": list(refunds), **more}


def back(amount: Any = 10_000, type_: str | None = "FULL", **more: Any) -> dict[str, Any]:
    """Describe one refund of an item."""
    said_ = {"refundAmount": amount, "refundDate": AT_MS, "refundReason": "LEGAL", "refundType": type_, **more}
    return {name: value for name, value in said_.items() if value is not None}


def sold(*items: Any, **more: Any) -> dict[str, Any]:
    """Describe a transaction of several items."""
    return {"advancedCommerceInfo": {"items": list(items)}, **more}


NOT_REVOKED = WITHOUT_REVOCATION


@pytest.mark.parametrize(
    ("transaction", "scope", "amount"),
    [
        (sold(item(back(49_990))), "full", 4999),
        (sold(item(back(20_000)), item(back(29_990))), "full", 4999),
        (sold(item(back(20_000)), item(back(1_000, "CUSTOM"))), "unknown", 2100),
        (sold(item(back(12_345, "PRORATED"))), "prorated", 1235),
        (sold(item(back(24_990)), item(), **NOT_REVOKED), "partial", 2499),
        (sold(item(back(24_990), revocationDate=AT_MS), item(), **NOT_REVOKED), "partial", 2499),
        (sold(item(back(24_990), revocationDate=AT_MS), **NOT_REVOKED), "full", 2499),
        (sold(item(back(5_000, "CUSTOM"), back(5_000, "CUSTOM")), **NOT_REVOKED), "partial", 1000),
        (sold(item(back(49_990)), price=None), "full", 4999),
        (sold(item(back(20_000), back(9_990, "PRORATED", refundReason="MODIFY_ITEMS_REFUND"))), "full", 2000),
    ],
)
def test_refunds_of_items_add_up(transaction, scope, amount):
    """Amounts of items are exact, and their sum is; some items of several are a part, and a changed plan is none."""
    refund = refunded(**transaction)

    assert (scope, amount, "exact", "usd") == (refund.scope, refund.amount, refund.amount_source, refund.currency)
    assert (TRANSACTION, None) == (refund.platform_refund_id, refund.seats)


def test_when_and_why_an_item_was_refunded():
    """The newest refund of an item tells, where the transaction does not."""
    older = back(1_000, refundDate=AT_MS - DAY_MS, refundReason="OTHER")
    refund = refunded(**sold(item(back(1_000), older), **NOT_REVOKED))
    silent = refunded(**sold(item(back(1_000, refundReason=None, refundDate=None))))

    assert ("legal", AT_MS) == (refund.reason, refund.created_at_ms)
    assert ("app_issue", AT_MS) == (silent.reason, silent.created_at_ms)


def test_a_share_of_items_is_an_estimate():
    """Where an item's amount is missing, the share of the transaction gives an estimate."""
    refund = refunded(**sold(item(back(None)), revocationPercentage=50_000))

    assert (2500, "estimated", 50_000) == (refund.amount, refund.amount_source, refund.share_millis)


@pytest.mark.parametrize(
    ("transaction", "reason", "detail"),
    [
        ({"advancedCommerceInfo": {}}, "advanced_commerce_refund", ""),
        (sold(), "advanced_commerce_refund", ""),
        (sold(item(back(None)), item(back())), "advanced_commerce_refund", ""),
        (sold(item(back(None)), revocationPercentage=1, **NOT_REVOKED), "advanced_commerce_refund", ""),
        (sold(item(back()), currency=None), "advanced_commerce_refund", ""),
        (sold(item(*(back(10**15 - 1) for _ in range(2)))), "advanced_commerce_refund", ""),
        (sold(item(back(60_000))), "money_contradicts", "6000 of 4999 usd"),
        (sold(item(back(30_000)), item(back(20_000))), "money_contradicts", "5000 of 4999 usd"),
        (sold(item(back(1_000, "GOODWILL"))), "unknown_refund_type", "GOODWILL"),
        (sold(item(back(1_000, None))), "unknown_refund_type", ""),
        (sold(item(back("10.00"))), "unexpected_shape", "advancedCommerceInfo.items.0.refunds.0.refundAmount"),
        (sold(item(back()), revocationType="FAMILY_REVOKE"), "unknown_revocation_type", "FAMILY_REVOKE"),
    ],
)
def test_items_that_do_not_add_up_wait_for_a_person(transaction, reason, detail):
    """A sum that is not sure, or more than was paid, takes nothing; both numbers are kept."""
    answer = meaning("REFUND", chains.transaction(**transaction))

    assert isinstance(answer, Quarantined)
    assert reason == answer.reason
    assert detail in answer.detail


def test_changed_items_are_no_refund():
    """What goes back because the customer changed the items of a plan is a settlement, as with an upgrade."""
    changed = back(12_000, "PRORATED", refundReason="MODIFY_ITEMS_REFUND")

    assert Ignored("items_modified") == meaning("REFUND", chains.transaction(**sold(item(changed))))


def test_every_kind_of_refund_of_apples_library_is_known():
    """A newer library that knows more kinds of revocation or refund fails this test."""
    assert {"REFUND_FULL", "REFUND_PRORATED", "FAMILY_REVOKE"} == {type_.value for type_ in RevocationType}
    assert {"FULL", "PRORATED", "CUSTOM"} == {type_.value for type_ in AdvancedCommerceRefundType}
    assert "MODIFY_ITEMS_REFUND" in {reason.value for reason in AdvancedCommerceRefundReason}


@given(st.lists(st.lists(st.integers(0, 10**7), max_size=3), max_size=3), st.sampled_from(["USD", "JPY", "KWD"]))
def test_no_item_gives_back_more_than_was_paid(amounts, currency):
    """Whatever items were refunded, the exact sum is at most the price, or a person looks at both numbers."""
    items = [item(*(back(amount) for amount in of_item)) for of_item in amounts]
    answer = meaning("REFUND", chains.transaction(**sold(*items, currency=currency)))

    if isinstance(answer, Quarantined):
        assert answer.reason in {"money_contradicts", "advanced_commerce_refund"}
        return
    entry = only(answer)
    assert entry.refund is not None
    assert 0 <= (entry.refund.amount or 0) <= (entry.facts.amount or 0)
