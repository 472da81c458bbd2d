"""What becomes of a subscription between its payments: held back, resumed, ended. Periods are told by invoices."""

from collections.abc import Mapping
from types import MappingProxyType

from config.platforms import Stripe
from handlers.stripe_words import Told, aliases_of, milliseconds, say
from schemas.entry import EntryKind, Subject
from schemas.meaning import Ignored, Quarantined
from schemas.platforms.stripe import SnapshotEvent
from schemas.platforms.stripe_fields import words
from schemas.platforms.stripe_invoices import Subscription

# https://docs.stripe.com/api/subscriptions/object#subscription_object-status. Stripe advises to revoke access when a
# subscription is `unpaid` (https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses), and `paused`
# means that service stops (https://docs.stripe.com/billing/subscriptions/pause); pausing only the collection of
# payments leaves the status as it is. `past_due` is still being collected, and keeps access beyond the paid period.
SUBSCRIPTION_STATUS: Mapping[str | None, EntryKind] = MappingProxyType({
    "active": EntryKind.RESUMED,
    "trialing": EntryKind.RESUMED,
    "past_due": EntryKind.RESUMED,
    "unpaid": EntryKind.SUSPENDED,
    "paused": EntryKind.SUSPENDED,
    "canceled": EntryKind.EXPIRED,
    "incomplete_expired": EntryKind.EXPIRED,
})  # fmt: skip
HELD_BACK = frozenset({"unpaid", "paused"})
RUNNING = frozenset({"active", "trialing"})
OVERDUE = "past_due"
NOT_PAID_YET = "incomplete"


def read_subscription(event: SnapshotEvent, subscription: Subscription, settings: Stripe) -> Told:
    """Follow a subscription by its status.

    It is resumed only where it was held back before: else each change of a running one would say so. Where a payment
    has just become overdue, the paid period's end no longer counts. With `cancel_at_period_end` it is still active, and
    ends when it ends.
    """
    kind = SUBSCRIPTION_STATUS.get(subscription.status)
    if kind is EntryKind.EXPIRED:
        return read_ended_subscription(event, subscription, settings)
    if subscription.status == NOT_PAID_YET:
        return Ignored("subscription_not_paid_yet")
    if kind is None:
        return Quarantined("unknown_subscription_status", str(subscription.status)[:80])
    if subscription.status == OVERDUE and _before(event) in RUNNING:
        kind = EntryKind.RESCHEDULED
    elif kind is EntryKind.RESUMED and not _was_held_back(event):
        return Ignored("subscription_goes_on")
    reason = None if kind is EntryKind.RESUMED else subscription.status
    return (say(event, kind, Subject(lineage=aliases_of(subscription=subscription.id)), reason=reason),)


def read_ended_subscription(event: SnapshotEvent, subscription: Subscription, _settings: Stripe) -> Told:
    """End every period of a subscription at `ended_at`.

    Not at `canceled_at`: with `cancel_at_period_end` that is when the customer asked, periods before the end.
    """
    ended_at_ms = milliseconds(subscription.ended_at) or event.created_ms
    subject = Subject(lineage=aliases_of(subscription=subscription.id))
    reason = subscription.end_reason or subscription.status
    return (say(event, EntryKind.EXPIRED, subject, occurred_at_ms=ended_at_ms, reason=reason),)


def _was_held_back(event: SnapshotEvent) -> bool:
    """Tell whether a subscription goes on after it did not: by the event's name, or the status it had before."""
    return event.type == "customer.subscription.resumed" or _before(event) in HELD_BACK


def _before(event: SnapshotEvent) -> str | None:
    return words(event.before.get("status"))
