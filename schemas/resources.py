"""What the API answers with: the fields that users of Clawback hold on to.

Times are integer Unix seconds, money is integer minor units with a lower-case ISO 4217 code. Field descriptions are
part of the published OpenAPI document.
"""

from typing import Any, Literal

from pydantic import Field

from config.products import ProductKind
from schemas.base import Access, Environment, Noun, PlatformName
from schemas.entry import AmountSource, RefundScope, RefundType

RefundStatus = Literal["to_issue", "pending", "requires_action", "succeeded", "failed", "canceled", "reversed"]
EntitlementStatus = Literal["active", "suspended", "revoked", "expired"]
NotificationStatus = Literal["accepted", "processed", "ignored", "quarantined", "dead"]


class Purchase(Noun):
    """One transaction, order, charge or receipt: not a subscription, but one paid period of it."""

    id: str = Field(description="`pur_…`")
    object: Literal["purchase"] = "purchase"
    app: str
    platform: PlatformName
    environment: Environment
    purchase_id: str = Field(description="The platform's: transactionId, orderId, charge, receiptId")
    original_purchase_id: str | None = Field(default=None, description="What its renewals share with it")
    product_id: str | None = None
    kind: ProductKind | None = None
    user_id: str | None = Field(default=None, description="The app's own id of the user; null: nobody said whose it is")
    quantity: int | None = Field(default=None, description="Pieces, or seats")
    amount: int | None = Field(default=None, description="Paid, in minor units")
    amount_refunded: int = Field(default=0, description="Gone back so far, as far as amounts are known")
    units: int | None = Field(default=None, description="Consumables: how many units it was worth")
    units_clawed_back: int = Field(default=0, description="Consumables: how many of them its refunds took back")
    currency: str | None = Field(default=None, description="ISO 4217, lower case")
    purchased_at: int | None = Field(default=None, description="Unix seconds")
    expires_at: int | None = Field(default=None, description="What was paid for lasts to here; null: no known end")
    lapses_at: int | None = Field(
        default=None, description="When it ends without another word: `expires_at`, or later if it may be renewed late"
    )
    access: Access = Access.UNKNOWN
    access_reason: str | None = Field(default=None, description="Why access is not simply active")
    rule: str | None = Field(default=None, description="The policy rule that decided on access")
    entitlements: tuple[str, ...] = Field(default=(), description="Keys its product gives")
    aliases: tuple[str, ...] = Field(default=(), description="Other ids of it, `kind:value`: `payment_intent:pi_…`")
    updated_at: int = Field(default=0, description="When the last thing happened to it, by the platform's clock")


class Refund(Noun):
    """One time that money went back, or was meant to."""

    id: str = Field(description="`re_…`")
    object: Literal["refund"] = "refund"
    app: str
    platform: PlatformName
    environment: Environment
    platform_refund_id: str = Field(description="The platform's id of it; where it gives none, one of ours")
    charge_id: str = Field(description="Our id of the purchase")
    charge: Purchase | None = Field(default=None, description="Only with `include=charge`")
    user_id: str | None = Field(default=None, description="Through the purchase; null: nobody knows whose it is")
    amount: int | None = Field(default=None, description="In minor units")
    amount_source: AmountSource = "unknown"
    currency: str | None = Field(default=None, description="ISO 4217, lower case")
    scope: RefundScope = "unknown"
    status: RefundStatus
    type: RefundType = "refund"
    reason: str | None = Field(default=None, description="In the platform's words")
    description: str | None = None
    quantity: int | None = Field(default=None, description="How many of several went back, where that is known")
    reference: str | None = None
    reference_type: str | None = Field(default=None, description="`acquirer_reference_number`, …")
    reference_status: str | None = Field(default=None, description="`pending`, `available` or `unavailable`")
    receipt_number: str | None = None
    offline: bool = False
    contradiction: str | None = Field(
        default=None, description="Why its money is not believed, with both numbers; it takes no access away"
    )
    failed_reason: str | None = Field(default=None, description="Why it failed; `declined`: the request was refused")
    failed_at: int | None = None
    created_at: int = Field(description="Unix seconds, by the platform's clock")
    updated_at: int = Field(description="Unix seconds, by the platform's clock")


