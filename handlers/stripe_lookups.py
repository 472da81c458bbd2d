"""What an event leaves to be asked of Stripe's API, and what the answer adds: the invoice behind a payment.

Since 2025-03-31 (basil) neither charge, refund nor dispute names its invoice:
https://docs.stripe.com/changelog/basil/2025-03-31/add-support-for-multiple-partial-payments-on-invoices. The events
`invoice_payment.paid` tell the same; an endpoint that listens to them needs no look-up.
"""

from dataclasses import dataclass
from typing import Any

from config.platforms import Stripe
from handlers.stripe_purchases import invoice_subject, say_paid
from handlers.stripe_words import aliases_of, milliseconds, parse, say
from schemas.entry import EntryKind, Said, Subject
from schemas.meaning import Facts, Lookup, Meaning, Missing, Quarantined
from schemas.platforms.stripe import Charge, Dispute, Refund, SnapshotEvent
from schemas.platforms.stripe_fields import Listing
from schemas.platforms.stripe_invoices import Invoice, InvoicePayment

ASKING = (Charge, Dispute, Refund)
"""What may leave its invoice to be asked for."""


@dataclass(frozen=True, slots=True)
class _Learned:
    name: str | None = None
    """The invoice; None: the payment was for none, or for several, which must not become one purchase."""
    invoice: Invoice | None = None
    """What stands on it, where the answer has it expanded."""


def wanted(event: SnapshotEvent, found: Any) -> tuple[Lookup, ...]:
    """Ask only where money moved, a payment intent is named, and no invoice or metadata of its own says for what.

    Nothing is asked of a connected account: the endpoint's own account does not have its payments.
    """
    if not isinstance(found, ASKING):
        return ()
    asks = not isinstance(found, Charge) or _leaves_open(found)
    intent = found.payment_intent if asks and event.connected_account is None else None
    return (Lookup("invoice_payments", intent),) if intent else ()


def with_answers(
    event: SnapshotEvent, said: tuple[Said, ...], asked: tuple[Lookup, ...], facts: Facts, settings: Stripe
) -> Meaning:
    """Add what look-ups told: the invoice becomes a name of the purchase, and says what it sold.

    Args:
        event: what was sent.
        said: what it says by itself; never empty.
        asked: what `wanted` asks of it.
        facts: the answers so far.
        settings: which metadata to read.
    """
    answers = {lookup: _learn(facts[lookup]) for lookup in asked if lookup in facts} if facts else {}
    if not answers:
        return Meaning(said, asked)
    learned = tuple(found for found in answers.values() if found is not None)
    aliases = tuple(alias for found in learned for alias in aliases_of(invoice=found.name))
    named = tuple(_also_called(entry, aliases) for entry in said)
    sold = tuple(_say_invoice(event, named[0].subject, i, settings) for found in learned if (i := found.invoice))
    unlearned = tuple(lookup for lookup in asked if answers.get(lookup) is None)
    return Meaning((*named, *sold), unlearned)


def _leaves_open(charge: Charge) -> bool:
    return charge.is_paid and not charge.invoice and not charge.metadata


def _learn(answer: Any) -> _Learned | None:
    """Read the list of invoice payments of one payment intent; None: that is no answer, and may be asked again.

    An empty list is an answer too, and so is "there is no such payment". https://docs.stripe.com/api/invoice-payment/list.
    """
    if isinstance(answer, Missing):
        return _Learned()
    page = parse(Listing[InvoicePayment], answer)
    if isinstance(page, Quarantined):
        return None
    names = {payment.invoice for payment in page.data if payment.invoice and payment.status != "canceled"}
    name = names.pop() if len(names) == 1 else None
    return _Learned(name, _expanded(answer["data"], name))


def _expanded(payments: list[dict[str, Any]], name: str | None) -> Invoice | None:
    """Read the invoice of this name where it stands in place of its id."""
    for payment in payments:
        invoice = parse(Invoice, payment.get("invoice"))
        if isinstance(invoice, Invoice) and invoice.id == name:
            return invoice
    return None


def _say_invoice(event: SnapshotEvent, subject: Subject, invoice: Invoice, settings: Stripe) -> Said:
    """Say that it was paid, or, of one that is still open, only what it belongs to."""
    billed = invoice_subject(invoice)
    both = Subject(
        purchase_id=subject.purchase_id or billed.purchase_id,
        aliases=tuple(dict.fromkeys((*subject.aliases, *billed.aliases))),
        lineage=billed.lineage,
    )
    if invoice.status not in (None, "paid"):
        return say(event, EntryKind.LINKED, both)
    paid_at_ms = milliseconds(invoice.paid_at) or event.created_ms
    said = say_paid(event, invoice, settings, min(paid_at_ms, event.created_ms))
    return said.model_copy(update={"subject": both})


def _also_called(said: Said, aliases: tuple[str, ...]) -> Said:
    subject = said.subject.model_copy(update={"aliases": (*said.subject.aliases, *aliases)})
    return said.model_copy(update={"subject": subject})
