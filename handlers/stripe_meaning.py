"""What each type of Stripe event says of purchases: one table of readers, one of reasons to ignore."""

from collections.abc import Mapping
from types import MappingProxyType

from config.platforms import Stripe
from handlers.stripe_disputes import read_dispute, read_fraud_warning, read_review
from handlers.stripe_lookups import ASKING, wanted, with_answers
from handlers.stripe_purchases import (
    read_canceled_payment,
    read_checkout,
    read_expired_charge,
    read_invoice_payment,
    read_paid_charge,
    read_paid_invoice,
)
from handlers.stripe_refunds import read_credit_note, read_refund, read_refunded_charge
from handlers.stripe_subscriptions import read_ended_subscription, read_subscription
from handlers.stripe_words import Reader, parse
from schemas.base import Foreign
from schemas.meaning import Facts, Ignored, Lookup, Normalized, Quarantined
from schemas.platforms.stripe import (
    Charge,
    CheckoutSession,
    Dispute,
    FraudWarning,
    PaymentIntent,
    Refund,
    Review,
    SnapshotEvent,
)
from schemas.platforms.stripe_invoices import CreditNote, Invoice, InvoicePayment, Subscription

__all__ = ["FOREIGN", "IGNORED", "MEANING", "lookups_of", "meaning_of"]

# https://docs.stripe.com/api/events/types
MEANING: Mapping[str, tuple[type[Foreign], Reader]] = MappingProxyType({
    "refund.created": (Refund, read_refund),
    "refund.updated": (Refund, read_refund),
    "refund.failed": (Refund, read_refund),
    "charge.refund.updated": (Refund, read_refund),
    "charge.refunded": (Charge, read_refunded_charge),
    "charge.succeeded": (Charge, read_paid_charge),
    "charge.captured": (Charge, read_paid_charge),
    "charge.expired": (Charge, read_expired_charge),
    "payment_intent.canceled": (PaymentIntent, read_canceled_payment),
    "charge.dispute.created": (Dispute, read_dispute),
    "charge.dispute.updated": (Dispute, read_dispute),
    "charge.dispute.closed": (Dispute, read_dispute),
    "charge.dispute.funds_withdrawn": (Dispute, read_dispute),
    "charge.dispute.funds_reinstated": (Dispute, read_dispute),
    "radar.early_fraud_warning.created": (FraudWarning, read_fraud_warning),
    "radar.early_fraud_warning.updated": (FraudWarning, read_fraud_warning),
    "review.closed": (Review, read_review),
    "checkout.session.completed": (CheckoutSession, read_checkout),
    "checkout.session.async_payment_succeeded": (CheckoutSession, read_checkout),
    "invoice.paid": (Invoice, read_paid_invoice),
    "invoice.payment_succeeded": (Invoice, read_paid_invoice),
    "invoice_payment.paid": (InvoicePayment, read_invoice_payment),
    "credit_note.created": (CreditNote, read_credit_note),
    "credit_note.updated": (CreditNote, read_credit_note),
    "credit_note.voided": (CreditNote, read_credit_note),
    "customer.subscription.updated": (Subscription, read_subscription),
    "customer.subscription.paused": (Subscription, read_subscription),
    "customer.subscription.resumed": (Subscription, read_subscription),
    "customer.subscription.deleted": (Subscription, read_ended_subscription),
})  # fmt: skip

# Understood, and without effect here. Families in which money may move are listed type by type, so that a new
# type among them is kept for a person to see.
IGNORED: Mapping[str, str] = MappingProxyType({
    "charge.failed": "payment_not_made",
    "charge.pending": "payment_not_made",
    "charge.updated": "charge_changed_without_money",
    "checkout.session.async_payment_failed": "payment_not_made",
    "checkout.session.expired": "checkout_abandoned",
    "customer.created": "customer_record",
    "customer.deleted": "customer_record",
    "customer.updated": "customer_record",
    "customer.subscription.created": "told_by_its_invoice",
    "customer.subscription.pending_update_applied": "told_by_its_invoice",
    "customer.subscription.pending_update_expired": "subscription_not_ended",
    "customer.subscription.trial_will_end": "subscription_not_ended",
    "entitlements.active_entitlement_summary.updated": "entitlements_follow_purchases",
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
    "payment_intent.created": "payment_not_made",
    "payment_intent.partially_funded": "payment_not_made",
    "payment_intent.payment_failed": "payment_not_made",
    "payment_intent.processing": "payment_not_made",
    "payment_intent.requires_action": "payment_not_made",
    "payment_intent.succeeded": "told_by_its_charge",
    "review.opened": "fraud_review_open",
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
    """Say which look-ups would tell more of an event."""
    row = MEANING.get(event.type)
    return wanted(event, parse(row[0], event.subject)) if row and row[0] in ASKING else ()


def meaning_of(event: SnapshotEvent, facts: Facts, settings: Stripe) -> Normalized:
    """Say what a snapshot event means; what is neither in the tables nor understood is kept in quarantine."""
    row = MEANING.get(event.type)
    if row is None:
        return _without_effect(event.type)
    model, reader = row
    found = parse(model, event.subject)
    if isinstance(found, Quarantined):
        return found
    told = reader(event, found, settings)
    return with_answers(event, told, wanted(event, found), facts, settings) if isinstance(told, tuple) else told


def _without_effect(name: str) -> Ignored | Quarantined:
    """Ignore by name what is known to concern no purchase, and keep what is not known."""
    if name.startswith(FOREIGN):
        return Ignored(IGNORED.get(name, "not_about_purchases"))
    return Ignored(IGNORED[name]) if name in IGNORED else Quarantined("unknown_type", name)
