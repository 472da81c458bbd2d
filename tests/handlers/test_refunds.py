"""One refund at a time: its states, and what several of them weigh."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.clusters import in_platform_order
from handlers.refunds import REFUSED, STATES, TRANSITIONS, estimate, follow, scope_of, unnamed, weigh
from schemas.entry import Entry, EntryKind, PurchaseFacts, RefundFacts
from tests.handlers.entries import PRICE, bought, day, dispute, entry, money, total

K = EntryKind
PAID = PurchaseFacts(amount=PRICE, currency="usd", quantity=3)


def weight(*refunds: Entry, paid: PurchaseFacts = PAID, percent: int = 100) -> str:
    """Weigh refunds that all succeeded."""
    return weigh(follow(refunds), paid, full_from_percent=percent)


def test_a_refund_is_followed_through_its_life():
    """Requested, on its way, done, sent back: each word moves it on, and keeps what earlier ones said."""
    (refund,) = follow(
        [
            money(K.REFUND_REQUIRES_ACTION, 60, reason="requested_by_customer"),
            money(K.REFUND_PENDING, 61),
            money(K.REFUND_SUCCEEDED, 62, reference="74285"),
            money(K.REFUND_FAILED, 70, None, failed_reason="expired_or_canceled_card"),
        ]
    )

    assert ("failed", PRICE, "usd") == (refund.state, refund.facts.amount, refund.facts.currency)
    assert ("requested_by_customer", "74285") == (refund.facts.reason, refund.facts.reference)
    assert (day(60), day(70), day(70)) == (refund.created_at_ms, refund.updated_at_ms, refund.returned_at_ms)


def test_a_refund_was_created_when_its_platform_says_so():
    """The platform's date of creation counts, or the first word of it, whichever is earlier."""
    (told,) = follow([money(K.REFUND_SUCCEEDED, 60, created_at_ms=day(59)), money(K.REFUND_FAILED, 70)])

    assert day(59) == told.created_at_ms


@pytest.mark.parametrize(("state", "kind"), REFUSED)
def test_a_refused_word_changes_nothing(state, kind):
    """What contradicts an earlier word of the platform is refused by name, whole."""
    ways: dict[str, EntryKind] = {str(to): by for (before, by), to in TRANSITIONS.items() if before is None}
    reached = money(ways[state], 60)
    late = money(kind, 70, 1, reason="late")

    assert follow([reached]) == follow([reached, late])


def test_every_state_can_be_reached():
    """No state stands in the table for nothing."""
    assert {state for state in STATES if state} == set(TRANSITIONS.values())


def test_what_speaks_of_no_refund_is_passed_over():
    """Purchases, ends and sums are no steps of a refund."""
    assert () == follow([bought(0), entry(K.EXPIRED, 30), total(60, 100)])


def test_a_refund_that_failed_before_explains_nothing_of_a_later_total():
    """Two thousand failed, then all of it went back: the later total is everything, and no part of it is explained."""
    # Left in, the failed refund made the rest of the total a partial one, and a paid-back customer kept access.
    failed = follow([money(K.REFUND_SUCCEEDED, 60, 2000), money(K.REFUND_FAILED, 61, 2000)])
    whole, before = total(62, PRICE, full=True), total(60, 2000)

    (rest,) = unnamed([before, whole], failed, {})
    assert (PRICE, "full") == (rest.facts.amount, rest.facts.scope)
    assert () == unnamed([before], failed, {})


def test_a_later_word_on_a_failed_refund_does_not_make_it_fail_later():
    """It failed, all of it went back by another, then somebody edited the failed one: the total still stands."""
    # The edit moved the time of the failure behind the total, and the refunded customer had access again.
    words = [money(K.REFUND_SUCCEEDED, 60, 2000), money(K.REFUND_FAILED, 61, 2000), money(K.REFUND_FAILED, 90, 2000)]

    (failed,) = follow(words)
    assert (day(61), day(90)) == (failed.returned_at_ms, failed.updated_at_ms)
    assert PRICE == unnamed([total(62, PRICE, full=True)], [failed], {})[0].facts.amount


def test_each_payment_of_a_purchase_has_its_total():
    """Two payments made one price; both went back, told by sums alone: neither total takes the other's place."""
    both = [total(60, 3000, full=True), money(K.REFUNDED_TOTAL, 61, 4000, "ch_2:total", scope="full")]

    assert [(3000, "partial"), (4000, "partial")] == [
        (rest.facts.amount, rest.facts.scope) for rest in unnamed(both, [], {"usd": 7000})
    ]
    explained = follow([money(K.REFUND_SUCCEEDED, 59, 3500)])
    assert [(3500, "partial")] == [(rest.facts.amount, rest.facts.scope) for rest in unnamed(both, explained, {})]


def test_a_newer_word_may_be_silent_about_scope():
    """The word "unknown" is no answer: what was said before of scope and amount stands."""
    (refund,) = follow(
        [
            money(K.REFUND_SUCCEEDED, 60, scope="partial", amount_source="exact"),
            money(K.REFUND_REVERSED, 70, None),
        ]
    )

    assert ("reversed", "partial", "exact", PRICE) == (
        refund.state,
        refund.facts.scope,
        refund.facts.amount_source,
        refund.facts.amount,
    )


