"""How each object that Stripe sends about purchases is read: one reader per object, driven by its status.

A purchase is one charge. Its canonical id is the charge's id and nothing else; what else names it (payment
intent, invoice, checkout session) is an alias, and a subscription is what it shares with its renewals.
Amounts stay in minor units of their currency; nothing here compares currencies or knows their exponents.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from config.platforms import Stripe
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, RefundScope, Said, Subject
from schemas.meaning import Ignored, Quarantined
from schemas.platforms.stripe import (
    Charge,
    CheckoutSession,
    Dispute,
    Invoice,
    InvoicePayment,
    Refund,
    SnapshotEvent,
    Subscription,
)

Told = tuple[Said, ...] | Ignored | Quarantined
Reader = Callable[[SnapshotEvent, Any, Stripe], Told]

# https://docs.stripe.com/api/refunds/object#refund_object-status. A refund may succeed and fail later, when
# the customer's bank sends the money back: https://docs.stripe.com/refunds#failed-refunds.
REFUND_STATUS: Mapping[str | None, EntryKind] = MappingProxyType({
    "pending": EntryKind.REFUND_PENDING,
    "requires_action": EntryKind.REFUND_REQUIRES_ACTION,
    "succeeded": EntryKind.REFUND_SUCCEEDED,
    "failed": EntryKind.REFUND_FAILED,
    "canceled": EntryKind.REFUND_CANCELED,
})  # fmt: skip

# https://docs.stripe.com/api/disputes/object#dispute_object-status. `warning_*` are inquiries: no money has
# moved (https://docs.stripe.com/disputes/how-disputes-work#inquiries). A prevented dispute was settled before
# it became a chargeback; where that took a refund, the refund has its own events.
DISPUTE_STATUS: Mapping[str, EntryKind] = MappingProxyType({
    "warning_needs_response": EntryKind.INQUIRY_OPENED,
    "warning_under_review": EntryKind.INQUIRY_OPENED,
    "warning_closed": EntryKind.INQUIRY_CLOSED,
    "prevented": EntryKind.INQUIRY_CLOSED,
    "needs_response": EntryKind.CHARGEBACK_OPENED,
    "under_review": EntryKind.CHARGEBACK_OPENED,
    "won": EntryKind.CHARGEBACK_WON,
    "lost": EntryKind.CHARGEBACK_LOST,
})  # fmt: skip
# An appeal asks for another verdict, and until it comes the last one stands: `won` or `lost` follows.
DISPUTE_APPEALED = frozenset({"appeal_needs_response", "appeal_under_review"})

# https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-payment_status
CHECKOUT_PAID = frozenset({"paid", "no_payment_required"})


def read_refund(event: SnapshotEvent, refund: Refund, _settings: Stripe) -> Told:
    """Follow one refund by its status. Its charge is the purchase, or its payment intent names it."""
    subject = Subject(purchase_id=refund.charge, aliases=aliases_of(payment_intent=refund.payment_intent))
    if subject == Subject():
        return Quarantined("refund_without_charge", "a refund of customer balance names no purchase")
    kind = REFUND_STATUS.get(refund.status)
    if kind is None:
        return Quarantined("unknown_refund_status", str(refund.status)[:80])
    return (_said(event, kind, subject, refund=_refund_facts(refund)),)


def read_paid_charge(event: SnapshotEvent, charge: Charge, settings: Stripe) -> Told:
    """Count a charge as a purchase once its money was taken; an authorization alone is none."""
    if not charge.is_paid:
        return Ignored("charge_not_captured")
    facts = _charge_facts(charge, settings)
    return (_said(event, EntryKind.PURCHASED, _charge_subject(charge), facts=facts),)


def read_refunded_charge(event: SnapshotEvent, charge: Charge, settings: Stripe) -> Told:
    """Name each refund that the charge embeds (until 2022-11-15); where that is not all, tell the sum."""
    subject, facts = _charge_subject(charge), _charge_facts(charge, settings)
    scope: RefundScope = "unknown" if charge.refunded else "partial"
    named = tuple(
        _said(event, kind, subject, facts=facts, refund=_refund_facts(refund, scope))
        for refund in charge.embedded_refunds
        if (kind := REFUND_STATUS.get(refund.status))
    )
    if named and len(named) == len(charge.embedded_refunds) and not charge.has_more_refunds:
        return named
    total = _refunded_total(charge)
    return (*named, _said(event, EntryKind.REFUNDED_TOTAL, subject, facts=facts, refund=total))


def read_dispute(event: SnapshotEvent, dispute: Dispute, _settings: Stripe) -> Told:
    """Follow one dispute by its status. Its amount may differ from the charge's, in size and in currency."""
    subject = Subject(purchase_id=dispute.charge, aliases=aliases_of(payment_intent=dispute.payment_intent))
    if subject == Subject():
        return Quarantined("dispute_without_charge")
    if dispute.status in DISPUTE_APPEALED:
        return Ignored("dispute_appealed")
    kind = DISPUTE_STATUS.get(dispute.status)
    if kind is None:
        return Quarantined("unknown_dispute_status", dispute.status[:80])
    facts = RefundFacts(
        platform_refund_id=dispute.id,
        type="chargeback",
        amount=dispute.amount,
        amount_source="exact",
        currency=dispute.currency,
        reason=dispute.reason,
        created_at_ms=_ms(dispute.created),
    )
    return (_said(event, kind, subject, refund=facts),)


