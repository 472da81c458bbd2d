"""What went back for a voided order: exact where an order says so, and never more certain than that.

Real: reading and meaning. Double: the API's answers, which are written out.
"""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Subject
from schemas.meaning import Lookup, Missing
from tests.handlers.play import (
    BOUGHT,
    COINS,
    COINS_ORDER,
    ORDER,
    ORDERED,
    PRODUCT,
    RENEWED_AT_MS,
    SUBSCRIBED,
    TOKEN,
    VOIDED_AT_MS,
    bought,
    item,
    ordered,
    refund_by,
    refunded,
    said_by,
    subscribed,
    usd,
    voided,
)

pytestmark = pytest.mark.unit

PRICE = usd("49", 990_000_000)
SOME = Lookup("orders", COINS_ORDER)


def part(total, at="2026-11-06T21:20:00Z", **changes):
    """Give one partial refund of an order's history."""
    return {"processTime": at, "state": "PROCESSED_SUCCESSFULLY", "refundDetails": {"total": total}} | changes


def some_voided(**changes):
    """Give the void of some of ten bags of coins."""
    return voided(orderId=COINS_ORDER, productType=2, refundType=2, **changes)


def coins(history, **changes):
    """Give what `orders` says of ten bags of coins for ten dollars."""
    items = [{"productId": COINS, "oneTimePurchaseDetails": {"quantity": 10}}]
    return ordered(history, orderId=COINS_ORDER, total=usd("10"), lineItems=items, **changes)


class TestFullVoid:
    def test_a_full_void_takes_back_exactly_its_order(self):
        """The order is one billing period: refunding the eighth renewal leaves the ninth alone."""
        said = said_by(voided())

        assert (EntryKind.REFUND_SUCCEEDED, PurchaseFacts()) == (said.kind, said.facts)
        assert Subject(purchase_id=ORDER, lineage=(f"token:{TOKEN}",)) == said.subject
        assert (
            RefundFacts(platform_refund_id=ORDER, type="void", scope="full", created_at_ms=VOIDED_AT_MS) == said.refund
        )

    def test_a_full_void_wins_over_an_answer_that_reads_active(self):
        """What the API says of the subscription by now neither undoes a void nor dates its period."""
        said = said_by(voided(), {SUBSCRIBED: subscribed(item(productId="com.acme.weather.lite"))})

        assert (EntryKind.REFUND_SUCCEEDED, "full", ORDER) == (
            said.kind,
            refund_by(voided(), {SUBSCRIBED: subscribed()}).scope,
            said.subject.purchase_id,
        )
        assert PurchaseFacts(user_id="u_4711", user_authority="guess") == said.facts

    def test_the_order_says_how_much_and_why(self):
        """Refunded sum, price, product and day of purchase are the platform's own word on that very period."""
        facts = {ORDERED: ordered(refunded(PRICE, "CHARGEBACK"))}
        said, refund = said_by(voided(), facts), refund_by(voided(), facts)

        assert (4999, "usd", "exact", "chargeback") == (
            refund.amount,
            refund.currency,
            refund.amount_source,
            refund.reason,
        )
        assert (
            PurchaseFacts(product_id=PRODUCT, amount=4999, currency="usd", purchased_at_ms=RENEWED_AT_MS) == said.facts
        )

    @pytest.mark.parametrize(
        ("word", "reason"),
        [("OTHER", "other"), ("BUYER_S_REMORSE", "buyer_s_remorse"), ("REFUND_REASON_UNSPECIFIED", None), (7, None)],
    )
    def test_a_reason_may_be_a_new_word(self, word, reason):
        """The enum is open; unspecified is no reason, and a number is no word."""
        assert reason == refund_by(voided(), {ORDERED: ordered(refunded(PRICE, word))}).reason

    @pytest.mark.parametrize(
        "answer",
        [
            ordered(),
            ordered(refunded(None)),
            ordered(refunded(PRICE), orderId="GPA.3345-1234-5678-90123..7"),
            ordered({"refundEvent": []}),
            Missing(404),
            "gone",
        ],
    )
    def test_what_no_order_says_is_not_made_up(self, answer):
        """Without a sum in the order that was asked for, the amount of the void stays unknown."""
        refund = refund_by(voided(), {ORDERED: answer})

        assert (None, "unknown") == (refund.amount, refund.amount_source)

    def test_an_order_of_several_products_names_none(self):
        """With add-ons no single product is what was paid for."""
        answer = ordered(lineItems=[{"productId": PRODUCT}, {"productId": "com.acme.weather.radar"}])

        assert said_by(voided(), {ORDERED: answer}).facts.product_id is None

    def test_a_void_without_a_product_type_is_still_a_void(self):
        """What was paid back does not depend on what kind of product it was."""
        assert EntryKind.REFUND_SUCCEEDED == said_by(voided(productType=None)).kind


