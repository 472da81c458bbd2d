"""A Pub/Sub push and the Google Play notification inside it, as far as we know their fields.

Sources: developer.android.com/google/play/billing/rtdn-reference (DeveloperNotification) and
cloud.google.com/pubsub/docs/push (the envelope).
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

from schemas.base import Foreign

Id = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class DeveloperNotification(Foreign):
    """Hold what every Real-time Developer Notification says, and keep what is special to each unread.

    What is special is validated only when its meaning is wanted, so that a new shape is stored and
    quarantined, and never bounced back to Pub/Sub, which would send it again until its retention ends.
    """

    package_name: str
    """Empty where the field is absent or no text: it then belongs to no app."""
    event_time_ms: int | None
    """None where `eventTimeMillis` is absent or no time."""
    content: Mapping[str, Any]
    """Every field that is not null, by Google's names."""


class Push(Foreign):
    """Hold one notification with what its envelope says, be that in the body or in headers."""

    notification: DeveloperNotification
    data_sha256: str
    """Hexadecimal digest of the notification's bytes, the identity of pushes without a message id."""
    message_id: str | None = None
    """Unique within the topic; None for an unwrapped push without metadata."""
    subscription: str = ""
    """`projects/…/subscriptions/…`"""
    publish_time_ms: int | None = None


class _Rtdn(Foreign):
    """Read Google's camelCase names into ours."""

    model_config = ConfigDict(alias_generator=to_camel)


class SubscriptionNotification(_Rtdn):
    """Hold what happened to a subscription, named by the purchase token of all its periods."""

    notification_type: int
    purchase_token: Id
    subscription_id: Id | None = None
    """The product. Still sent (seen in 2025) though no longer documented, so never relied on."""


class OneTimeProductNotification(_Rtdn):
    """Hold what happened to a one-time purchase."""

    notification_type: int
    purchase_token: Id
    sku: Id | None = None


class VoidedPurchaseNotification(_Rtdn):
    """Hold which order was voided; `order_id` names the one billing period that was paid back."""

    purchase_token: Id
    order_id: Id
    product_type: int | None = None
    """1: subscription, 2: one-time."""
    refund_type: int
    """1: full, 2: some units of a multi-quantity purchase."""


class PendingRefundReviewNotification(_Rtdn):
    """Hold a question: the customer's bank wants the money back, and Google asks what the app says to it.

    Its `pendingRefundToken` is left unread: it is the key to answering, and what is not read leaks nowhere.
    """

    order_id: Id
    refund_reason: int | None = None
    """7: chargeback; no other number is documented."""
    obfuscated_account_id: Id | None = None
    """What the app gave Google Play for its user's id."""
