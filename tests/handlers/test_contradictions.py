"""Money that contradicts the platform's own price: kept, shown with both numbers, and without effect."""

from typing import Any

from handlers.decide import decide
from schemas.book import Book
from schemas.entry import EntryKind
from tests.handlers.entries import NOW_MS, PRICE, acme, bought, dispute, money, settle, told

K = EntryKind
SURE: dict[str, Any] = {"amount_source": "exact"}


def test_more_refunded_than_paid():
    """A refund of more than was paid is no refund that anyone understands: nobody loses access, nobody is told."""
    story = settle(bought(0), money(K.REFUND_SUCCEEDED, 60, PRICE + 1, **SURE))

    assert ("active", f"{PRICE + 1} of {PRICE} usd") == (story.status(), story.refunds["re_1"].contradiction)
    assert ["entitlement.granted"] == [event.type for event in story.events]
    assert 0 == story.only.amount_refunded


def test_another_currency():
    """Euros cannot go back of dollars."""
    story = settle(bought(0), money(K.REFUND_SUCCEEDED, 60, PRICE, currency="eur", **SURE))

    assert ("active", f"{PRICE} eur of {PRICE} usd") == (story.status(), story.refunds["re_1"].contradiction)


def test_of_several_those_count_that_came_first():
    """A third half of the price is one too many, in whatever order the three become known."""
    half = PRICE // 2
    halves = [money(K.REFUND_SUCCEEDED, 60 + n, half, f"re_{n}", **SURE) for n in range(3)]

    story = settle(bought(0), *halves)
    assert [None, None, f"{half * 3} of {PRICE} usd"] == [
        refund.contradiction for _, refund in sorted(story.refunds.items())
    ]
    assert ("revoked", PRICE) == (story.status(), story.only.amount_refunded)


def test_a_failed_refund_is_none():
    """What came back to us counts no more: the next refund of the whole price is right."""
    first = (money(K.REFUND_SUCCEEDED, 60, PRICE, **SURE), money(K.REFUND_FAILED, 61, PRICE, **SURE))
    story = settle(bought(0), *first, money(K.REFUND_SUCCEEDED, 70, PRICE, "re_2", **SURE))

    assert ("revoked", [None, None]) == (story.status(), [r.contradiction for r in story.refunds.values()])


def test_the_app_is_no_witness_against_the_platform():
    """The app told a price without tax: the refund is larger, and as true as before."""
    story = settle(told(0, amount=8000, currency="usd"), money(K.REFUND_SUCCEEDED, 60, PRICE, **SURE))

    assert ("revoked", None) == (story.status(), story.refunds["re_1"].contradiction)


def test_an_estimate_contradicts_nothing():
    """Sums that we made ourselves are no evidence."""
    story = settle(bought(0), money(K.REFUND_SUCCEEDED, 60, PRICE + 1, amount_source="estimated"))

    assert ("revoked", None) == (story.status(), story.refunds["re_1"].contradiction)


def test_banks_count_by_their_own_rate():
    """A chargeback in the bank's currency is not held against the price."""
    story = settle(bought(0), dispute(K.CHARGEBACK_LOST, 60, amount=PRICE + 500, **SURE))

    assert ("revoked", None) == (story.status(), story.refunds["dp_1"].contradiction)


def test_it_heals_when_the_price_becomes_known():
    """Two captures make one price: once the higher one is known, the refund is believed, and told."""
    story = settle(bought(0, amount=500), money(K.REFUND_SUCCEEDED, 60, 900, **SURE))
    assert "active" == story.status()

    assert ["refund.succeeded", "entitlement.revoked"] == story.say(bought(0, amount=900, said=1))


def test_the_one_who_hears_it_is_told_both_numbers():
    """Whichever notification completes the contradiction is answered with it, once."""
    price, refund = bought(0), money(K.REFUND_SUCCEEDED, 60, PRICE + 1, **SURE)
    app = acme()
    for first, second in ((price, refund), (refund, price)):
        begun = decide(Book(), [first], app=app, now_ms=NOW_MS)
        done = decide(begun.book, [second], app=app, now_ms=NOW_MS)
        again = decide(done.book, [second], app=app, now_ms=NOW_MS)

        assert ((), (f"{PRICE + 1} of {PRICE} usd",), ()) == (
            begun.contradictions,
            done.contradictions,
            again.contradictions,
        )


def test_a_full_void_is_believed_whatever_its_sums():
    """Google voids the whole order after a part of it: that all went back is its word, and no sum of it undoes that."""
    # A later look-up told sums that did not add up, and gave access back to a customer with the money.
    part = money(K.REFUND_SUCCEEDED, 50, 5000, type="void", scope="quantity", quantity=1, **SURE)
    void = money(K.REFUND_SUCCEEDED, 60, PRICE - 500, "GPA.1", type="void", scope="full", **SURE)

    story = settle(bought(0, quantity=2), part, void)
    assert ("revoked", None, None) == (
        story.status(),
        story.refunds["GPA.1"].contradiction,
        story.refunds["GPA.1"].amount,
    )
