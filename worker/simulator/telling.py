"""Turn the steps of a story into sales and signed bytes, the same for a show, a rehearsal and a test."""

from collections.abc import Iterator
from dataclasses import dataclass

from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.sales import DAY_MS, Till
from worker.simulator.story import Step, Story

HEADWAY_SECONDS = 0.05
"""How long before a story begins the last of its purchases was made, so that nothing is said before it."""


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells one story of one platform.

    Attributes:
        till: sells what it is about.
        began: Unix seconds: what was bought days ago was bought so long before.
    """

    story: Story
    platform: str
    simulator: Simulator
    till: Till
    began: float

    @property
    def steps(self) -> tuple[Step, ...]:
        """List what arrives."""
        return self.story.steps_on(self.platform)

    def sale(self, step: Step) -> Sale:
        """Find what a step is about."""
        lot = self.story.lots[step.lot]
        return self.till.sell(
            step.lot,
            bought_ms=int((self.began - HEADWAY_SECONDS) * 1000) - lot.days_ago * DAY_MS,
            good=self.story.good(self.platform, step.lot),
            role=lot.role,
        )

    def shot(self, step: Step, now: float) -> Shot:
        """Say a step as the platform, for delivery at `now`."""
        ago = self.story.seconds_ago(step)
        said: Shot = getattr(self.simulator, step.verb)(self.sale(step), now - ago)
        return self.simulator.reseal(said, now) if ago else said

    def forgeries(self, step: Step, now: float) -> Iterator[tuple[str, Shot]]:
        """Make every forgery of a refund."""
        good = self.simulator.refund(self.sale(step), now)
        yield from self.simulator.forge(good, now)
