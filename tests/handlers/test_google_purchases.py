"""What Google Play's payments mean: which order, of whom, for what and until when, with an answer and without.

Real: reading and meaning. Double: the API's answers, which are written out. No network, no clock.
"""

import pytest

from schemas.entry import EntryKind, PurchaseFacts
from tests.handlers.play import (
    BOUGHT,
    COINS,
    COINS_ORDER,
    EXPIRES_AT_MS,
    OLD_TOKEN,
    PERIOD,
    PERSON,
    PLAN,
    PRODUCT,
    SUBSCRIBED,
    VOIDED_AT_MS,
    WHOLE,
    bought,
    item,
    one_time,
    said_by,
    subscribed,
    subscription,
    voided,
)

pytestmark = pytest.mark.unit

K = EntryKind


class TestPaid:
    @pytest.mark.parametrize(("number", "kind"), [(4, K.PURCHASED), (2, K.RENEWED), (1, K.RENEWED)])
    def test_a_payment_is_one_of_the_order_that_an_answer_names(self, number, kind):
        """Bought, renewed, recovered from a hold: order, product, person and end come from the API."""
        said = said_by(subscription(number), {SUBSCRIBED: subscribed()})

        assert (kind, VOIDED_AT_MS, PERIOD, "production") == (
            said.kind,
            said.occurred_at_ms,
            said.subject,
            said.environment,
        )
        assert PLAN.model_copy(update={"purchased_at_ms": VOIDED_AT_MS}) == said.facts

    @pytest.mark.parametrize(("number", "kind"), [(4, K.PURCHASED), (2, K.RENEWED), (1, K.RENEWED)])
    def test_without_an_answer_a_payment_is_one_of_all_that_the_token_names(self, number, kind):
        """RTDN names no order: the purchase token is the whole subscription, with all its periods."""
        said = said_by(subscription(number))

        assert (kind, WHOLE, None) == (said.kind, said.subject, said.environment)
        assert said.whole_lineage
        assert PurchaseFacts(kind="subscription") == said.facts

    def test_the_undocumented_product_is_used_where_it_is_still_sent(self):
        """`subscriptionId` left the reference and not the wire."""
        said = said_by(subscription(4, subscriptionId=PRODUCT))

        assert PurchaseFacts(kind="subscription", product_id=PRODUCT) == said.facts

    def test_a_one_time_purchase_names_its_product_and_not_its_kind(self):
        """Only the app knows whether a one-time product is consumable."""
        said = said_by(one_time(1))

        assert (K.PURCHASED, WHOLE) == (said.kind, said.subject)
        assert PurchaseFacts(product_id="com.acme.weather.lifetime") == said.facts

    def test_an_answer_ties_a_product_to_its_order(self):
        """A one-time purchase has one order, which the API names, with how many were bought, when, and by whom."""
        said = said_by(one_time(1, sku=None), {BOUGHT: bought(left=7, testPurchaseContext={"fopType": "TEST"})})

        assert ("sandbox", COINS_ORDER) == (said.environment, said.subject.purchase_id)
        assert (
            PERSON.model_copy(update={"product_id": COINS, "quantity": 10, "purchased_at_ms": 1_770_111_002_000})
            == said.facts
        )

    @pytest.mark.parametrize("test", [{}, {"testPurchase": {}}])
    def test_a_test_purchase_is_sandbox(self, test):
        """The mere presence of `testPurchase` says so, even if it is empty."""
        said = said_by(voided(), {SUBSCRIBED: subscribed() | test})

        assert ("sandbox" if test else "production") == said.environment

    def test_who_subscribes_again_in_the_store_is_who_had_it_before(self):
        """Out of the app there is no account id but that of the subscription that ran out; its token ends nothing."""
        context = {
            "expiredPurchaseToken": OLD_TOKEN,
            "expiredExternalAccountIdentifiers": {"obfuscatedExternalAccountId": "u_0815"},
        }
        answer = subscribed(outOfAppPurchaseContext=context)
        own = {SUBSCRIBED: answer}
        none = {SUBSCRIBED: answer | {"externalAccountIdentifiers": {}}}

        assert "u_4711" == said_by(subscription(4), own).facts.user_id
        assert "u_0815" == said_by(subscription(4), none).facts.user_id
        assert PERIOD == said_by(subscription(4), none).subject


