"""Money that Stripe took for something: charges, checkout sessions, paid invoices; and what was held and let go."""

from typing import Any

from config.platforms import Stripe
from handlers.stripe_words import Told, aliases_of, buyer, milliseconds, say
from schemas.base import trusted
from schemas.entry import EntryKind, PurchaseFacts, Said, Subject
from schemas.meaning import Ignored, Quarantined
from schemas.platforms.stripe import Charge, CheckoutSession, PaymentIntent, SnapshotEvent
from schemas.platforms.stripe_invoices import Invoice, InvoicePayment

# Of what `Charge` has proved.
_subject, _facts = trusted(Subject), trusted(PurchaseFacts)

# https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-payment_status
CHECKOUT_PAID = frozenset({"paid", "no_payment_required"})


def read_paid_charge(event: SnapshotEvent, charge: Charge, settings: Stripe) -> Told:
    """Count a charge as a purchase once its money was taken; an authorization alone is none."""
    if not charge.is_paid:
        return Ignored("charge_not_captured")
    facts = charge_facts(charge, settings)
    return (say(event, EntryKind.PURCHASED, charge_subject(charge), facts=facts),)


def read_expired_charge(event: SnapshotEvent, charge: Charge, _settings: Stripe) -> Told:
    """End what an app gave on the strength of an authorization that was never captured.

    Source: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method#auth-capture-limitations.
    """
    if charge.captured:
        return Ignored("payment_kept")
    subject = Subject(purchase_id=charge.id, aliases=aliases_of(payment_intent=charge.payment_intent))
    return (say(event, EntryKind.EXPIRED, subject, reason="authorization_expired"),)


def read_canceled_payment(event: SnapshotEvent, intent: PaymentIntent, _settings: Stripe) -> Told:
    """End what an app gave on the strength of a payment that was tried, and canceled before any of it was received.

    A multicapture keeps what it captured when the rest is canceled: https://docs.stripe.com/payments/multicapture.
    The payment of an invoice is canceled too when the invoice is paid in another way; and before an attempt to pay,
    nobody gives anything.
    """
    if intent.amount_received:
        return Ignored("payment_kept")
    if intent.invoice:
        return Ignored("told_by_its_invoice")
    if not intent.was_tried:
        return Ignored("payment_never_tried")
    subject = Subject(aliases=aliases_of(payment_intent=intent.id))
    return (say(event, EntryKind.EXPIRED, subject, reason="payment_canceled"),)


def read_checkout(event: SnapshotEvent, session: CheckoutSession, settings: Stripe) -> Told:
    """Count a session as a purchase once it is paid, or was free; saving a card sells nothing."""
    if session.mode == "setup":
        return Ignored("checkout_without_sale")
    if session.payment_status == "unpaid":
        return Ignored("checkout_unpaid")
    if session.payment_status not in CHECKOUT_PAID:
        return Quarantined("unknown_payment_status", str(session.payment_status)[:80])
    facts = PurchaseFacts(
        product_id=session.metadata.get(settings.product_id_metadata),
        kind="subscription" if session.subscription else None,
        amount=session.amount_total,
        currency=session.currency,
        purchased_at_ms=milliseconds(session.created),
        **buyer(session.metadata, session.client_reference_id, session.customer, settings),
    )
    return (say(event, EntryKind.PURCHASED, checkout_subject(session), facts=facts),)


def read_paid_invoice(event: SnapshotEvent, invoice: Invoice, settings: Stripe) -> Told:
    """Count each paid invoice as a purchase of its own: of one period, or of one thing."""
    return (say_paid(event, invoice, settings),)


def say_paid(event: SnapshotEvent, invoice: Invoice, settings: Stripe, occurred_at_ms: int | None = None) -> Said:
    """Say what a paid invoice sold, at the event's time unless another is given.

    Usage is paid afterwards, and was given when it began. Dated by its payment, the last bill of a subscription would
    be a purchase from after its end, and have none.
    """
    subject = invoice_subject(invoice)
    used_since = milliseconds(invoice.used_since) if subject.lineage else None
    facts = PurchaseFacts(
        **product(invoice, settings),
        kind="subscription" if subject.lineage else None,
        quantity=invoice.main_line.quantity,
        amount=invoice.amount_paid,
        currency=invoice.currency,
        purchased_at_ms=used_since or milliseconds(invoice.paid_at),
        expires_at_ms=milliseconds(invoice.ends) if subject.lineage else None,
        **buyer(invoice.all_metadata, None, invoice.customer, settings),
    )
    when = event.created_ms if occurred_at_ms is None else occurred_at_ms
    return say(event, EntryKind.PURCHASED, subject, facts=facts, occurred_at_ms=min(when, used_since or when))


def product(invoice: Invoice, settings: Stripe) -> dict[str, Any]:
    """Name what an invoice sold: the app's own name in metadata, else Stripe's name on the line as a guess."""
    known = invoice.all_metadata.get(settings.product_id_metadata)
    if known:
        return {"product_id": known, "product_authority": "platform"}
    line = invoice.main_line.product_id
    return {"product_id": line, "product_authority": "guess"} if line else {}


def read_invoice_payment(event: SnapshotEvent, paid: InvoicePayment, _settings: Stripe) -> Told:
    """Tie an invoice to the charge or payment intent that paid it."""
    intent = aliases_of(payment_intent=paid.payment.payment_intent)
    if not paid.invoice or not (intent or paid.payment.charge):
        return Ignored("invoice_paid_outside_stripe")
    subject = Subject(purchase_id=paid.payment.charge, aliases=(*aliases_of(invoice=paid.invoice), *intent))
    return (say(event, EntryKind.LINKED, subject),)


def checkout_subject(session: CheckoutSession) -> Subject:
    """Name a purchase by what a session knows of its payment.

    Only the subscription may be known: then its invoice is the purchase, and no event ties that to the session.
    """
    payment = aliases_of(payment_intent=session.payment_intent, invoice=session.invoice)
    lineage = aliases_of(subscription=session.subscription)
    if lineage and not payment:
        return Subject(lineage=lineage)
    return Subject(aliases=(*payment, *aliases_of(checkout_session=session.id)), lineage=lineage)


def charge_subject(charge: Charge) -> Subject:
    """Name a purchase by everything a charge knows of it."""
    aliases = aliases_of(payment_intent=charge.payment_intent, invoice=charge.invoice)
    return _subject(purchase_id=charge.id, aliases=aliases)


def charge_facts(charge: Charge, settings: Stripe) -> PurchaseFacts:
    """Take what a charge says of the purchase into our words."""
    return _facts(
        product_id=charge.metadata.get(settings.product_id_metadata),
        amount=charge.amount_paid,
        currency=charge.currency,
        purchased_at_ms=milliseconds(charge.created),
        **buyer(charge.metadata, None, charge.customer, settings),
    )


def invoice_subject(invoice: Invoice) -> Subject:
    """Gather the names of what paid an invoice: its own fields before basil, its embedded payments since.

    Several charges may pay one invoice; then none of them is *the* purchase, and the aliases name it.
    """
    charges = {invoice.charge, *(payment.charge for payment in invoice.paid_payments)} - {None}
    intents = dict.fromkeys((invoice.payment_intent, *(payment.payment_intent for payment in invoice.paid_payments)))
    aliases = (
        *aliases_of(invoice=invoice.id),
        *(alias for intent in intents for alias in aliases_of(payment_intent=intent)),
    )
    lineage = aliases_of(subscription=invoice.subscription_id)
    return Subject(purchase_id=charges.pop() if len(charges) == 1 else None, aliases=aliases, lineage=lineage)
