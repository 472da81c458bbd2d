"""Every story by its name, and where it happens.

`worker/simulator/telling.py` turns a story into signed bytes, `worker/simulator/verdict.py` says whether it ended well.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from worker.simulator.period_stories import PERIODS, UNITS_AND_PEOPLE
from worker.simulator.refund_stories import DISPUTES, REFUNDS
from worker.simulator.story import ALL, Step, Story

__all__ = ["ALL", "STORIES", "Step", "Story", "scripts"]

_BASIC = (
    Story(
        "purchase-then-refund",
        "bought, then all money goes back: access goes with it",
        (Step("tell"), Step("purchase"), Step("refund")),
        ends="revoked",
        refunds=("succeeded",),
        told=("entitlement.granted", "refund.succeeded", "entitlement.revoked"),
    ),
    Story(
        "refund-before-purchase",
        "the refund overtakes everything else, and takes effect once the purchase is known",
        (Step("refund"), Step("tell"), Step("purchase")),
        ends="revoked",
        refunds=("succeeded",),
    ),
    Story(
        "duplicate",
        "the platform repeats itself, and nothing happens twice",
        (Step("tell"), Step("purchase", times=2), Step("refund", times=3)),
        ends="revoked",
        refunds=("succeeded",),
    ),
    Story(
        "out-of-order",
        "the purchase arrives after its own refund, and does not give access back",
        (Step("tell"), Step("refund"), Step("purchase")),
        ends="revoked",
        refunds=("succeeded",),
    ),
    Story(
        "expiry",
        "it ends by itself: no refund, no access",
        (Step("tell"), Step("purchase"), Step("expire")),
        ends="expired",
        told=("entitlement.expired",),
        once=(),
    ),
    Story(
        "forged",
        "somebody invents refunds, signed in every wrong way: none is believed",
        (Step("tell"), Step("purchase"), Step("forge")),
        ends="active",
    ),
)

STORIES: Final[Mapping[str, Story]] = MappingProxyType(
    {story.name: story for story in (*_BASIC, *REFUNDS, *PERIODS, *UNITS_AND_PEOPLE, *DISPUTES)}
)


def scripts(platform: str | None = None) -> Iterator[tuple[str, Story]]:
    """List every story on every platform where it happens."""
    for story in STORIES.values():
        for name in story.platforms:
            if platform in (None, name):
                yield name, story