class TestLineItems:
    ADD_ON = item(
        productId="com.acme.weather.radar", latestSuccessfulOrderId="GPA.1", expiryTime="2027-02-04T00:00:00Z"
    )

    def test_several_line_items_are_not_one_purchase(self):
        """With add-ons no single item's order, product or end is the subscription's."""
        said = said_by(subscription(4), {SUBSCRIBED: subscribed(item(), self.ADD_ON)})

        assert WHOLE == said.subject
        assert PERSON.model_copy(update={"kind": "subscription"}) == said.facts

    def test_what_all_line_items_say_is_certain(self):
        """Two products bought in one order are that order, and end when both do."""
        said = said_by(subscription(4), {SUBSCRIBED: subscribed(item(), item(productId="com.acme.weather.radar"))})

        assert PERIOD == said.subject
        assert (None, EXPIRES_AT_MS) == (said.facts.product_id, said.facts.expires_at_ms)

    @pytest.mark.parametrize(
        "other",
        [
            item(productId="com.acme.weather.lite", latestSuccessfulOrderId=None),
            item(productId="com.acme.weather.lite", latestSuccessfulOrderId="GPA.0", expiryTime="2026-11-06T00:00:00Z"),
        ],
    )
    def test_a_plan_that_is_not_paid_yet_or_was_over_is_not_meant(self, other):
        """A deferred replacement shows the old plan and the new one: what was going on at that moment is meant."""
        assert PLAN == said_by(subscription(6), {SUBSCRIBED: subscribed(other, item())}).facts

    @pytest.mark.parametrize(
        ("answer", "subject"),
        [
            (subscribed(item(), item(latestSuccessfulOrderId=None), linkedPurchaseToken="old"), WHOLE),
            (subscribed(item(), item(latestSuccessfulOrderId=None)), PERIOD),
        ],
        ids=["another token's plan", "its own plan"],
    )
    def test_the_order_of_a_plan_that_is_still_to_be_replaced_stays_with_its_own_token(self, answer, subject):
        """Until a deferred replacement is paid for, the new token has no order, and nothing has ended."""
        assert subject == said_by(subscription(4), {SUBSCRIBED: answer}).subject

    @pytest.mark.parametrize(
        "answer",
        [
            None,
            [],
            "gone",
            410,
            {"lineItems": {}, "externalAccountIdentifiers": 7},
            {"lineItems": [7], "orderId": "\0"},
        ],
    )
    def test_an_answer_without_sense_teaches_nothing(self, answer):
        """The meaning of a notification does not hang on what an API makes of it."""
        facts = {SUBSCRIBED: answer, BOUGHT: answer}

        assert said_by(subscription(4), facts).subject.whole_lineage
        assert said_by(one_time(1), facts).subject.whole_lineage

    @pytest.mark.parametrize("order", ["GPA.\ud800", "GPA.\0", "", "G" * 5000, 7])
    def test_an_id_that_no_store_holds_is_none(self, order):
        """Lone surrogates and NUL cannot be stored, so they name no purchase."""
        assert WHOLE == said_by(subscription(4), {SUBSCRIBED: subscribed(item(latestSuccessfulOrderId=order))}).subject

    @pytest.mark.parametrize(
        "expiry", ["2027-13-01T00:00:00Z", "2027-11-08", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", 7, None]
    )
    def test_an_end_that_is_no_time_is_unknown(self, expiry):
        """Only an RFC 3339 time since 1970 is an expiry."""
        assert said_by(subscription(4), {SUBSCRIBED: subscribed(item(expiryTime=expiry))}).facts.expires_at_ms is None