def read_checkout(event: SnapshotEvent, session: CheckoutSession, settings: Stripe) -> Told:
    """Count a session as a purchase once it is paid, or was free; saving a card sells nothing."""
    if session.mode == "setup":
        return Ignored("checkout_without_sale")
    if session.payment_status == "unpaid":
        return Ignored("checkout_unpaid")
    if session.payment_status not in CHECKOUT_PAID:
        return Quarantined("unknown_payment_status", str(session.payment_status)[:80])
    aliases = aliases_of(payment_intent=session.payment_intent, invoice=session.invoice)
    lineage = aliases_of(subscription=session.subscription)
    facts = PurchaseFacts(
        product_id=session.metadata.get(settings.product_id_metadata),
        kind="subscription" if lineage else None,
        amount=session.amount_total,
        currency=session.currency,
        purchased_at_ms=_ms(session.created),
        **_buyer(session.metadata, session.client_reference_id, session.customer, settings),
    )
    subject = Subject(aliases=aliases or aliases_of(checkout_session=session.id), lineage=lineage)
    return (_said(event, EntryKind.PURCHASED, subject, facts=facts),)


def read_paid_invoice(event: SnapshotEvent, invoice: Invoice, settings: Stripe) -> Told:
    """Count each paid invoice as a purchase of its own: of one period, or of one thing."""
    lineage = aliases_of(subscription=invoice.subscription_id)
    facts = PurchaseFacts(
        product_id=invoice.all_metadata.get(settings.product_id_metadata) or invoice.main_line.product_id,
        kind="subscription" if lineage else None,
        quantity=invoice.main_line.quantity,
        amount=invoice.amount_paid,
        currency=invoice.currency,
        purchased_at_ms=_ms(invoice.paid_at),
        expires_at_ms=_ms(invoice.ends) if lineage else None,
        **_buyer(invoice.all_metadata, None, invoice.customer, settings),
    )
    return (_said(event, EntryKind.PURCHASED, _invoice_subject(invoice, lineage), facts=facts),)


def read_invoice_payment(event: SnapshotEvent, paid: InvoicePayment, _settings: Stripe) -> Told:
    """Tie an invoice to the charge or payment intent that paid it."""
    intent = aliases_of(payment_intent=paid.payment.payment_intent)
    if not paid.invoice or not (intent or paid.payment.charge):
        return Ignored("invoice_paid_outside_stripe")
    subject = Subject(purchase_id=paid.payment.charge, aliases=(*aliases_of(invoice=paid.invoice), *intent))
    return (_said(event, EntryKind.LINKED, subject),)


