"""Ledger entries: what is known to have happened to purchases, in our words, with the platform's own times.

An entry never changes and is never deleted. The state of a purchase is a fold over the entries that concern it
(`handlers/ledger.py`), so the order in which entries arrive does not matter.
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from config.products import ProductKind
from schemas.base import Environment, Noun, PlatformName

AmountSource = Literal["exact", "estimated", "unknown"]
RefundScope = Literal["full", "partial", "quantity", "prorated", "unknown"]
RefundType = Literal["refund", "reversal", "chargeback", "void"]
Authority = Literal["platform", "app", "guess"]


class EntryKind(StrEnum):
    """Everything that can happen to a purchase. Past tense: entries are facts, not orders."""

    LINKED = "linked"
    """Two ids turned out to name the same purchase or lineage; nothing else is said."""
    TOLD = "told"
    """The app's backend told us of the purchase."""
    PURCHASED = "purchased"
    RENEWED = "renewed"
    """The same purchase (or, for a whole lineage, its newest) was paid for another period."""
    EXPIRED = "expired"
    """The platform says it ended."""
    LAPSED = "lapsed"
    """Our clock passed `expires_at` and no platform said anything. Void if a later expiry becomes known."""
    REVOKED = "revoked"
    """The platform took access back without saying that money moved (Google's REVOKED)."""
    MEMBER_REMOVED = "member_removed"
    """A family or seat member no longer shares what somebody else pays for."""
    CONSENT_RESCINDED = "consent_rescinded"
    """A guardian withdrew consent to a child's use of the app."""
    SUSPENDED = "suspended"
    """The platform holds access back: a payment is overdue, or the customer paused."""
    RESUMED = "resumed"
    """What was suspended goes on, without another payment."""
    RESCHEDULED = "rescheduled"
    """It ends at another time than was paid for: a grace period, a deferral, an extension. Nothing was paid."""
    SIGNALED = "signaled"
    """A warning for people to see (a fraud warning, a closed review). It changes nothing."""
    REFUND_REQUESTED = "refund_requested"
    """The customer asked for the money, and the platform has not decided."""
    REFUND_DECLINED = "refund_declined"
    """The platform decided against a refund that was asked for."""
    REFUND_PENDING = "refund_pending"
    REFUND_REQUIRES_ACTION = "refund_requires_action"
    REFUND_SUCCEEDED = "refund_succeeded"
    REFUND_CANCELED = "refund_canceled"
    REFUND_FAILED = "refund_failed"
    REFUND_REVERSED = "refund_reversed"
    """The refund was undone: the customer paid after all."""
    REFUNDED_TOTAL = "refunded_total"
    """The platform told how much of the purchase went back in all, without naming the refund."""
    INQUIRY_OPENED = "inquiry_opened"
    INQUIRY_CLOSED = "inquiry_closed"
    CHARGEBACK_OPENED = "chargeback_opened"
    CHARGEBACK_WON = "chargeback_won"
    CHARGEBACK_LOST = "chargeback_lost"


class Subject(Noun):
    """Which purchase an entry is about, by every id that its source knows.

    With neither `purchase_id` nor `aliases` the entry is about the whole lineage: a subscription with all its
    periods (Google's purchase token, Stripe's subscription).
    """

    purchase_id: str | None = None
    """The platform's id of the purchase: transactionId, orderId, charge, receiptId."""
    aliases: tuple[str, ...] = ()
    """Other ids of the same purchase, `kind:value`: `payment_intent:pi_…`, `invoice:in_…`."""
    lineage: tuple[str, ...] = ()
    """Ids that this purchase shares with its renewals: `original:…`, `token:…`, `subscription:…`."""
    kin: tuple[str, ...] = ()
    """Ids that it shares with everything else the same store account bought in this app: `app_transaction:…`.

    What names nothing but these concerns all of it. What names a lineage concerns that lineage alone.
    """

    @property
    def whole_lineage(self) -> bool:
        """Tell whether this names no single purchase."""
        return not self.purchase_id and not self.aliases


