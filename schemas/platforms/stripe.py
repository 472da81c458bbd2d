"""What Stripe sends: snapshot and thin events, and of the objects inside them those that move money.

A snapshot is rendered once, with the API version its endpoint was created with, so old shapes live for years:

- until 2022-11-15 a charge embeds its refunds (`refunds.data`), and a payment intent its charges; since then a charge
  tells only the sum, and a payment intent names its `latest_charge`;
- until 2025-03-31 (basil) charges and payment intents name their `invoice`.

The models hold both, and every reader looks at which fields are there: the shapes never contradict each
other, while version strings gain words. Sources: https://docs.stripe.com/changelog, https://docs.stripe.com/api.
"""

from typing import Any, Literal, NamedTuple

from pydantic import Field

from schemas.base import Foreign
from schemas.platforms.stripe_fields import (
    Amount,
    Currency,
    Id,
    Listing,
    Moment,
    Pairs,
    Ref,
    Seconds,
    Texts,
    Words,
    pairs,
    words,
)


class _Event(Foreign):
    id: Id
    type: Id
    livemode: bool
    account: Words = None
    """The connected account, on events of Connect."""
    context: Words = None
    """The account as an organization names it: `platform/connected`. https://docs.stripe.com/context."""

    @property
    def connected_account(self) -> str | None:
        """Name the connected account on which it happened; None: the endpoint's own account, or one it organizes."""
        if self.account or self.context is None:
            return self.account
        platform, _, connected = self.context.rpartition("/")
        return connected if platform else None


class SnapshotEvent(_Event):
    """An event with its object inside. https://docs.stripe.com/api/events/object."""

    object: Literal["event"]
    created: Seconds
    api_version: Words = None
    data: Any = None

    @property
    def created_ms(self) -> int:
        """Tell when it happened; Stripe's resolution is a second."""
        return self.created * 1000

    @property
    def subject(self) -> Any:
        """Find the object that the event is about."""
        return pairs(self.data).get("object")

    @property
    def before(self) -> dict[str, Any]:
        """Tell the earlier values of what changed. https://docs.stripe.com/api/events/object#event_object-data."""
        return pairs(pairs(self.data).get("previous_attributes"))


class ThinEvent(_Event):
    """An event that only names its object, to be fetched. https://docs.stripe.com/api/v2/core/events/object."""

    object: Literal["v2.core.event"]
    created: Moment

    @property
    def created_ms(self) -> int:
        """Tell when it happened."""
        return self.created


class Trace(NamedTuple):
    """How money went back, and by what the customer's bank can find it: `destination_details.<type>`.

    Attributes:
        is_reversal: the payment was taken out of the card's books rather than paid back.
        reference_type: on cards, which number it is: that of the acquirer (ARN), the trace (STAN), the retrieval.
            https://support.stripe.com/questions/how-to-trace-a-refund-using-reference-numbers.
        reference_status: whether the bank has given the reference: `pending`, `available` or `unavailable`.
    """

    is_reversal: bool = False
    reference: str | None = None
    reference_type: str | None = None
    reference_status: str | None = None


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
    def trace(self) -> Trace:
        """Tell how it went back; nothing, where nobody says."""
        details = self.destination_details
        if not details:
            return Trace()
        kind = details.get("type")
        found = pairs(details.get(str(kind)))
        return Trace(
            is_reversal=(kind, found.get("type")) == ("card", "reversal"),
            reference=words(found.get("reference")),
            reference_type=words(found.get("reference_type")),
            reference_status=words(found.get("reference_status")),
        )


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
        return self.amount_paid < self.amount

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
    balance_transactions: Any = None

    @property
    def kept_the_money(self) -> bool:
        """Tell whether it took money out of the account's balance and put none back.

        Amounts of balance transactions are in the account's own currency: only their signs are read.
        """
        moves = self.balance_transactions if isinstance(self.balance_transactions, list) else ()
        amounts = [amount for move in moves if isinstance(amount := pairs(move).get("amount"), int)]
        return any(amount < 0 for amount in amounts) and not any(amount > 0 for amount in amounts)


class FraudWarning(Foreign):
    """A bank's word that a charge may be fraud. https://docs.stripe.com/api/radar/early_fraud_warnings/object."""

    object: Literal["radar.early_fraud_warning"]
    id: Id
    charge: Ref | None = None
    payment_intent: Ref | None = None
    fraud_type: Words = None


class Review(Foreign):
    """A person's look at a payment. https://docs.stripe.com/api/radar/reviews/object."""

    object: Literal["review"]
    id: Id
    charge: Ref | None = None
    payment_intent: Ref | None = None
    closed_reason: Words = None


class PaymentIntent(Foreign):
    """A payment from the wish to the money. https://docs.stripe.com/api/payment_intents/object."""

    object: Literal["payment_intent"]
    id: Id
    amount_received: Amount = 0
    invoice: Ref | None = None
    latest_charge: Ref | None = None
    charges: Pairs = Field(default_factory=dict)

    @property
    def was_tried(self) -> bool:
        """Tell whether any charge was ever made for it: `latest_charge`, or `charges` until 2022-11-15."""
        return bool(self.latest_charge or self.charges.get("data"))


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