def read_ended_subscription(event: SnapshotEvent, subscription: Subscription, _settings: Stripe) -> Told:
    """End every period of a subscription at `ended_at`.

    Not at `canceled_at`: with `cancel_at_period_end` that is when the customer asked, periods before the end.
    """
    ended_at_ms = _ms(subscription.ended_at) or event.created_ms
    subject = Subject(lineage=aliases_of(subscription=subscription.id))
    reason = subscription.end_reason
    return (_said(event, EntryKind.EXPIRED, subject, occurred_at_ms=ended_at_ms, reason=reason),)


def aliases_of(**ids: str | None) -> tuple[str, ...]:
    """Write the ids that are there as `kind:value`."""
    return tuple(f"{kind}:{value}" for kind, value in ids.items() if value)


def _refund_facts(refund: Refund, scope: RefundScope = "unknown") -> RefundFacts:
    """Take a refund's fields into our words. The share is unknown here: the paid amount is the purchase's."""
    return RefundFacts(
        platform_refund_id=refund.id,
        type="reversal" if refund.is_reversal else "refund",
        scope=scope,
        amount=refund.amount,
        amount_source="exact",
        currency=refund.currency,
        reason=refund.reason,
        description=refund.description,
        reference=refund.reference,
        receipt_number=refund.receipt_number,
        failed_reason=refund.failure_reason,
        created_at_ms=_ms(refund.created),
    )


def _charge_subject(charge: Charge) -> Subject:
    aliases = aliases_of(payment_intent=charge.payment_intent, invoice=charge.invoice)
    return Subject(purchase_id=charge.id, aliases=aliases)


def _charge_facts(charge: Charge, settings: Stripe) -> PurchaseFacts:
    return PurchaseFacts(
        product_id=charge.metadata.get(settings.product_id_metadata),
        amount=charge.amount_paid,
        currency=charge.currency,
        purchased_at_ms=_ms(charge.created),
        **_buyer(charge.metadata, None, charge.customer, settings),
    )


def _refunded_total(charge: Charge) -> RefundFacts:
    """Tell how much went back in all.

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


def _invoice_subject(invoice: Invoice, lineage: tuple[str, ...]) -> Subject:
    """Gather the names of what paid an invoice: its own fields before basil, its embedded payments since.

    Several charges may pay one invoice; then none of them is *the* purchase, and the aliases name it.
    """
    charges = {invoice.charge, *(payment.charge for payment in invoice.paid_payments)} - {None}
    intents = dict.fromkeys((invoice.payment_intent, *(payment.payment_intent for payment in invoice.paid_payments)))
    aliases = (
        *aliases_of(invoice=invoice.id),
        *(alias for intent in intents for alias in aliases_of(payment_intent=intent)),
    )
    return Subject(purchase_id=charges.pop() if len(charges) == 1 else None, aliases=aliases, lineage=lineage)


def _said(event: SnapshotEvent, kind: EntryKind, subject: Subject, **more: Any) -> Said:
    """Say one thing, at the event's time unless `more` knows a better one."""
    environment = "production" if event.livemode else "sandbox"
    return Said(
        **{"kind": kind, "occurred_at_ms": event.created_ms, "environment": environment, "subject": subject} | more
    )


def _buyer(
    metadata: Mapping[str, str], reference: str | None, customer: str | None, settings: Stripe
) -> dict[str, Any]:
    """Name the user: the app's own id in metadata or `client_reference_id`, else the customer as a guess."""
    known = metadata.get(settings.user_id_metadata) or reference
    if known:
        return {"user_id": known, "user_authority": "platform"}
    return {"user_id": customer, "user_authority": "guess"} if customer else {}


def _ms(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 1000
