"""Money that goes back at the seller's wish: refunds by their status, sums that charges tell, credit notes."""

from collections.abc import Mapping
from types import MappingProxyType

from config.platforms import Stripe
from handlers.stripe_purchases import charge_facts, charge_subject
from handlers.stripe_words import Told, aliases_of, milliseconds, say
from schemas.base import trusted
from schemas.entry import EntryKind, RefundFacts, RefundScope, Subject
from schemas.meaning import Ignored, Quarantined
from schemas.platforms.stripe import Charge, Refund, SnapshotEvent
from schemas.platforms.stripe_invoices import CreditNote

# Of what a shape of `schemas/platforms/stripe.py` has proved.
_subject, _facts = trusted(Subject), trusted(RefundFacts)

# https://docs.stripe.com/api/refunds/object#refund_object-status. A refund may succeed and fail later, when
# the customer's bank sends the money back: https://docs.stripe.com/refunds#failed-refunds.
REFUND_STATUS: Mapping[str | None, EntryKind] = MappingProxyType({
    "pending": EntryKind.REFUND_PENDING,
    "requires_action": EntryKind.REFUND_REQUIRES_ACTION,
    "succeeded": EntryKind.REFUND_SUCCEEDED,
    "failed": EntryKind.REFUND_FAILED,
    "canceled": EntryKind.REFUND_CANCELED,
})  # fmt: skip
MOVING = frozenset({"pending", "requires_action", "succeeded"})


def read_refund(event: SnapshotEvent, refund: Refund, _settings: Stripe) -> Told:
    """Follow one refund by its status. Its charge is the purchase, or its payment intent names it.

    The field may be null; a word that nobody knows is no reason to take access, nor to forget: it is kept.
    """
    if not (refund.charge or refund.payment_intent):
        return Quarantined("refund_without_charge", "a refund of customer balance names no purchase")
    kind = REFUND_STATUS.get(refund.status)
    if kind is None:
        return Quarantined("unknown_refund_status", str(refund.status)[:80])
    subject = _subject(purchase_id=refund.charge, aliases=aliases_of(payment_intent=refund.payment_intent))
    return (say(event, kind, subject, refund=_refund_facts(refund)),)


def read_refunded_charge(event: SnapshotEvent, charge: Charge, settings: Stripe) -> Told:
    """Name each refund that the charge embeds (until 2022-11-15); where that is not all, tell the sum."""
    if contradiction := _contradiction(charge):
        return Quarantined("money_contradicts", contradiction)
    subject, facts = charge_subject(charge), charge_facts(charge, settings)
    scope: RefundScope = "unknown" if charge.refunded else "partial"
    named = tuple(
        say(event, kind, subject, facts=facts, refund=_refund_facts(refund, scope))
        for refund in charge.embedded_refunds
        if (kind := REFUND_STATUS.get(refund.status))
    )
    if named and len(named) == len(charge.embedded_refunds) and not charge.has_more_refunds:
        return named
    total = _refunded_total(charge)
    return (*named, say(event, EntryKind.REFUNDED_TOTAL, subject, facts=facts, refund=total))


def read_credit_note(event: SnapshotEvent, note: CreditNote, _settings: Stripe) -> Told:
    """Tie an invoice to the refunds that paid a credit note out. Voiding the note leaves them as they are.

    Source: https://docs.stripe.com/billing/invoices/credit-notes. What is credited without a refund (an open
    invoice made cheaper, the customer's balance) is no money back.
    """
    if not (note.invoice and note.refund_ids):
        return Ignored("credit_without_refund")
    subject = Subject(aliases=aliases_of(invoice=note.invoice))
    return tuple(
        say(event, EntryKind.LINKED, subject, refund=RefundFacts(platform_refund_id=name)) for name in note.refund_ids
    )


def _refund_facts(refund: Refund, scope: RefundScope = "unknown") -> RefundFacts:
    """Take a refund's fields into our words. The share is unknown here: the paid amount is the purchase's."""
    trace = refund.trace
    return _facts(
        platform_refund_id=refund.id,
        type="reversal" if trace.is_reversal else "refund",
        scope=scope,
        amount=refund.amount,
        amount_source="exact",
        currency=refund.currency,
        reason=refund.reason,
        description=refund.description,
        reference=trace.reference,
        reference_type=trace.reference_type,
        reference_status=trace.reference_status,
        receipt_number=refund.receipt_number,
        failed_reason=refund.failure_reason,
        created_at_ms=milliseconds(refund.created),
    )


def _refunded_total(charge: Charge) -> RefundFacts:
    """Tell how much went back in all: `amount_refunded` is cumulative, so that each sum replaces the one before.

    After a partial capture only the flag `refunded` is believed: see `Charge.embedded_refunds`.
    """
    believed = charge.amount_paid if charge.refunded else None
    amount = believed if charge.partly_captured else charge.amount_refunded
    return RefundFacts(
        platform_refund_id=f"{charge.id}:total",
        scope="full" if charge.refunded else "partial",
        amount=amount,
        amount_source="unknown" if amount is None else "exact",
        currency=charge.currency,
    )


def _contradiction(charge: Charge) -> str | None:
    """Find money that cannot be: more back than was ever held, or another currency; with both numbers.

    A capture may be larger than its authorization: https://docs.stripe.com/payments/overcapture.
    """
    held = max(charge.amount, charge.amount_paid)
    moved = [refund for refund in charge.embedded_refunds if refund.status in MOVING]
    foreign = next((refund for refund in moved if refund.currency != charge.currency), None)
    if foreign:
        return f"{foreign.amount} {foreign.currency} of {held} {charge.currency}"
    gone = max(charge.amount_refunded, sum(refund.amount for refund in moved))
    return f"{gone} of {held} {charge.currency}" if gone > held else None
