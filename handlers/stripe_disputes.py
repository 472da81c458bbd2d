"""Money that the bank takes, and what warns of it: disputes by their status, early fraud warnings, reviews."""

from collections.abc import Mapping
from types import MappingProxyType

from config.platforms import Stripe
from handlers.stripe_words import Told, aliases_of, milliseconds, say
from schemas.entry import EntryKind, RefundFacts, Subject
from schemas.meaning import Ignored, Quarantined
from schemas.platforms.stripe import Dispute, FraudWarning, Review, SnapshotEvent

# https://docs.stripe.com/api/disputes/object#dispute_object-status. `warning_*` are inquiries: no money has moved
# (https://docs.stripe.com/disputes/how-disputes-work#inquiries).
DISPUTE_STATUS: Mapping[str, EntryKind] = MappingProxyType({
    "warning_needs_response": EntryKind.INQUIRY_OPENED,
    "warning_under_review": EntryKind.INQUIRY_OPENED,
    "warning_closed": EntryKind.INQUIRY_CLOSED,
    # Blocked or resolved before it became a chargeback
    # (https://docs.stripe.com/changelog/basil/2025-08-27/add-preventions-to-dispute). Where that took a refund, the
    # refund has its own events; where the dispute itself took the money, see `Dispute.kept_the_money`.
    "prevented": EntryKind.INQUIRY_CLOSED,
    "needs_response": EntryKind.CHARGEBACK_OPENED,
    "under_review": EntryKind.CHARGEBACK_OPENED,
    "won": EntryKind.CHARGEBACK_WON,
    "lost": EntryKind.CHARGEBACK_LOST,
    # The verdict is open again. After a won case that is a claim like the first one; after a lost case the ledger
    # passes over it (`handlers/refunds.py: REFUSED`), so that access stays away until the appeal is won.
    "appeal_needs_response": EntryKind.CHARGEBACK_OPENED,
    "appeal_under_review": EntryKind.CHARGEBACK_OPENED,
})  # fmt: skip
PREVENTED = "prevented"


def read_dispute(event: SnapshotEvent, dispute: Dispute, _settings: Stripe) -> Told:
    """Follow one dispute by its status, whichever event brought it.

    `funds_withdrawn` and `funds_reinstated` tell of the account's balance, and carry the status that goes with it.
    The amount may differ from the charge's, in size and in currency: it follows the bank's rate of exchange.
    """
    if not (dispute.charge or dispute.payment_intent):
        return Quarantined("dispute_without_charge")
    kind = DISPUTE_STATUS.get(dispute.status)
    if kind is None:
        return Quarantined("unknown_dispute_status", dispute.status[:80])
    if dispute.status == PREVENTED and dispute.kept_the_money:
        kind = EntryKind.CHARGEBACK_LOST
    subject = Subject(purchase_id=dispute.charge, aliases=aliases_of(payment_intent=dispute.payment_intent))
    return (say(event, kind, subject, refund=_dispute_facts(dispute)),)


def read_fraud_warning(event: SnapshotEvent, warning: FraudWarning, _settings: Stripe) -> Told:
    """Show people that a bank takes a charge for fraud. No money has moved.

    Source: https://docs.stripe.com/disputes/measuring#early-fraud-warnings.
    """
    return _signal(event, warning, f"early_fraud_warning:{warning.fraud_type or 'unknown'}")


def read_review(event: SnapshotEvent, review: Review, _settings: Stripe) -> Told:
    """Show people how a review ended. A refund or dispute that it led to has its own events.

    Source: https://docs.stripe.com/radar/reviews.
    """
    return _signal(event, review, f"review_closed:{review.closed_reason or 'unknown'}")


def _signal(event: SnapshotEvent, found: FraudWarning | Review, reason: str) -> Told:
    subject = Subject(purchase_id=found.charge, aliases=aliases_of(payment_intent=found.payment_intent))
    if subject == Subject():
        return Ignored("signal_without_charge")
    return (say(event, EntryKind.SIGNALED, subject, reason=reason[:80]),)


def _dispute_facts(dispute: Dispute) -> RefundFacts:
    return RefundFacts(
        platform_refund_id=dispute.id,
        type="chargeback",
        amount=dispute.amount,
        amount_source="exact",
        currency=dispute.currency,
        reason=dispute.reason,
        created_at_ms=milliseconds(dispute.created),
    )
