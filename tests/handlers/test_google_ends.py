"""When what was bought of Google Play ends: at another time, at once, or because another plan took its place.

Real: reading and meaning. Double: the API's answers, which are written out. No network, no clock.
"""

import pytest

from schemas.entry import EntryKind, PurchaseFacts, Subject
from schemas.meaning import Ignored, Missing
from tests.handlers.play import (
    OLD_TOKEN,
    PERIOD,
    PERSON,
    PLAN,
    SUBSCRIBED,
    TOKEN,
    VOIDED_AT_MS,
    WHOLE,
    item,
    meaning_of,
    said_by,
    subscribed,
    subscription,
)

pytestmark = pytest.mark.unit

K = EntryKind


class TestRescheduled:
    @pytest.mark.parametrize("number", [3, 6, 7, 9, 17])
    def test_another_end_comes_from_the_answer(self, number):
        """Canceled, in grace, restarted, deferred, other items: it ends when the API says, and nothing was paid."""
        said = said_by(subscription(number), {SUBSCRIBED: subscribed()})

        assert (K.RESCHEDULED, VOIDED_AT_MS, PERIOD, PLAN) == (
            said.kind,
            said.occurred_at_ms,
            said.subject,
            said.facts,
        )

    @pytest.mark.parametrize("number", [6, 7, 9])
    def test_without_an_answer_the_old_end_no_longer_counts(self, number):
        """Grace, a restart and a deferral move the end; nobody loses access by a date that is known to be old."""
        said = said_by(subscription(number))

        assert (K.RESCHEDULED, WHOLE, None) == (said.kind, said.subject, said.facts.expires_at_ms)

    @pytest.mark.parametrize(("number", "reason"), [(3, "subscription_canceled"), (17, "subscription_items_changed")])
    def test_without_an_answer_a_cancellation_leaves_the_end_where_it_is(self, number, reason):
        """Canceled means "will not renew": what was paid for lasts to its end, which an answer may still date."""
        assert Ignored(reason, (SUBSCRIBED,)) == meaning_of(subscription(number))
        assert Ignored(reason) == meaning_of(subscription(number), {SUBSCRIBED: Missing(410)})

    @pytest.mark.parametrize(
        "items", [(item(expiryTime=None),), (item(), item(productId="com.acme.weather.radar")), (item(productId=None),)]
    )
    def test_items_that_leave_a_doubt_change_nothing(self, items):
        """Which product the subscription is now must be certain, and until when."""
        facts = {SUBSCRIBED: subscribed(*items)}

        assert Ignored("subscription_items_changed") == meaning_of(subscription(17), facts)


class TestEnds:
    @pytest.mark.parametrize(
        ("number", "kind", "reason"),
        [
            (5, K.SUSPENDED, "on_hold"),
            (10, K.SUSPENDED, "paused"),
            (12, K.REVOKED, None),
            (13, K.EXPIRED, None),
        ],
    )
    def test_the_notification_decides_and_not_the_answer(self, number, kind, reason):
        """Held back or ended, for the whole subscription, even if the API says by now that it is active."""
        answered = said_by(subscription(number), {SUBSCRIBED: subscribed()})
        unanswered = said_by(subscription(number))

        assert [(kind, reason, WHOLE)] * 2 == [(s.kind, s.reason, s.subject) for s in (answered, unanswered)]
        assert (PERSON, PurchaseFacts()) == (answered.facts, unanswered.facts)


class TestReplaced:
    ANSWER = subscribed(linkedPurchaseToken=OLD_TOKEN)

    @pytest.mark.parametrize(("number", "kind"), [(4, K.PURCHASED), (2, K.RENEWED), (6, K.RESCHEDULED)])
    def test_the_plan_that_was_replaced_has_ended(self, number, kind):
        """After an upgrade the old token is dead: it expired just before the new one, and nothing was refunded."""
        new, old = meaning_of(subscription(number), {SUBSCRIBED: self.ANSWER}).said

        assert (kind, PERIOD) == (new.kind, new.subject)
        assert (K.EXPIRED, "replaced", None) == (old.kind, old.reason, old.refund)
        assert Subject(lineage=(f"token:{OLD_TOKEN}",)) == old.subject

    @pytest.mark.parametrize(
        ("number", "start", "ended_at_ms"),
        [
            (4, "2026-11-06T00:00:00Z", VOIDED_AT_MS - 1),
            (2, "2026-10-06T00:00:00Z", 1_791_244_800_000 - 1),
            (2, "2026-12-06T00:00:00Z", VOIDED_AT_MS - 1),
            (2, None, VOIDED_AT_MS - 1),
        ],
    )
    def test_it_ended_when_the_new_one_began(self, number, start, ended_at_ms):
        """A purchase dates itself; of a later period, the start of the subscription is what counts."""
        facts = {SUBSCRIBED: self.ANSWER | {"startTime": start}}

        assert ended_at_ms == meaning_of(subscription(number), facts).said[1].occurred_at_ms

    def test_no_plan_ended_before_the_epoch(self):
        """A notification from the first millisecond of 1970 ends the old plan no earlier."""
        first = subscription(4) | {"eventTimeMillis": "0"}

        assert 0 == meaning_of(first, {SUBSCRIBED: self.ANSWER}).said[1].occurred_at_ms

    @pytest.mark.parametrize(
        "answer",
        [
            subscribed(linkedPurchaseToken=TOKEN),
            subscribed(item(productId=None), linkedPurchaseToken=OLD_TOKEN),
            subscribed(item(latestSuccessfulOrderId=None), linkedPurchaseToken=OLD_TOKEN),
            subscribed(linkedPurchaseToken=None),
        ],
    )
    def test_nobody_loses_one_plan_before_having_the_other(self, answer):
        """While it is open which order and product the new plan is, the old one stays; a token replaces no itself."""
        assert 1 == len(meaning_of(subscription(4), {SUBSCRIBED: answer}).said)

    @pytest.mark.parametrize("number", [5, 10, 12, 13])
    def test_an_end_ends_one_token(self, number):
        """What ends or rests says nothing of the plan before it."""
        assert WHOLE == said_by(subscription(number), {SUBSCRIBED: self.ANSWER}).subject
