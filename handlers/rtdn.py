"""Google's words for what a Real-time Developer Notification is about, out of its field names and numbers.

developer.android.com/google/play/billing/rtdn-reference.
"""

from collections.abc import Mapping

from schemas.platforms.google import DeveloperNotification

__all__ = ["ONE_TIME", "REVIEW", "SUBSCRIPTION", "UNKNOWN", "VOIDED", "describe_unknown", "field", "word"]

SUBSCRIPTION = "subscriptionNotification"
ONE_TIME = "oneTimeProductNotification"
VOIDED = "voidedPurchaseNotification"
REVIEW = "pendingRefundReviewNotification"
UNKNOWN = "UNKNOWN"

# A notification has exactly one of these. Beside each its first word, and which number in it says the rest.
_FIELDS: Mapping[str, tuple[str, str]] = {
    SUBSCRIPTION: ("SUBSCRIPTION", "notificationType"),
    ONE_TIME: ("ONE_TIME_PRODUCT", "notificationType"),
    VOIDED: ("VOIDED_PURCHASE", "refundType"),
    REVIEW: ("PENDING_REFUND_REVIEW", ""),
    "testNotification": ("TEST", ""),
}
_COMMON = frozenset({"version", "packageName", "eventTimeMillis"})

# #sub, #one-time and #voided-purchase of the reference, as TYPE or TYPE/SUBTYPE. Subscription types 14, 15, 16
# and 21 mean nothing (yet). Several public maps number 17 to 22 differently; these are the reference's.
_WORDS: Mapping[str, Mapping[int, str]] = {
    SUBSCRIPTION: {
        1: "SUBSCRIPTION_RECOVERED",
        2: "SUBSCRIPTION_RENEWED",
        3: "SUBSCRIPTION_CANCELED",
        4: "SUBSCRIPTION_PURCHASED",
        5: "SUBSCRIPTION_ON_HOLD",
        6: "SUBSCRIPTION_IN_GRACE_PERIOD",
        7: "SUBSCRIPTION_RESTARTED",
        8: "SUBSCRIPTION_PRICE_CHANGE_CONFIRMED",
        9: "SUBSCRIPTION_DEFERRED",
        10: "SUBSCRIPTION_PAUSED",
        11: "SUBSCRIPTION_PAUSE_SCHEDULE_CHANGED",
        12: "SUBSCRIPTION_REVOKED",
        13: "SUBSCRIPTION_EXPIRED",
        17: "SUBSCRIPTION_ITEMS_CHANGED",
        18: "SUBSCRIPTION_CANCELLATION_SCHEDULED",
        19: "SUBSCRIPTION_PRICE_CHANGE_UPDATED",
        20: "SUBSCRIPTION_PENDING_PURCHASE_CANCELED",
        22: "SUBSCRIPTION_PRICE_STEP_UP_CONSENT_UPDATED",
    },
    ONE_TIME: {1: "ONE_TIME_PRODUCT_PURCHASED", 2: "ONE_TIME_PRODUCT_CANCELED"},
    VOIDED: {1: "VOIDED_PURCHASE/FULL_REFUND", 2: "VOIDED_PURCHASE/QUANTITY_BASED_PARTIAL_REFUND"},
}
_DETAIL_LENGTH_MAX = 200


def word(notification: DeveloperNotification) -> str:
    """Translate a notification's field and number; what nobody documented ends in `UNKNOWN`."""
    name = field(notification)
    if name is None:
        return UNKNOWN
    first = _FIELDS[name][0]
    if name not in _WORDS:
        return first
    number = _number(notification, name)
    return _WORDS[name].get(-1 if number is None else number, f"{first}_{UNKNOWN}")


def field(notification: DeveloperNotification) -> str | None:
    """Name the one field that says what a notification is about; None for none, and for more than one."""
    found = [name for name in _FIELDS if name in notification.content]
    return found[0] if len(found) == 1 else None


def describe_unknown(notification: DeveloperNotification) -> str:
    """Name what nobody explained to us, fields or a number, and nothing of what is in them."""
    name = field(notification)
    if name is not None:
        return f"{name} {_FIELDS[name][1]} {_number(notification, name)}"[:_DETAIL_LENGTH_MAX]
    return " ".join(sorted(set(notification.content) - _COMMON))[:_DETAIL_LENGTH_MAX]


def _number(notification: DeveloperNotification, name: str) -> int | None:
    special = notification.content[name]
    number = special.get(_FIELDS[name][1]) if isinstance(special, dict) else None
    return number if type(number) is int else None
