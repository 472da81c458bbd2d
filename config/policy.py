"""What the business decides about money that goes back, with the defaults a careful one would choose."""

from typing import Literal

from pydantic import Field

from config.section import Section

Effect = Literal["keep", "suspend", "revoke"]
Units = Literal["claw_back", "allow_negative", "tell"]


class Policy(Section):
    """The rules of one app. Every decision records the name of the rule that made it."""

    full_refund: Effect = "revoke"
    """A refund of everything that was paid, or of an amount nobody can compare."""
    refund_without_cancellation: Effect = "revoke"
    """The same, of a Stripe subscription that goes on: only the refunded period is concerned."""
    partial_refund: Effect = "keep"
    """A refund of less than `full_refund_from_percent` of what was paid."""
    full_refund_from_percent: int = Field(default=100, ge=1, le=100)
    """The refunded share from which several partial refunds, or one, count as a full one."""
    prorated_refund: Effect = "revoke"
    """The unused time of a subscription was paid back: what is left of the period was not paid for."""
    pending_refund: Effect = "keep"
    """A refund that is on its way and may still fail."""
    chargeback_opened: Effect = "suspend"
    """The bank took the money back, the case is open."""
    chargeback_lost: Effect = "revoke"
    """The case was lost."""
    inquiry_opened: Effect = "keep"
    """The bank asks, no money has moved."""
    late_renewal_hours: int = Field(default=24, ge=0, le=720)
    """How long past its date a subscription lasts whose platform has said neither that it was renewed nor that it
    ended: stores and banks take their time, and a paying customer must not notice."""
    consumable_refund: Units = "claw_back"
    """The units of a refunded consumable: take back what is left of them, take all even if the balance falls below
    zero, or only tell of the refund."""
    member_removed: Effect = "revoke"
    """A family or seat member no longer shares what somebody else pays for."""
    consent_rescinded: Effect = "keep"
    """A guardian withdrew consent to a child's use of the app: what the child's store account bought in it."""
