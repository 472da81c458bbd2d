"""What each type of Real-time Developer Notification means: one table of meanings, one of reasons to ignore."""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import ValidationError

from handlers import rtdn
from handlers.google_readers import Event, Means, Moment, asked, held, lookups, moved, paid, voided
from schemas.entry import EntryKind
from schemas.meaning import Facts, Ignored, Lookup, Meaning, Normalized, Quarantined
from schemas.platforms.google import (
    DeveloperNotification,
    OneTimeProductNotification,
    PendingRefundReviewNotification,
    SubscriptionNotification,
    VoidedPurchaseNotification,
)

__all__ = ["IGNORED", "MEANING", "lookups_of", "meaning_of"]

K = EntryKind

# developer.android.com/google/play/billing/rtdn-reference and lifecycle/subscriptions; handlers/rtdn.py makes the words
# of its numbers. RECOVERED follows a hold or a pause, and a payment. RESTARTED only undoes a cancellation, and
# CANCELED only means "will not renew": what was paid for lasts to its end, which an answer may date anew.
MEANING: Mapping[str, Means] = MappingProxyType({
    "SUBSCRIPTION_PURCHASED": Means(K.PURCHASED, paid),
    "SUBSCRIPTION_RENEWED": Means(K.RENEWED, paid),
    "SUBSCRIPTION_RECOVERED": Means(K.RENEWED, paid),
    "SUBSCRIPTION_RESTARTED": Means(K.RESCHEDULED, moved),
    "SUBSCRIPTION_IN_GRACE_PERIOD": Means(K.RESCHEDULED, moved),
    "SUBSCRIPTION_DEFERRED": Means(K.RESCHEDULED, moved),
    "SUBSCRIPTION_CANCELED": Means(K.RESCHEDULED, moved, certain=("expires_at_ms",)),
    "SUBSCRIPTION_ITEMS_CHANGED": Means(K.RESCHEDULED, moved, certain=("expires_at_ms", "product_id")),
    "SUBSCRIPTION_ON_HOLD": Means(K.SUSPENDED, held, reason="on_hold"),
    "SUBSCRIPTION_PAUSED": Means(K.SUSPENDED, held, reason="paused"),
    "SUBSCRIPTION_REVOKED": Means(K.REVOKED, held),
    "SUBSCRIPTION_EXPIRED": Means(K.EXPIRED, held),
    "ONE_TIME_PRODUCT_PURCHASED": Means(K.PURCHASED, paid),
    "VOIDED_PURCHASE/FULL_REFUND": Means(K.REFUND_SUCCEEDED, voided),
    "VOIDED_PURCHASE/QUANTITY_BASED_PARTIAL_REFUND": Means(K.REFUND_SUCCEEDED, voided),
    "PENDING_REFUND_REVIEW": Means(K.REFUND_REQUESTED, asked),
})  # fmt: skip

# Understood, and without effect on what was paid for. The canceled ones are payments that never completed: no refund
# ever comes as ONE_TIME_PRODUCT_CANCELED, and the subscription that a pending upgrade would have replaced goes on.
IGNORED: Mapping[str, str] = MappingProxyType({
    "SUBSCRIPTION_PRICE_CHANGE_CONFIRMED": "subscription_price_change_confirmed",
    "SUBSCRIPTION_PAUSE_SCHEDULE_CHANGED": "subscription_pause_schedule_changed",
    "SUBSCRIPTION_CANCELLATION_SCHEDULED": "subscription_cancellation_scheduled",
    "SUBSCRIPTION_PRICE_CHANGE_UPDATED": "subscription_price_change_updated",
    "SUBSCRIPTION_PENDING_PURCHASE_CANCELED": "subscription_pending_purchase_canceled",
    "SUBSCRIPTION_PRICE_STEP_UP_CONSENT_UPDATED": "subscription_price_step_up_consent_updated",
    "ONE_TIME_PRODUCT_CANCELED": "pending_purchase_canceled",
    "TEST": "test",
})  # fmt: skip

_MODELS: Mapping[str, type[Event]] = {
    rtdn.SUBSCRIPTION: SubscriptionNotification,
    rtdn.ONE_TIME: OneTimeProductNotification,
    rtdn.VOIDED: VoidedPurchaseNotification,
    rtdn.REVIEW: PendingRefundReviewNotification,
}


def lookups_of(notification: DeveloperNotification) -> tuple[Lookup, ...]:
    """Name what the Play Developer API must be asked; nothing where no answer could give a meaning."""
    event = _read(notification)
    return () if event is None else lookups(event)


def meaning_of(notification: DeveloperNotification, facts: Facts) -> Normalized:
    """Say what a notification means for the one order it names, or for everything that shares its purchase token."""
    word = rtdn.word(notification)
    if word.endswith(rtdn.UNKNOWN):
        return Quarantined("unknown_type", rtdn.describe_unknown(notification))
    if word in IGNORED:
        return Ignored(IGNORED[word])
    event, at_ms = _read(notification), notification.event_time_ms
    if event is None or at_ms is None:
        return Quarantined("unexpected_shape", word)
    means = MEANING[word]
    said = means.says(means, Moment(event, at_ms, facts))
    unlearned = tuple(lookup for lookup in lookups(event) if lookup not in facts)
    return Meaning(said, unlearned) if said else Ignored(word.lower(), unlearned)


def _read(notification: DeveloperNotification) -> Event | None:
    """Read what is special to a notification with a meaning; None where it has none, or an unknown shape."""
    field = rtdn.field(notification)
    if field is None or rtdn.word(notification) not in MEANING:
        return None
    try:
        return _MODELS[field].model_validate(notification.content[field])
    except ValidationError:
        return None
