"""What a story is: what platforms and app backends say of a few purchases, in which order, and how it must end."""

from dataclasses import dataclass
from typing import Final, Literal

from schemas.resources import EntitlementStatus, RefundStatus
from worker.simulator.sales import Role

Where = Literal["apple", "google", "stripe", "amazon"]
ALL: Final[tuple[Where, ...]] = ("apple", "google", "stripe", "amazon")
DAY: Final = 86_400
BUYING: Final = frozenset({"purchase", "renew", "recover", "upgrade"})
"""What is said of a purchase when it is made."""


@dataclass(frozen=True, slots=True)
class Lot:
    """One purchase that a story is about.

    Attributes:
        good: what is bought, one of `GOODS`.
        days_ago: when.
        role: what it is to those before it.
    """

    good: str = "month"
    days_ago: int = 5
    role: Role = "period"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that arrives.

    Attributes:
        verb: what is said: `tell` by the app's backend, `forge` by somebody else, all else by the platform, as its
            simulator calls it.
        lot: which purchase it is about.
        times: how often the very same bytes are posted.
        happened_seconds_ago: how long before its arrival it happened; None: just now, and what was bought, when it was.
        on: the platforms that say it; the others pass over this step.
        quarantined: the reason for which it must be kept without effect; empty: it must not be.
    """

    verb: str
    lot: int = 0
    times: int = 1
    happened_seconds_ago: int | None = None
    on: tuple[Where, ...] = ALL
    quarantined: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """A sequence of steps with one right end.

    Attributes:
        ends: the buyer's entitlement when all is processed; None: nothing that was bought gives one.
        member_ends: the same of the family member who shares.
        refunds: the status of every refund on record, in the order of the alphabet.
        clawed_back: how many units of what is used up are taken back.
        told: events that subscribers must have had, among others.
        platforms: where such a thing happens.
        once: where it happens only to what is bought once: the Appstore calls nothing else a refund.
        lots: what is bought.
    """

    name: str
    summary: str
    steps: tuple[Step, ...]
    ends: EntitlementStatus | None
    member_ends: EntitlementStatus | None = None
    refunds: tuple[RefundStatus, ...] = ()
    clawed_back: int = 0
    told: tuple[str, ...] = ()
    platforms: tuple[Where, ...] = ALL
    once: tuple[Where, ...] = ("amazon",)
    lots: tuple[Lot, ...] = (Lot(),)

    def seconds_ago(self, step: Step) -> int:
        """Tell how long before its arrival a step happened."""
        if step.happened_seconds_ago is not None:
            return step.happened_seconds_ago
        return self.lots[step.lot].days_ago * DAY if step.verb in BUYING else 0

    def good(self, platform: str, lot: int) -> str:
        """Tell what is sold on a platform: for life instead of for a month, where only that can be refunded."""
        wanted = self.lots[lot].good
        return "lifetime" if wanted == "month" and platform in self.once else wanted

    def steps_on(self, platform: str) -> tuple[Step, ...]:
        """List what arrives of it on a platform."""
        return tuple(step for step in self.steps if platform in step.on)