class PurchaseFacts(Noun):
    """What an entry says about the purchase itself. None: it does not say."""

    product_id: str | None = None
    product_authority: Authority = "platform"
    """Who says so; a guess is a name that the platform gave the product, where the app may use another."""
    kind: ProductKind | None = None
    user_id: str | None = None
    user_authority: Authority = "platform"
    """Who says so: the platform (it carries the app's own id), the app's backend, or a guess (a Stripe customer)."""
    quantity: int | None = Field(default=None, ge=0)
    quantity_left: int | None = Field(default=None, ge=0)
    """How many of several have not been refunded so far (Google's refundableQuantity)."""
    amount: int | None = Field(default=None, ge=0)
    """Minor units of `currency`."""
    currency: str | None = None
    """Lower-case ISO 4217."""
    purchased_at_ms: int | None = None
    expires_at_ms: int | None = None


class RefundFacts(Noun):
    """What an entry says about one refund, reversal or chargeback."""

    platform_refund_id: str
    """The platform's id; where it gives none, one made of what identifies the refund there."""
    type: RefundType = "refund"
    scope: RefundScope = "unknown"
    amount: int | None = Field(default=None, ge=0)
    amount_source: AmountSource = "unknown"
    currency: str | None = None
    share_millis: int | None = Field(default=None, ge=0, le=100_000)
    """The refunded share in thousandths of a percent (Apple's revocationPercentage)."""
    quantity: int | None = Field(default=None, ge=0)
    """How many of several went back."""
    seats: int | None = Field(default=None, ge=0)
    """How many seats of several went back: the purchaser keeps the purchase, however many they are."""
    reason: str | None = None
    description: str | None = None
    reference: str | None = None
    reference_type: str | None = None
    """What kind of number the reference is: `acquirer_reference_number`, `system_trace_audit_number`, …"""
    reference_status: str | None = None
    """Whether the bank has told the reference: `pending`, `available`, `unavailable`."""
    receipt_number: str | None = None
    failed_reason: str | None = None
    created_at_ms: int | None = None


class Source(Noun):
    """Where an entry comes from, for the timeline and for the `cause` of every event."""

    notification: str | None = None
    """Our id of the notification (`ntf_…`); None: the API or our own clock."""
    notification_id: str | None = None
    """The platform's own id of it."""
    type: str
    """The platform's word: `REFUND`, `charge.refunded`, `voidedPurchaseNotification`; `api`; `clock`."""


class Said(Noun):
    """One thing a notification says, before it is known which notification: what `normalize` returns."""

    kind: EntryKind
    occurred_at_ms: int
    """The platform's own time, Unix milliseconds. The fold's order."""
    subject: Subject
    environment: Environment | None = None
    """None: the platform does not say."""
    facts: PurchaseFacts = PurchaseFacts()
    refund: RefundFacts | None = None
    reason: str | None = None
    """Why access ended, in the platform's words, where it says."""

    @property
    def whole_lineage(self) -> bool:
        """Tell whether this is about every purchase of the lineage. Money never is: a refund names its purchase."""
        return self.refund is None and self.subject.whole_lineage

    @property
    def names(self) -> tuple[str, ...]:
        """List every id of the one purchase that this is about. A refund belongs to one purchase: its id names it."""
        subject, refund = self.subject, self.refund
        own = (f"purchase:{name}", *subject.aliases) if (name := subject.purchase_id) else subject.aliases
        return (*own, f"refund:{refund.platform_refund_id}") if refund is not None else own

    @property
    def refs(self) -> tuple[str, ...]:
        """List every id under which the purchase or lineage that this is about can be found."""
        subject = self.subject
        return (*self.names, *subject.lineage, *subject.kin)


class Entry(Said):
    """One thing said, tied to where it was said and to its place in the ledger."""

    id: str
    """`ent_…`, made of the notification's identity and position: the same notification gives the same ids."""
    app: str
    platform: PlatformName
    source: Source
    revision: int = Field(default=0, ge=0)
    """Of what one notification said, only the highest revision counts: it was read again, knowing more."""
