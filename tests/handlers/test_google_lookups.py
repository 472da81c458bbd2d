"""What Google Play's notifications leave to be asked of the Play Developer API, and what is known without it.

Real: reading and meaning. Double: the API's answers, which are written out. No network, no clock.
"""

import pytest

from handlers.google import PLATFORM
from schemas.entry import EntryKind
from schemas.meaning import Meaning, Missing
from tests.handlers.play import (
    BOUGHT,
    ORDERED,
    PERIOD,
    SUBSCRIBED,
    meaning_of,
    one_time,
    push,
    review,
    rtdn,
    subscription,
    voided,
)

pytestmark = pytest.mark.unit

K = EntryKind


class TestNeeds:
    @pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13, 17])
    def test_a_subscription_that_changed_is_asked_about(self, number):
        """A notification says that something changed; whose and what it was, the API says."""
        assert (SUBSCRIBED,) == PLATFORM.needs(push(subscription(number)))

    @pytest.mark.parametrize(
        ("notification", "lookups"),
        [
            (one_time(1), (BOUGHT,)),
            (voided(), (SUBSCRIBED, ORDERED)),
            (voided(productType=2), (BOUGHT, ORDERED)),
            (voided(productType=None), (SUBSCRIBED, ORDERED)),
            (voided(productType=None, refundType=2), (BOUGHT, ORDERED)),
            (review(), (ORDERED,)),
        ],
    )
    def test_a_void_needs_to_know_who_and_how_much(self, notification, lookups):
        """Only an order names the sum that went back, only a token its person; only products are bought in numbers."""
        assert lookups == PLATFORM.needs(push(notification))

    @pytest.mark.parametrize(
        "notification",
        [
            *(subscription(number) for number in (8, 11, 14, 18, 19, 20, 22, 99)),
            one_time(2),
            rtdn(testNotification={}),
            voided(orderId=None),
            review(orderId=None),
            rtdn(),
        ],
    )
    def test_nothing_is_asked_that_could_not_change_the_meaning(self, notification):
        """What is ignored, unknown or names nothing costs no look-up."""
        assert () == PLATFORM.needs(push(notification))

    def test_what_could_not_be_learned_is_reported(self):
        """Without credentials the meaning stands, and names every look-up that is missing."""
        assert (SUBSCRIBED, ORDERED) == meaning_of(voided()).unlearned
        assert (ORDERED,) == meaning_of(voided(), {SUBSCRIBED: {}}).unlearned

    @pytest.mark.parametrize("status", [404, 410])
    def test_that_there_is_no_such_thing_is_an_answer(self, status):
        """A token is readable until 60 days after its end: a void comes through, and nobody asks again."""
        meaning = meaning_of(voided(), {SUBSCRIBED: Missing(status), ORDERED: Missing(status)})

        assert isinstance(meaning, Meaning)
        assert () == meaning.unlearned
        assert [(K.REFUND_SUCCEEDED, PERIOD, None)] == [(s.kind, s.subject, s.environment) for s in meaning.said]
