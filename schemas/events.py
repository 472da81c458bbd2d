"""Every type of event that is told: what it means, and what it carries beside what all of them do.

What is published of these, as JSON Schema, is in docs/events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import Field

from schemas.base import Noun
from schemas.resources import (
    Balance,
    Customer,
    Entitlement,
    EntitlementStatus,
    Event,
    EventData,
    Purchase,
    Refund,
    RefundStatus,
)

PURCHASES_MAX: Final = 100
ALIASES_MAX: Final = 20
TEXT_CHARACTERS_MAX: Final = 300
"""How much an event shows of what can grow: with that it stays below the 20 kB that Standard Webhooks advises."""

BOUNDS: Final[Mapping[type[Noun], Mapping[str, int]]] = {
    Entitlement: {"purchases": PURCHASES_MAX, "reason": TEXT_CHARACTERS_MAX},
    Refund: {"reason": TEXT_CHARACTERS_MAX, "description": TEXT_CHARACTERS_MAX, "failed_reason": TEXT_CHARACTERS_MAX},
    Purchase: {"aliases": ALIASES_MAX, "access_reason": TEXT_CHARACTERS_MAX},
}
"""Lists and texts of resources that are longer elsewhere than in an event."""


class EntitlementData(EventData):
    """What a user may use as it stands after the change, and the purchase and the refund behind that."""

    entitlement: Entitlement
    balance: None = None


class MoneyData(EventData):
    """The whole record of a refund or chargeback, and the purchase whose money it is."""

    entitlement: None = None
    refund: Refund
    purchase: Purchase
    balance: None = None


class BalanceData(EventData):
    """How many units to take or give back, the purchase of them, and the refund behind it."""

    entitlement: None = None
    purchase: Purchase
    balance: Balance


class EntitlementEvent(Event):
    """Somebody may use something from now on, or no longer, or longer."""

    customer: Customer
    sequence: int = Field(description="Per customer, from 1, gapless")
    data: EntitlementData


class MoneyEvent(Event):
    """Something became of a refund or of a chargeback."""

    data: MoneyData


class BalanceEvent(Event):
    """Units of a consumable are taken from a balance, or given back to it."""

    customer: Customer
    sequence: int = Field(description="Per customer, from 1, gapless")
    data: BalanceData


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event.

    Attributes:
        shape: what an event of this type is made of.
        says: when it is sent, in one sentence.
        statuses: which statuses its entitlement or refund may have; none: it is about neither.
    """

    shape: type[Event]
    says: str
    statuses: tuple[EntitlementStatus, ...] | tuple[RefundStatus, ...] = ()


EVENT_TYPES: Final[Mapping[str, EventType]] = {
    "entitlement.granted": EventType(
        EntitlementEvent, "Somebody may use it for the first time, or again because of a new purchase.", ("active",)
    ),
    "entitlement.renewed": EventType(
        EntitlementEvent, "It lasts longer, or came back after it had expired.", ("active",)
    ),
    "entitlement.revoked": EventType(
        EntitlementEvent,
        "It is gone for good: refund, lost chargeback, platform revocation; or the purchase is somebody else's.",
        ("revoked",),
    ),
    "entitlement.suspended": EventType(
        EntitlementEvent,
        "It is gone for the time being: an open chargeback, an overdue payment, or what else the policy suspends for.",
        ("suspended",),
    ),
    "entitlement.reinstated": EventType(
        EntitlementEvent,
        "It is back: the refund failed or was reversed, the chargeback was won, the payment was made.",
        ("active",),
    ),
    "entitlement.expired": EventType(
        EntitlementEvent, "It ended by itself, said by the platform or by our clock.", ("expired",)
    ),
    "refund.requested": EventType(
        MoneyEvent, "The customer asked the platform for the money, and it has not decided.", ("to_issue",)
    ),
    "refund.pending": EventType(
        MoneyEvent,
        "Money is on its way back, or waits for the customer to do something.",
        ("pending", "requires_action"),
    ),
    "refund.succeeded": EventType(
        MoneyEvent, "Money went back; sent again if more of the same refund did.", ("succeeded",)
    ),
    "refund.failed": EventType(MoneyEvent, "Money that was on its way back did not arrive.", ("failed",)),
    "refund.canceled": EventType(MoneyEvent, "A refund that was on its way will not be made.", ("canceled",)),
    "refund.declined": EventType(MoneyEvent, "The platform refused a refund that was asked for.", ("canceled",)),
    "refund.reversed": EventType(MoneyEvent, "A refund was undone: the customer paid after all.", ("reversed",)),
    "chargeback.opened": EventType(MoneyEvent, "The bank took the money, for now.", ("pending",)),
    "chargeback.won": EventType(MoneyEvent, "The bank gave the money back.", ("reversed",)),
    "chargeback.lost": EventType(MoneyEvent, "The bank took the money for good.", ("succeeded",)),
    "balance.clawed_back": EventType(
        BalanceEvent, "Units of a consumable are to be taken from the customer's balance."
    ),
    "balance.restored": EventType(
        BalanceEvent,
        "Units that were taken are to be given back: the refund failed or was reversed, the chargeback was won.",
    ),
}
"""Every type that is ever sent, by name. A type may be added; one that is here is a promise."""