class Entitlement(Noun):
    """What a user may use, as the union over all purchases that give it."""

    object: Literal["entitlement"] = "entitlement"
    app: str
    environment: Environment
    user_id: str
    key: str = Field(description="Its name in the configuration")
    active: bool = Field(description="The answer: whether the user may use it")
    status: EntitlementStatus
    reason: str | None = Field(default=None, description="Why it is not active")
    expires_at: int | None = Field(default=None, description="None: no known end")
    purchases: tuple[str, ...] = Field(default=(), description="Our ids of the purchases behind it, newest first")
    updated_at: int = Field(description="Unix seconds, by the platform's clock")


class Cause(Noun):
    """What made an event: platform and ids are null where it was the API or the clock."""

    platform: PlatformName | None = None
    notification_id: str | None = Field(default=None, description="The platform's own id of the notification")
    notification: str | None = Field(default=None, description="Our id of it, `ntf_…`")
    type: str | None = Field(default=None, description="The platform's word for what happened")
    rule: str | None = Field(default=None, description="The rule that decided")


class Customer(Noun):
    """Whom an event concerns."""

    user_id: str


class Balance(Noun):
    """What becomes of the units that a customer bought with a consumable."""

    product_id: str
    units: int = Field(description="How many units this event takes from the balance, or gives back to it")
    allow_negative: bool = Field(description="Take all of them, below zero if some were spent; else stop at zero")


class EventData(Noun):
    """Everything needed to act without calling back."""

    entitlement: Entitlement | None = None
    refund: Refund | None = None
    purchase: Purchase | None = None
    balance: Balance | None = Field(default=None, description="On `balance.*` only")
    cause: Cause


class Event(Noun):
    """One thing the app's backends are told, exactly once per change, at least once per subscriber."""

    id: str = Field(
        description="`evt_…`, stable over every retry", json_schema_extra={"pattern": "^evt_[0-9A-Za-z_]+$"}
    )
    type: str
    timestamp: str = Field(
        description="When it was told: ISO 8601, UTC, with milliseconds", json_schema_extra={"format": "date-time"}
    )
    app: str
    environment: Environment
    customer: Customer | None = Field(default=None, description="Null: nobody knows whose purchase it is")
    sequence: int | None = Field(default=None, description="Per customer, from 1, gapless; null without a customer")
    data: EventData


class Action(Noun):
    """What an operator is asked to do about a notification."""

    type: Literal["confirm_subscription"]
    topic: str
    token: str
    url: str


class Notification(Noun):
    """One row of the inbox."""

    id: str = Field(description="`ntf_…`")
    object: Literal["notification"] = "notification"
    app: str
    platform: PlatformName
    environment: Environment | None
    notification_id: str = Field(description="The platform's own id")
    type: str
    subtype: str = ""
    occurred_at: int
    received_at: int
    status: NotificationStatus
    reason: str | None = None
    detail: str | None = Field(default=None, description="What the reason is about: both numbers, a field's name")
    attempts: int = 0
    events: tuple[str, ...] = Field(default=(), description="What it had us tell, as far as events are kept")
    stations: dict[str, float] = Field(
        default_factory=dict, description="Milliseconds from receipt to each station it passed"
    )
    action: Action | None = None


class TimelineItem(Noun):
    """One thing that happened to a customer."""

    object: Literal["timeline_item"] = "timeline_item"
    id: str
    type: str = Field(description="`ledger.…` for what a platform said, an event type for what we concluded")
    occurred_at: int
    app: str
    environment: Environment
    platform: PlatformName | None = None
    purchase: str | None = None
    source: str | None = Field(default=None, description="The platform's word, `api` or `clock`")
    rule: str | None = Field(
        default=None,
        description="The policy rule that decided when this was recorded; null: it changed nothing that is told of",
    )
    details: dict[str, Any] = Field(default_factory=dict)


class PurchaseTold(Noun):
    """What an app backend says of a purchase: the body of `POST /v1/purchases`."""

    app: str = Field(min_length=1, max_length=100)
    platform: PlatformName
    environment: Environment
    purchase_id: str = Field(min_length=1, max_length=512)
    product_id: str = Field(min_length=1, max_length=512)
    user_id: str = Field(min_length=1, max_length=512)
    kind: ProductKind | None = None
    quantity: int | None = Field(default=None, ge=1, le=1_000_000)
    amount: int | None = Field(default=None, ge=0, le=2**53 - 1)
    currency: str | None = Field(default=None, pattern=r"^[a-z]{3}$")
    purchased_at: int | None = Field(default=None, ge=0, le=2**40)
    expires_at: int | None = Field(default=None, ge=0, le=2**40)
    original_purchase_id: str | None = Field(default=None, min_length=1, max_length=512)
    purchase_token: str | None = Field(default=None, min_length=1, max_length=4096)
