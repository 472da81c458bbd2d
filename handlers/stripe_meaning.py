"""What each type of Stripe event says of purchases: one table of readers, one of reasons to ignore."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from config.platforms import Stripe
from handlers.stripe_readers import (
    Reader,
    aliases_of,
    read_checkout,
    read_dispute,
    read_ended_subscription,
    read_invoice_payment,
    read_paid_charge,
    read_paid_invoice,
    read_refund,
    read_refunded_charge,
)
from schemas.base import Foreign
from schemas.entry import Said
from schemas.meaning import Facts, Ignored, Lookup, Meaning, Normalized, Quarantined
from schemas.platforms.stripe import (
    Charge,
    CheckoutSession,
    Dispute,
    Invoice,
    InvoicePayment,
    Listing,
    Refund,
    SnapshotEvent,
    Subscription,
)

__all__ = ["lookups_of", "meaning_of"]

# https://docs.stripe.com/api/events/types
MEANING: Mapping[str, tuple[type[Foreign], Reader]] = MappingProxyType({
    "refund.created": (Refund, read_refund),
    "refund.updated": (Refund, read_refund),
    "refund.failed": (Refund, read_refund),
    "charge.refund.updated": (Refund, read_refund),
    "charge.refunded": (Charge, read_refunded_charge),
    "charge.succeeded": (Charge, read_paid_charge),
    "charge.captured": (Charge, read_paid_charge),
    "charge.dispute.created": (Dispute, read_dispute),
    "charge.dispute.updated": (Dispute, read_dispute),
    "charge.dispute.closed": (Dispute, read_dispute),
    "charge.dispute.funds_withdrawn": (Dispute, read_dispute),
    "charge.dispute.funds_reinstated": (Dispute, read_dispute),
    "checkout.session.completed": (CheckoutSession, read_checkout),
    "checkout.session.async_payment_succeeded": (CheckoutSession, read_checkout),
    "invoice.paid": (Invoice, read_paid_invoice),
    "invoice.payment_succeeded": (Invoice, read_paid_invoice),
    "invoice_payment.paid": (InvoicePayment, read_invoice_payment),
    "customer.subscription.deleted": (Subscription, read_ended_subscription),
})  # fmt: skip

# Understood, and without effect here. Families in which money may move are listed type by type, so that a new
# type among them is kept for a person to see.
IGNORED: Mapping[str, str] = MappingProxyType({
    "charge.expired": "authorization_expired",
    "charge.failed": "payment_not_made",
    "charge.pending": "payment_not_made",
    "charge.updated": "charge_changed_without_money",
    "checkout.session.async_payment_failed": "payment_not_made",
    "checkout.session.expired": "checkout_abandoned",
    "credit_note.created": "told_by_its_refund",
    "credit_note.updated": "told_by_its_refund",
    "credit_note.voided": "told_by_its_refund",
    "customer.created": "customer_record",
    "customer.deleted": "customer_record",
    "customer.updated": "customer_record",
    "customer.subscription.created": "told_by_its_invoice",
    "customer.subscription.paused": "subscription_not_ended",
    "customer.subscription.pending_update_applied": "told_by_its_invoice",
    "customer.subscription.pending_update_expired": "subscription_not_ended",
    "customer.subscription.resumed": "subscription_not_ended",
    "customer.subscription.trial_will_end": "subscription_not_ended",
    "customer.subscription.updated": "subscription_not_ended",
    "entitlements.active_entitlement_summary.updated": "stripe_entitlements_not_used",
    "invoice.created": "invoice_not_paid",
    "invoice.deleted": "invoice_not_paid",
    "invoice.finalization_failed": "invoice_not_paid",
    "invoice.finalized": "invoice_not_paid",
    "invoice.marked_uncollectible": "invoice_not_paid",
    "invoice.overdue": "invoice_not_paid",
    "invoice.overpaid": "overpaid_to_customer_balance",
    "invoice.payment_action_required": "invoice_not_paid",
    "invoice.payment_attempt_required": "invoice_not_paid",
    "invoice.payment_failed": "invoice_not_paid",
    "invoice.sent": "invoice_not_paid",
    "invoice.upcoming": "invoice_not_paid",
    "invoice.updated": "invoice_changed_without_money",
    "invoice.voided": "invoice_not_paid",
    "invoice.will_be_due": "invoice_not_paid",
    "payment_intent.amount_capturable_updated": "payment_not_made",
    "payment_intent.canceled": "payment_not_made",
    "payment_intent.created": "payment_not_made",
    "payment_intent.partially_funded": "payment_not_made",
    "payment_intent.payment_failed": "payment_not_made",
    "payment_intent.processing": "payment_not_made",
    "payment_intent.requires_action": "payment_not_made",
    "payment_intent.succeeded": "told_by_its_charge",
    "radar.early_fraud_warning.created": "fraud_warning",
    "radar.early_fraud_warning.updated": "fraud_warning",
    "review.closed": "fraud_review",
    "review.opened": "fraud_review",
    "source.refund_attributes_required": "refund_waits_for_bank_details",
    "subscription_schedule.aborted": "subscription_plan",
    "subscription_schedule.canceled": "subscription_plan",
    "subscription_schedule.completed": "subscription_plan",
    "subscription_schedule.created": "subscription_plan",
    "subscription_schedule.expiring": "subscription_plan",
    "subscription_schedule.released": "subscription_plan",
    "subscription_schedule.updated": "subscription_plan",
})  # fmt: skip

# Families whose every type, known or to come, is about something else than what our customers' users bought.
FOREIGN = (
    "account.", "application_fee.", "apps.", "balance.", "balance_settings.", "billing.", "billing_portal.",
    "capability.", "cash_balance.", "climate.", "coupon.", "customer.discount.", "customer.source.",
    "customer.tax_id.", "customer_cash_balance_transaction.", "file.", "financial_connections.", "identity.",
    "invoiceitem.", "issuing_", "mandate.", "payment_link.", "payment_method.", "payout.", "person.", "plan.",
    "price.", "product.", "promotion_code.", "quote.", "reporting.", "reserve.", "setup_intent.", "sigma.",
    "source.", "tax.", "tax_rate.", "terminal.", "test_helpers.", "three_d_secure.", "topup.", "transfer.",
    "treasury.",
)  # fmt: skip


def lookups_of(event: SnapshotEvent) -> tuple[Lookup, ...]:
    """Say which invoice must be asked for: since basil neither charge, refund nor dispute names its own.

    Source: https://docs.stripe.com/changelog/basil/2025-03-31/add-support-for-multiple-partial-payments-on-invoices.
    The events `invoice_payment.paid` tell the same; an endpoint that listens to them needs no look-up.
    """
    row = MEANING.get(event.type)
    return _lookups(_parse(row[0], event.subject)) if row else ()


def meaning_of(event: SnapshotEvent, facts: Facts, settings: Stripe) -> Normalized:
    """Say what a snapshot event means; what is neither in the tables nor understood is kept in quarantine."""
    row = MEANING.get(event.type)
    if row is None:
        return _without_effect(event.type)
    model, reader = row
    found = _parse(model, event.subject)
    if isinstance(found, Quarantined):
        return found
    told = reader(event, found, settings)
    return _with_invoice(told, _lookups(found), facts) if isinstance(told, tuple) else told


def _without_effect(name: str) -> Ignored | Quarantined:
    """Ignore by name what is known to concern no purchase, and keep what is not known."""
    if name.startswith(FOREIGN):
        return Ignored(IGNORED.get(name, "not_about_purchases"))
    return Ignored(IGNORED[name]) if name in IGNORED else Quarantined("unknown_type", name)


def _lookups(found: Any) -> tuple[Lookup, ...]:
    """Ask only where an object names a payment intent, and no invoice or metadata of its own."""
    intent = found.payment_intent if isinstance(found, Charge | Refund | Dispute) else None
    says_enough = isinstance(found, Charge) and (found.invoice or found.metadata)
    return (Lookup("invoice_payments", intent),) if intent and not says_enough else ()


def _parse(model: type[Foreign], value: Any) -> Any:
    """Read an object as what its event's type promises, or name the first field that is not as documented."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        return Quarantined("unexpected_shape", f"{'.'.join(map(str, first['loc']))}: {first['type']}")


def _with_invoice(said: tuple[Said, ...], lookups: tuple[Lookup, ...], facts: Facts) -> Meaning:
    """Add the invoice that a look-up found to every subject: charge and invoice become one purchase."""
    answers = {lookup: _invoices(facts[lookup]) for lookup in lookups if lookup in facts}
    aliases = tuple(alias for found in answers.values() if found is not None for alias in found)
    unlearned = tuple(lookup for lookup in lookups if answers.get(lookup) is None)
    return Meaning(tuple(_also_called(entry, aliases) for entry in said), unlearned)


def _also_called(said: Said, aliases: tuple[str, ...]) -> Said:
    subject = said.subject.model_copy(update={"aliases": (*said.subject.aliases, *aliases)})
    return said.model_copy(update={"subject": subject})


def _invoices(answer: Any) -> tuple[str, ...] | None:
    """Read the list of invoice payments of one payment intent; None: it names no single invoice.

    An empty list is an answer too: the money was not for an invoice.
    """
    page = _parse(Listing[InvoicePayment], answer)
    if isinstance(page, Quarantined):
        return None
    names = {payment.invoice for payment in page.data if payment.invoice and payment.status != "canceled"}
    return None if len(names) > 1 else aliases_of(invoice=next(iter(names), None))
