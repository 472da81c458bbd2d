"""What Stripe sends: snapshot and thin events, and of the objects inside them what concerns purchases.

A snapshot is rendered once, with the API version its endpoint was created with, so old shapes live for years:

- until 2022-11-15 a charge embeds its refunds (`refunds.data`); since then it tells only their sum;
- until 2025-03-31 (basil) a charge names its `invoice`, and an invoice its `charge`, `payment_intent` and
  `subscription`; since then `parent.subscription_details` names the subscription, and payments are
  `invoice_payment` objects of their own.

The models hold both, and every reader looks at which fields are there: the shapes never contradict each
other, while version strings gain words. Sources: https://docs.stripe.com/changelog, https://docs.stripe.com/api.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, StringConstraints

from schemas.base import Foreign

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Item = TypeVar("Item")


def _unexpanded(value: Any) -> Any:
    """Take the id of an object that was expanded in place. https://docs.stripe.com/expand."""
    return value.get("id") if isinstance(value, dict) else value


def _words(value: Any) -> str | None:
    """Read a decoration: text, or nothing. Its shape never stands in the way of the money it decorates."""
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> dict[str, str]:
    """Read metadata: pairs of text, or nothing (PHP senders write an empty object as `[]`)."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {key: text for key, text in pairs if isinstance(text, str) and text}


def _pairs(value: Any) -> dict[str, Any]:
    """Read an optional object whose inside is decoration."""
    return value if isinstance(value, dict) else {}


def _instant(value: Any) -> int:
    """Read the ISO 8601 time of a thin event as Unix milliseconds, without a float."""
    if not isinstance(value, str):
        raise ValueError("not text")  # noqa: TRY004 - pydantic turns only ValueError into its own error
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


Id = Annotated[str, StringConstraints(min_length=1, max_length=255)]
"""Stripe's ids fit in 255 characters: https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backwards-compatible."""
Ref = Annotated[Id, BeforeValidator(_unexpanded)]
Words = Annotated[str | None, BeforeValidator(_words)]
Texts = Annotated[dict[str, str], BeforeValidator(_texts)]
Pairs = Annotated[dict[str, Any], BeforeValidator(_pairs)]
Seconds = Annotated[int, Field(ge=0, le=253_402_300_799)]
"""Unix seconds until the year 9999."""
Amount = Annotated[int, Field(ge=0, le=10**15)]
"""Minor units. Stripe's largest have twelve digits; the bound keeps sums within 64 bits."""
Currency = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z]{3}$", to_lower=True)]


class SnapshotEvent(Foreign):
    """An event with its object inside. https://docs.stripe.com/api/events/object."""

    object: Literal["event"]
    id: Id
    type: Id
    created: Seconds
    livemode: bool
    api_version: Words = None
    account: Words = None
    """The connected account, on events of Connect."""
    data: Any = None

    @property
    def created_ms(self) -> int:
        """Tell when it happened; Stripe's resolution is a second."""
        return self.created * 1000

    @property
    def subject(self) -> Any:
        """Find the object that the event is about."""
        return self.data.get("object") if isinstance(self.data, dict) else None


class ThinEvent(Foreign):
    """An event that only names its object, to be fetched. https://docs.stripe.com/api/v2/core/events/object."""

    object: Literal["v2.core.event"]
    id: Id
    type: Id
    created: Annotated[int, Field(ge=0), BeforeValidator(_instant)]
    """Unix milliseconds, sent as ISO 8601."""
    livemode: bool
    account: Words = None
    """As in a snapshot."""

    @property
    def created_ms(self) -> int:
        """Tell when it happened."""
        return self.created


class Listing(Foreign, Generic[Item]):
    """A list inside an object: its first page. https://docs.stripe.com/api/pagination."""

    data: Annotated[tuple[Item, ...], Field(strict=False)]
    has_more: bool = False


