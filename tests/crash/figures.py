"""What a run of faults came to: how much was sent, what was done to the service meanwhile, and what became of it."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Figures:
    """The sums of one run. What was lost or doubled fails its test, so these count what is proved.

    Attributes:
        sent: notifications that were sent until they got a 200.
        refused: how often one of them was answered otherwise, or not at all, before.
        told: events that each took effect once and reached the subscriber.
        faults: what was done → how often.
    """

    sent: int = 0
    refused: int = 0
    told: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Say it."""
        injected = ", ".join(f"{what} {count}" for what, count in sorted(self.faults.items()))
        return [
            f"{self.sent} notifications sent, {self.refused} times refused or unanswered before their 200",
            f"{self.faults.total()} faults injected: {injected}",
            f"{self.told} events told; lost 0, doubled 0 (else a test above failed)",
        ]


TOTAL = Figures()


def fault(what: str, count: int = 1) -> None:
    """Count what is being done to the service."""
    TOTAL.faults[what] += count
