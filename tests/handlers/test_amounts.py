"""Sums that a platform leaves open: what may be inferred from the price, and what may not.

Real: placing, folding and deciding. Double: nothing. Asserted: after every order of arrival, the refund and its
purchase as the API would show them.
"""

from schemas.base import Access
from schemas.entry import EntryKind
from tests.handlers.entries import PRICE, bought, money, settle, told

K = EntryKind


def test_a_full_refund_without_a_sum_is_worth_the_price():
    """A void names no sum: its refund shows the price, marked as an estimate, and the purchase shows it as gone."""
    story = settle(bought(), money(K.REFUND_SUCCEEDED, 3, None, scope="full", type="void"))
    refund = story.refunds["re_1"]

    assert (PRICE, "usd", "estimated") == (refund.amount, refund.currency, refund.amount_source)
    assert PRICE == story.only.amount_refunded


def test_a_sum_that_was_named_is_never_replaced():
    """A full refund that names its sum keeps it, also where it is not the price."""
    story = settle(bought(), money(K.REFUND_SUCCEEDED, 3, PRICE - 1, scope="full", amount_source="exact"))

    assert (PRICE - 1, "exact") == (story.refunds["re_1"].amount, story.refunds["re_1"].amount_source)


def test_without_a_price_there_is_no_estimate():
    """Where nobody said what was paid, a void's amount stays unknown."""
    story = settle(told(), money(K.REFUND_SUCCEEDED, 3, None, scope="full"))

    assert (None, "unknown") == (story.refunds["re_1"].amount, story.refunds["re_1"].amount_source)


def test_a_price_without_a_currency_is_in_the_only_one_there_is():
    """An app that tells a price and no currency means the one the refund is in: a third of it is a part."""
    story = settle(told(amount=900), money(K.REFUND_SUCCEEDED, 3, 300, amount_source="exact"))

    assert (Access.ACTIVE, 300, "partial") == (
        story.only.access,
        story.only.amount_refunded,
        story.refunds["re_1"].scope,
    )


def test_two_currencies_are_never_added():
    """Refunds in two currencies make no sum, even where nobody named the price's: what cannot be compared is full."""
    story = settle(
        told(amount=900),
        money(K.REFUND_SUCCEEDED, 3, 300, "re_1"),
        money(K.REFUND_SUCCEEDED, 4, 300, "re_2", currency="eur"),
    )

    assert (Access.REVOKED, 0) == (story.only.access, story.only.amount_refunded)
