"""What Google Play's question about a refund means: one that is asked for, and takes nothing yet.

Real: reading and meaning. Double: the API's answers, which are written out. No network, no clock.
"""

import pytest

from handlers.google import PLATFORM
from schemas.entry import EntryKind, RefundFacts, Subject
from tests.handlers.play import (
    ORDER,
    ORDERED,
    PERIOD,
    PERSON,
    PRODUCT,
    REVIEW_TOKEN,
    VOIDED_AT_MS,
    meaning_of,
    ordered,
    push,
    refund_by,
    refunded,
    review,
    said_by,
    usd,
)

pytestmark = pytest.mark.unit

K = EntryKind


class TestReview:
    def test_a_question_is_a_request_for_a_refund(self):
        """Access stays until a void follows; the request has the id that the void will have."""
        said = said_by(review())

        assert (K.REFUND_REQUESTED, Subject(purchase_id=ORDER), PERSON) == (said.kind, said.subject, said.facts)
        assert (
            RefundFacts(platform_refund_id=ORDER, type="void", reason="chargeback", created_at_ms=VOIDED_AT_MS)
            == said.refund
        )
        assert (ORDERED,) == meaning_of(review()).unlearned

    @pytest.mark.parametrize(
        ("number", "reason"),
        [(7, "chargeback"), (0, "review_0"), (3, "review_3"), (None, "review"), (-1, "review"), (10**40, "review")],
    )
    def test_only_the_documented_reason_has_a_name(self, number, reason):
        """7 is a chargeback; what is not documented keeps its number."""
        assert reason == refund_by(review(refundReason=number)).reason

    def test_an_order_ties_the_question_to_its_subscription(self):
        """The order names token, product and price; of its history a question takes nothing."""
        facts = {ORDERED: ordered(refunded(usd("49", 990_000_000)))}
        said, refund = said_by(review(obfuscatedAccountId=None), facts), refund_by(review(), facts)

        assert PERIOD == said.subject
        assert (PRODUCT, 4999, "usd", None) == (
            said.facts.product_id,
            said.facts.amount,
            said.facts.currency,
            said.facts.user_id,
        )
        assert (None, "unknown", "unknown") == (refund.amount, refund.amount_source, refund.scope)

    def test_the_key_to_answering_goes_no_further(self):
        """`pendingRefundToken` is in nothing that is said, and in nothing that is shown."""
        facts = {ORDERED: ordered()}

        assert REVIEW_TOKEN not in repr(meaning_of(review(), facts))
        assert REVIEW_TOKEN not in repr(PLATFORM.identify(push(review())))