class TestSomeUnits:
    def test_voids_of_some_units_are_many_refunds_of_one_order(self):
        """A quantity-based void may repeat and never counts as the whole order."""
        first = refund_by(some_voided())
        second = refund_by(some_voided() | {"eventTimeMillis": str(VOIDED_AT_MS + 1)})

        assert ["quantity", "quantity"] == [first.scope, second.scope]
        assert [f"{COINS_ORDER}:{VOIDED_AT_MS}", f"{COINS_ORDER}:{VOIDED_AT_MS + 1}"] == [
            first.platform_refund_id,
            second.platform_refund_id,
        ]
        assert COINS_ORDER == said_by(some_voided()).subject.purchase_id

    def test_how_many_are_left_comes_from_the_answer(self):
        """The notification has no number: the product says how many were bought and how many are not refunded."""
        said = said_by(some_voided(), {BOUGHT: bought(left=7)})

        assert (
            PurchaseFacts(product_id=COINS, quantity=10, quantity_left=7, user_id="u_4711", user_authority="guess")
            == said.facts
        )

    def test_an_order_knows_the_number_too(self):
        """Where the token cannot be read any more, its order still says how many were bought, and for how much."""
        said = said_by(some_voided(), {BOUGHT: Missing(410), SOME: coins({})})

        assert (10, None, 1000, COINS) == (
            said.facts.quantity,
            said.facts.quantity_left,
            said.facts.amount,
            said.facts.product_id,
        )

    @pytest.mark.parametrize("answer", [bought(orderId="GPA.1"), bought(orderId=None)])
    def test_another_orders_numbers_are_not_these(self, answer):
        """What a token says counts for the order that it names."""
        assert PurchaseFacts(user_id="u_4711", user_authority="guess") == said_by(some_voided(), {BOUGHT: answer}).facts

    @pytest.mark.parametrize("number", [-1, True, 1.0, "10", 10**9, None])
    def test_a_number_that_is_none_is_unknown(self, number):
        """Only a count is a count."""
        facts = said_by(some_voided(), {BOUGHT: bought(number, number)}).facts

        assert (None, None) == (facts.quantity, facts.quantity_left)

    @pytest.mark.parametrize(
        ("parts", "amount"),
        [
            ([part(usd("2"))], 200),
            ([part(usd("2"), "2026-11-01T00:00:00Z")], 200),
            ([part(usd("2"), "2026-11-01T00:00:00Z"), part(usd("3"))], 300),
            ([part(usd("2"), "2026-11-01T00:00:00Z"), part(usd("3"), None, createTime="2026-11-06T21:25:00Z")], 300),
            ([part(usd("2")), part(usd("3"))], None),
            ([part(usd("2"), "2026-11-01T00:00:00Z"), part(usd("3"), "2026-11-02T00:00:00Z")], None),
            ([part(None)], None),
            ([part(usd("2")), 7], None),
            ([], None),
            (None, None),
        ],
    )
    def test_the_amount_of_a_part_is_known_where_one_part_is_meant(self, parts, amount):
        """The only partial refund, or the only one of those minutes; two that could be meant are none."""
        refund = refund_by(some_voided(), {SOME: coins({"partialRefundEvents": parts})})

        assert (amount, "exact" if amount else "unknown") == (refund.amount, refund.amount_source)