def test_weight_by_amount():
    """Amounts of one currency are added and compared with what was paid."""
    assert "none" == weight()
    assert "partial" == weight(money(K.REFUND_SUCCEEDED, 60, PRICE - 1))
    assert "full" == weight(money(K.REFUND_SUCCEEDED, 60, PRICE))
    assert "full" == weight(money(K.REFUND_SUCCEEDED, 60, 8910), percent=90)
    assert "full" == weight(money(K.REFUND_SUCCEEDED, 60, 1, scope="full"))


def test_weight_by_share_then_by_units():
    """Where amounts say nothing, shares do, and then units."""

    def of_share(share: int, name: str = "re_1") -> Entry:
        return money(K.REFUND_SUCCEEDED, 60, None, name, share_millis=share)

    def of_units(units: int) -> Entry:
        return money(K.REFUND_SUCCEEDED, 60, None, quantity=units)

    assert ("partial", "full") == (weight(of_share(60_000)), weight(of_share(60_000), of_share(40_000, "re_2")))
    assert ("partial", "full") == (weight(of_units(2)), weight(of_units(3)))


def test_weight_of_what_cannot_be_compared():
    """Nothing to compare: everything, unless the platform called each of them a part."""
    free = PurchaseFacts(amount=0, currency="usd")

    assert "full" == weight(money(K.REFUND_SUCCEEDED, 60, None))
    assert "partial" == weight(money(K.REFUND_SUCCEEDED, 60, None, scope="partial"))
    assert "full" == weight(money(K.REFUND_SUCCEEDED, 60, 100, currency="eur"))
    assert "full" == weight(money(K.REFUND_SUCCEEDED, 60, 0), paid=free)


@pytest.mark.parametrize(
    ("refund", "paid", "scope"),
    [
        (RefundFacts(platform_refund_id="r", amount=PRICE, currency="usd"), PAID, "full"),
        (RefundFacts(platform_refund_id="r", amount=PRICE - 1, currency="usd"), PAID, "partial"),
        (RefundFacts(platform_refund_id="r", amount=PRICE, currency="eur"), PAID, "unknown"),
        (RefundFacts(platform_refund_id="r", amount=PRICE, currency="usd"), PurchaseFacts(), "unknown"),
        (RefundFacts(platform_refund_id="r", currency="usd"), PAID, "unknown"),
        (RefundFacts(platform_refund_id="r", amount=1, currency="usd", scope="full"), PAID, "full"),
    ],
)
def test_the_scope_is_named_where_amounts_allow_it(refund, paid, scope):
    """The platform's own word stands; else the amounts decide, and where they cannot, nobody guesses."""
    assert scope == scope_of(refund, paid)


def test_no_sum_no_rest():
    """Nothing is invented: no sum, a sum without an amount, or one that names explain leaves nothing."""
    named = follow([money(K.REFUND_SUCCEEDED, 60, 3000)])

    assert () == unnamed([bought(0)], named, {})
    assert () == unnamed([total(60, None, full=True)], named, {})
    assert () == unnamed([total(60, 3000)], named, {})


def test_a_chargeback_explains_no_sum():
    """`charge.refunded` counts refunds; what a bank took is not in it."""
    (rest,) = unnamed([total(60, 3000)], follow([dispute(K.CHARGEBACK_OPENED, 60)]), {})

    assert (3000, "succeeded", day(60)) == (rest.facts.amount, rest.state, rest.created_at_ms)


words = st.lists(
    st.builds(
        money,
        st.sampled_from([kind for kind in EntryKind if kind.name.startswith("REFUND_")]),
        st.integers(0, 5),
        st.sampled_from([100, 200]),
    ),
    min_size=1,
    max_size=6,
)


@given(words, st.randoms(use_true_random=False))
def test_a_refund_ends_the_same_in_any_order(entries: list[Entry], random):
    """Words about a refund are sorted by their platform's time before they are followed."""
    end = follow(in_platform_order(entries))
    random.shuffle(entries)

    assert end == follow(in_platform_order(entries))


def test_an_estimate_is_in_the_currency_that_was_paid():
    """A price without a currency, or in another than the refund's, is no estimate of what went back."""
    # The law of conservation found refunds that showed a number and no currency.
    dollars = follow([money(K.REFUND_SUCCEEDED, 60, None, scope="full", currency="usd")])[0]
    nowhere = follow([money(K.REFUND_SUCCEEDED, 60, None, scope="full")])[0]

    assert dollars == estimate(dollars, PurchaseFacts(amount=PRICE, currency="eur"))
    assert nowhere == estimate(nowhere, PurchaseFacts(amount=PRICE))
    assert (PRICE, "estimated") == (estimate(nowhere, PAID).facts.amount, estimate(nowhere, PAID).facts.amount_source)
