"""What each of Google Play's notifications means, with the Play Developer API's answers and without.

Real: reading and meaning. Double: the API's answers, which are written out. No network, no clock.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.errors import Malformed
from handlers.google import PLATFORM
from handlers.google_meaning import IGNORED, MEANING
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Subject
from schemas.meaning import Confirm, Ignored, Lookup, Meaning, Missing, Quarantined
from tests.handlers.json_edits import ANY_JSON, edits_of
from tests.handlers.play import (
    BOUGHT,
    COINS,
    COINS_ORDER,
    EXPIRES_AT_MS,
    ORDER,
    ORDERED,
    PRODUCT,
    REVIEW_TOKEN,
    SETTINGS,
    SUBSCRIBED,
    TOKEN,
    VOIDED_AT_MS,
    bought,
    item,
    meaning_of,
    one_time,
    ordered,
    push,
    refund_by,
    refunded,
    review,
    rtdn,
    said_by,
    subscribed,
    subscription,
    usd,
    voided,
)

pytestmark = pytest.mark.unit

K = EntryKind
WHOLE = Subject(lineage=(f"token:{TOKEN}",))
PERIOD = Subject(purchase_id=ORDER, lineage=(f"token:{TOKEN}",))
PERSON = PurchaseFacts(user_id="u_4711", user_authority="guess")
PLAN = PERSON.model_copy(update={"kind": "subscription", "product_id": PRODUCT, "expires_at_ms": EXPIRES_AT_MS})
OLD_TOKEN = "oldmonthlyplan.AO-J1OxOLD"


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


class TestTables:
    def test_every_documented_type_has_one_place(self):
        """What has a meaning is not ignored, and of the documented words none is missing."""
        subscriptions = {
            *("RECOVERED", "RENEWED", "CANCELED", "PURCHASED", "ON_HOLD", "IN_GRACE_PERIOD", "RESTARTED"),
            *("PRICE_CHANGE_CONFIRMED", "DEFERRED", "PAUSED", "PAUSE_SCHEDULE_CHANGED", "REVOKED", "EXPIRED"),
            *("ITEMS_CHANGED", "CANCELLATION_SCHEDULED", "PRICE_CHANGE_UPDATED", "PENDING_PURCHASE_CANCELED"),
            "PRICE_STEP_UP_CONSENT_UPDATED",
        }
        others = {
            *("ONE_TIME_PRODUCT_PURCHASED", "ONE_TIME_PRODUCT_CANCELED", "VOIDED_PURCHASE/FULL_REFUND"),
            *("VOIDED_PURCHASE/QUANTITY_BASED_PARTIAL_REFUND", "PENDING_REFUND_REVIEW", "TEST"),
        }

        assert {*(f"SUBSCRIPTION_{word}" for word in subscriptions), *others} == {*MEANING, *IGNORED}
        assert set() == {*MEANING} & {*IGNORED}

    @pytest.mark.parametrize(
        ("number", "reason"),
        [
            (8, "subscription_price_change_confirmed"),
            (11, "subscription_pause_schedule_changed"),
            (18, "subscription_cancellation_scheduled"),
            (19, "subscription_price_change_updated"),
            (20, "subscription_pending_purchase_canceled"),
            (22, "subscription_price_step_up_consent_updated"),
        ],
    )
    def test_what_changes_nothing_that_was_paid_for_is_ignored_by_its_name(self, number, reason):
        """Prices and schedules to come, and payments that never completed, concern no purchase."""
        assert Ignored(reason) == meaning_of(subscription(number))

    def test_a_pending_upgrade_that_was_never_paid_ends_nothing(self):
        """The plan that it would have replaced goes on, even where an answer names that plan's token."""
        facts = {SUBSCRIBED: subscribed(linkedPurchaseToken=OLD_TOKEN)}

        assert Ignored("subscription_pending_purchase_canceled") == meaning_of(subscription(20), facts)

    def test_a_canceled_one_time_purchase_was_never_paid(self):
        """ONE_TIME_PRODUCT_CANCELED is a pending payment that was dropped, never a refund."""
        assert Ignored("pending_purchase_canceled") == meaning_of(one_time(2))

    def test_the_consoles_test_means_nothing(self):
        """A "Send test message" is answered like everything else, and has no effect."""
        assert Ignored("test") == meaning_of(rtdn(testNotification={"version": "1.0"}))

    @pytest.mark.parametrize(
        ("notification", "detail"),
        [
            *((subscription(n), f"subscriptionNotification notificationType {n}") for n in (0, 14, 15, 16, 21, 23)),
            (subscription("12"), "subscriptionNotification notificationType None"),
            (one_time(3), "oneTimeProductNotification notificationType 3"),
            (voided(refundType=3), "voidedPurchaseNotification refundType 3"),
            (rtdn(subscriptionNotification=[12]), "subscriptionNotification notificationType None"),
            (rtdn(walletNotification={"secret": "hush"}), "walletNotification"),
            (rtdn(), ""),
            (subscription(12) | voided(), "subscriptionNotification voidedPurchaseNotification"),
        ],
    )
    def test_what_nobody_documented_is_kept_without_effect(self, notification, detail):
        """A new type is quarantined by its name; its contents are not repeated."""
        assert Quarantined("unknown_type", detail) == meaning_of(notification)

    @pytest.mark.parametrize(
        ("notification", "word"),
        [
            (subscription(12, purchaseToken=None), "SUBSCRIPTION_REVOKED"),
            (subscription(12, purchaseToken=""), "SUBSCRIPTION_REVOKED"),
            (one_time(1, purchaseToken=["a"]), "ONE_TIME_PRODUCT_PURCHASED"),
            (voided(orderId=""), "VOIDED_PURCHASE/FULL_REFUND"),
            (voided(orderId="G" * 5000), "VOIDED_PURCHASE/FULL_REFUND"),
            (review(orderId=None), "PENDING_REFUND_REVIEW"),
            (review(refundReason="7"), "PENDING_REFUND_REVIEW"),
        ],
    )
    def test_a_known_type_of_unknown_shape_is_kept_without_effect(self, notification, word):
        """A revocation that names nothing revokes nothing."""
        assert Quarantined("unexpected_shape", word) == meaning_of(notification)

    def test_null_is_absence(self):
        """A field that is null is not the field that says what a notification is about."""
        assert K.REVOKED == said_by(subscription(12) | {"voidedPurchaseNotification": None}).kind


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