class TestTheLastPart:
    FULL = refunded(usd("10"))

    @pytest.mark.parametrize(
        ("parts", "amount", "source"),
        [
            ([], 1000, "exact"),
            ([part(usd("2")), part(usd("3"))], 500, "estimated"),
            ([part(usd("10"))], 0, "estimated"),
            ([part(usd("7")), part(usd("7"))], None, "unknown"),
            ([part(usd("2", currency="EUR"))], None, "unknown"),
            ([part(None)], None, "unknown"),
        ],
    )
    def test_a_total_is_not_counted_on_top_of_its_parts(self, parts, amount, source):
        """The void that takes the last unit comes as a full one: what went back before is not gone twice."""
        void = voided(orderId=COINS_ORDER, productType=2)
        refund = refund_by(void, {SOME: coins(self.FULL | {"partialRefundEvents": parts})})

        assert ("full", amount, source) == (refund.scope, refund.amount, refund.amount_source)

    def test_a_rest_that_is_told_as_a_rest_is_exact(self):
        """Less than the price after partial refunds is the last part's own sum."""
        history = refunded(usd("5")) | {"partialRefundEvents": [part(usd("2")), part(usd("3"))]}
        refund = refund_by(voided(orderId=COINS_ORDER, productType=2), {SOME: coins(history)})

        assert (500, "exact", "other") == (refund.amount, refund.amount_source, refund.reason)

    @pytest.mark.parametrize(
        ("total", "parts", "amount", "source"),
        [
            (usd("9", 500_000_000), [part(usd("5"))], 450, "estimated"),
            (usd("6"), [part(usd("2")), part(usd("3"))], 100, "estimated"),
            (usd("5"), [part(usd("2")), part(usd("4"))], None, "unknown"),
            (usd("15"), [part(usd("5"))], 1500, "exact"),
            (usd("9", currency="EUR"), [part(usd("5"))], 900, "exact"),
        ],
        ids=["a fee is kept", "several parts", "less than its parts", "contradicts its price", "another currency"],
    )
    def test_a_total_that_fits_only_with_its_parts_in_it_has_them_in_it(self, total, parts, amount, source):
        """With its parts it would be more than was paid, so it is the sum of all; what contradicts itself stays so."""
        history = refunded(total) | {"partialRefundEvents": parts}
        refund = refund_by(voided(orderId=COINS_ORDER, productType=2), {SOME: coins(history)})

        assert (amount, source) == (refund.amount, refund.amount_source)

    def test_without_a_price_a_total_is_taken_as_told(self):
        """Nothing says that it would be too much."""
        history = refunded(usd("9")) | {"partialRefundEvents": [part(usd("5"))]}
        answer = coins(history) | {"total": None}

        assert 900 == refund_by(voided(orderId=COINS_ORDER, productType=2), {SOME: answer}).amount


class TestMoney:
    @pytest.mark.parametrize(
        ("money", "expected"),
        [
            (usd("49", 990_000_000), (4999, "usd")),
            (usd(49, 990_000_000), (4999, "usd")),
            (usd("49"), (4900, "usd")),
            (usd(None, 500_000_000), (50, "usd")),
            (usd(), (0, "usd")),
            (usd("6000", currency="JPY"), (6000, "jpy")),
            (usd("3", 125_000_000, "KWD"), (3125, "kwd")),
            (usd("1", 5_000_000), None),
            (usd("6000", 500_000_000, "JPY"), None),
            (usd("-49", -990_000_000), None),
            (usd("-0"), None),
            (usd(-1), None),
            (usd("1", -1), None),
            (usd("1", 10**9), None),
            (usd("1", nanos=True), None),
            (usd("1", "990000000"), None),
            (usd(1.5), None),
            (usd(units=True), None),
            (usd("9" * 18), None),
            (usd("9" * 30), None),
            (usd("1", currency="DOLLARS"), None),
            (usd("1", currency=None), None),
            (usd("1", currency=840), None),
            ("49.99", None),
        ],
    )
    def test_money_is_read_to_the_last_minor_unit_or_not_at_all(self, money, expected):
        """Whole units and billionths become minor units of the currency; what is finer, or below nothing, is no sum."""
        refund = refund_by(voided(), {ORDERED: ordered(refunded(money), total=money)})

        assert (expected or (None, None)) == (refund.amount, refund.currency)

    @given(units=st.integers(0, 10**12), cents=st.integers(0, 99))
    def test_no_cent_is_lost(self, units, cents):
        """Every sum in cents comes out as it went in, by exact arithmetic."""
        refund = refund_by(voided(), {ORDERED: ordered(refunded(usd(str(units), cents * 10_000_000)))})

        assert int(Decimal(f"{units}.{cents:02}") * 100) == refund.amount
