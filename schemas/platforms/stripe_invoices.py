"""What Stripe bills: invoices and what paid them, credit notes, and the subscriptions behind them, in all shapes.

Until 2025-03-31 (basil) an invoice names its `charge`, `payment_intent` and `subscription`; since then
`parent.subscription_details` names the subscription, and payments are `invoice_payment` objects of their own.
Sources: https://docs.stripe.com/changelog, https://docs.stripe.com/api.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Foreign
from schemas.platforms.stripe_fields import Amount, Currency, Id, Listing, Ref, Seconds, Texts, Words


class Payment(Foreign):
    """What an invoice payment is made of. A charge is named only if no payment intent stands before it."""

    type: str
    charge: Ref | None = None
    payment_intent: Ref | None = None


class InvoicePayment(Foreign):
    """The tie between an invoice and its money since basil. https://docs.stripe.com/api/invoice-payment/object."""

    invoice: Ref | None = None
    status: Words = None
    payment: Payment


class _PriceDetails(Foreign):
    price: Ref | None = None
    product: Ref | None = None


class _Pricing(Foreign):
    price_details: _PriceDetails | None = None


class _Price(Foreign):
    id: Id | None = None
    product: Ref | None = None


class _Period(Foreign):
    start: Seconds
    end: Seconds


class Line(Foreign):
    """One line of an invoice. https://docs.stripe.com/api/invoice-line-item/object."""

    amount: int = 0
    quantity: Annotated[int, Field(ge=0, le=10**9)] | None = None
    period: _Period | None = None
    pricing: _Pricing | None = None
    price: _Price | None = None
    plan: _Price | None = None
    metadata: Texts = Field(default_factory=dict)

    @property
    def ends(self) -> int:
        """Tell when what the line paid for ends; 0: it says nothing, or names a moment."""
        return self.period.end if self.period and self.period.end > self.period.start else 0

    @property
    def product_id(self) -> str | None:
        """Name what was sold: basil's `pricing`, else the older `price` or `plan`; product before price."""
        details = self.pricing and self.pricing.price_details
        old = self.price or self.plan
        names = (details and details.product, old and old.product, details and details.price, old and old.id)
        return next((name for name in names if name), None)


class _SubscriptionDetails(Foreign):
    subscription: Ref | None = None
    metadata: Texts = Field(default_factory=dict)


class _Parent(Foreign):
    subscription_details: _SubscriptionDetails | None = None


class _StatusTransitions(Foreign):
    paid_at: Seconds | None = None


_NOTHING = _SubscriptionDetails()


class Invoice(Foreign):
    """One period or one sale, billed. https://docs.stripe.com/api/invoices/object."""

    object: Literal["invoice"]
    id: Id
    amount_paid: Amount
    currency: Currency
    status: Words = None
    created: Seconds | None = None
    customer: Ref | None = None
    charge: Ref | None = None
    payment_intent: Ref | None = None
    subscription: Ref | None = None
    subscription_details: _SubscriptionDetails | None = None
    parent: _Parent | None = None
    status_transitions: _StatusTransitions | None = None
    metadata: Texts = Field(default_factory=dict)
    lines: Listing[Line] = Listing[Line](data=())
    payments: Listing[InvoicePayment] | None = None

    @property
    def subscription_id(self) -> str | None:
        """Name the subscription: `parent.subscription_details` since basil, `subscription` before."""
        return self._details.subscription or self.subscription

    @property
    def paid_at(self) -> int | None:
        """Tell when it was paid, in Unix seconds."""
        return (self.status_transitions and self.status_transitions.paid_at) or self.created

    @property
    def main_line(self) -> Line:
        """Pick the line that stands for the invoice: what runs longest, and of those what costs most.

        A change of plan adds a negative line for the rest of the old one; one-time items have no period.
        """
        return max(self.lines.data, key=lambda line: (line.ends, line.amount), default=Line())

    @property
    def ends(self) -> int | None:
        """Tell when the paid period ends; None where the invoice bills a moment, or a period that was over (usage)."""
        ends = self.main_line.ends
        return ends if ends > (self.created or 0) else None

    @property
    def used_since(self) -> int | None:
        """Tell when the period began that an invoice bills afterwards; None: it bills what is to come, or a moment."""
        line = self.main_line
        return line.period.start if line.period and 0 < line.ends <= (self.created or 0) else None

    @property
    def all_metadata(self) -> dict[str, str]:
        """Merge metadata, the subscription's own snapshot over the line's over the invoice's."""
        older = self.subscription_details or _NOTHING
        return {**self.metadata, **self.main_line.metadata, **older.metadata, **self._details.metadata}

    @property
    def paid_payments(self) -> tuple[Payment, ...]:
        """List the payments that made it paid, where they are embedded."""
        payments = self.payments.data if self.payments else ()
        return tuple(payment.payment for payment in payments if payment.status == "paid")

    @property
    def _details(self) -> _SubscriptionDetails:
        return (self.parent and self.parent.subscription_details) or _NOTHING


class _Credited(Foreign):
    refund: Ref | None = None


class CreditNote(Foreign):
    """Money taken off an invoice. https://docs.stripe.com/api/credit_notes/object."""

    object: Literal["credit_note"]
    id: Id
    invoice: Ref | None = None
    refund: Ref | None = None
    refunds: Annotated[tuple[_Credited, ...], Field(strict=False)] = ()

    @property
    def refund_ids(self) -> tuple[str, ...]:
        """Name the refunds that paid it out: `refunds` since 2025-03-31 (basil), one `refund` before.

        Money that Stripe did not take (`payment_record_refund`) has no refund of Stripe's.
        """
        named = (self.refund, *(credited.refund for credited in self.refunds))
        return tuple(dict.fromkeys(name for name in named if name))


class _CancellationDetails(Foreign):
    reason: Words = None


class Subscription(Foreign):
    """An agreement that is billed in periods. https://docs.stripe.com/api/subscriptions/object."""

    object: Literal["subscription"]
    id: Id
    status: str | None = None
    ended_at: Seconds | None = None
    cancellation_details: _CancellationDetails | None = None

    @property
    def end_reason(self) -> str | None:
        """Tell why it ended, in Stripe's words."""
        return self.cancellation_details.reason if self.cancellation_details else None