class Refund(Foreign):
    """Money on its way back. https://docs.stripe.com/api/refunds/object."""

    object: Literal["refund"]
    id: Id
    amount: Amount
    currency: Currency
    status: str | None = None
    charge: Ref | None = None
    payment_intent: Ref | None = None
    created: Seconds | None = None
    reason: Words = None
    description: Words = None
    failure_reason: Words = None
    receipt_number: Words = None
    destination_details: Pairs = Field(default_factory=dict)

    @property
    def is_reversal(self) -> bool:
        """Tell whether the payment was taken out of the card's books rather than paid back."""
        kind = self.destination_details.get("type")
        return (kind, self._destination.get("type")) == ("card", "reversal")

    @property
    def reference(self) -> str | None:
        """Find what the customer's bank can trace the money by: `destination_details.<type>.reference`."""
        return _words(self._destination.get("reference"))

    @property
    def _destination(self) -> dict[str, Any]:
        return _pairs(self.destination_details.get(str(self.destination_details.get("type"))))


class Charge(Foreign):
    """Money taken. https://docs.stripe.com/api/charges/object."""

    object: Literal["charge"]
    id: Id
    amount: Amount
    amount_captured: Amount | None = None
    amount_refunded: Amount = 0
    currency: Currency
    created: Seconds
    captured: bool = False
    paid: bool = False
    refunded: bool = False
    status: Words = None
    customer: Ref | None = None
    invoice: Ref | None = None
    payment_intent: Ref | None = None
    metadata: Texts = Field(default_factory=dict)
    refunds: Listing[Refund] | None = None

    @property
    def amount_paid(self) -> int:
        """Tell what was really taken: a capture may take less than was authorized."""
        return self.amount_captured or self.amount

    @property
    def partly_captured(self) -> bool:
        """Tell whether less was taken than was authorized."""
        return self.amount_paid != self.amount

    @property
    def embedded_refunds(self) -> tuple[Refund, ...]:
        """List the refunds told by name, unless one of them may only have released what was never taken.

        Older API versions count what a partial capture leaves behind as refunded, newer ones do not:
        https://docs.stripe.com/payments/place-a-hold-on-a-payment-method#capture-funds.
        """
        return self.refunds.data if self.refunds and not self.partly_captured else ()

    @property
    def has_more_refunds(self) -> bool:
        """Tell whether the charge has refunds that it does not embed."""
        return bool(self.refunds and self.refunds.has_more)

    @property
    def is_paid(self) -> bool:
        """Tell whether the money was taken, not only authorized. `paid` was a status until 2015."""
        return self.captured and (self.status in {"succeeded", "paid"} or (self.status is None and self.paid))


class Dispute(Foreign):
    """A bank's question or claim. https://docs.stripe.com/api/disputes/object."""

    object: Literal["dispute"]
    id: Id
    amount: Amount
    currency: Currency
    status: str
    charge: Ref | None = None
    payment_intent: Ref | None = None
    created: Seconds | None = None
    reason: Words = None


class CheckoutSession(Foreign):
    """A visit to the cash desk. https://docs.stripe.com/api/checkout/sessions/object."""

    object: Literal["checkout.session"]
    id: Id
    mode: Words = None
    payment_status: Words = None
    amount_total: Amount | None = None
    currency: Currency | None = None
    created: Seconds | None = None
    customer: Ref | None = None
    client_reference_id: Words = None
    invoice: Ref | None = None
    payment_intent: Ref | None = None
    subscription: Ref | None = None
    metadata: Texts = Field(default_factory=dict)


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
        """Tell when the paid period ends; None where the invoice bills a period that was over (usage)."""
        ends = self.main_line.ends
        return ends if ends > (self.created or 0) else None

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


class _CancellationDetails(Foreign):
    reason: Words = None


class Subscription(Foreign):
    """An agreement that is billed in periods. https://docs.stripe.com/api/subscriptions/object."""

    object: Literal["subscription"]
    id: Id
    ended_at: Seconds | None = None
    cancellation_details: _CancellationDetails | None = None

    @property
    def end_reason(self) -> str | None:
        """Tell why it ended, in Stripe's words."""
        return self.cancellation_details.reason if self.cancellation_details else None