NAMES = st.sampled_from(
    [
        *("subscriptionNotification", "oneTimeProductNotification", "voidedPurchaseNotification"),
        *("pendingRefundReviewNotification", "eventTimeMillis"),
    ]
)
PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "notificationType": st.integers(0, 24) | ANY_JSON,
        "refundType": st.integers(0, 4) | ANY_JSON,
        "refundReason": st.integers(0, 9) | ANY_JSON,
        "productType": st.integers(0, 3) | ANY_JSON,
        "purchaseToken": st.just(TOKEN) | ANY_JSON,
        "orderId": st.just(ORDER) | ANY_JSON,
    },
)
HISTORY: dict[str, Any] = refunded(usd("49", 990_000_000)) | {
    "partialRefundEvents": [{"processTime": "2026-11-06T00:00:00Z", "refundDetails": {"total": usd("5")}}]
}
ANSWERS = (
    ANY_JSON
    | edits_of(subscribed(item(), item(), linkedPurchaseToken=OLD_TOKEN))
    | edits_of(bought())
    | edits_of(ordered(HISTORY))
)


@settings(deadline=None)
@given(special=st.dictionaries(NAMES, PLAUSIBLE | ANY_JSON, max_size=3), answers=st.lists(ANSWERS, max_size=2))
def test_every_notification_has_a_meaning_or_a_place(special, answers):
    """Whatever JSON is inside, it is understood, ignored or quarantined, with any answers or none."""
    try:
        payload = push(rtdn() | special)
    except Malformed:
        return
    facts: dict[Lookup, Any] = dict(zip(PLATFORM.needs(payload), answers, strict=False))

    PLATFORM.identify(payload)
    for known in ({}, facts):
        assert isinstance(
            PLATFORM.normalize(payload, known, settings=SETTINGS), Meaning | Ignored | Quarantined | Confirm
        )


NOTIFICATIONS = [
    *(subscription(number) for number in range(24)),
    *(one_time(1), voided(), voided(productType=2), voided(refundType=2, productType=2), review()),
]


@settings(deadline=None)
@given(notification=st.sampled_from(NOTIFICATIONS), answers=st.lists(ANSWERS, min_size=2, max_size=2))
def test_no_answer_makes_a_genuine_notification_fail(notification, answers):
    """Any JSON value may come as an answer: what happened stays what the notification says."""
    payload = push(notification)
    facts = dict(zip(PLATFORM.needs(payload), answers, strict=False))
    found = PLATFORM.normalize(payload, facts, settings=SETTINGS)
    alone = PLATFORM.normalize(payload, {}, settings=SETTINGS)

    if isinstance(found, Meaning) and isinstance(alone, Meaning):
        assert alone.said[0].kind is found.said[0].kind
        assert alone.said[0].occurred_at_ms == found.said[0].occurred_at_ms
    else:
        assert isinstance(alone, Ignored | Quarantined)
