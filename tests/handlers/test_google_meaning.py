"""Each of Google Play's notifications has a meaning or a place, whatever is in it and whatever the API answers.

Real: reading and meaning. Double: the API's answers, which are written out. No network, no clock.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.errors import Malformed
from handlers.google import PLATFORM
from handlers.google_meaning import IGNORED, MEANING
from schemas.entry import EntryKind
from schemas.meaning import Confirm, Ignored, Lookup, Meaning, Quarantined
from tests.handlers.json_edits import ANY_JSON, edits_of
from tests.handlers.play import (
    OLD_TOKEN,
    ORDER,
    SETTINGS,
    SUBSCRIBED,
    TOKEN,
    bought,
    item,
    meaning_of,
    one_time,
    ordered,
    push,
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
