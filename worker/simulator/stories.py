"""The stories: what platforms and app backends say, in which order it arrives, and how it must end."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Verb = Literal["tell", "purchase", "renew", "refund", "undo_refund", "expire", "forge"]
ALL: Final = ("apple", "google", "stripe", "amazon")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that arrives.

    Attributes:
        verb: what is said: `tell` by the app's backend, all else by the platform.
        period: which paid period it is about, counted from 0.
        times: how often the very same bytes are posted.
        happened_seconds_ago: how long before its arrival the platform signed it.
    """

    verb: Verb
    period: int = 0
    times: int = 1
    happened_seconds_ago: int = 0


@dataclass(frozen=True, slots=True)
class Story:
    """A sequence of steps with one right end.

    Attributes:
        ends: the entitlement's status when all is processed.
        platforms: where such a thing happens.
        bought_days_ago: when the first period was bought, by period.
    """

    name: str
    summary: str
    steps: tuple[Step, ...]
    ends: Literal["active", "revoked", "expired"]
    platforms: tuple[str, ...] = ALL
    bought_days_ago: tuple[int, ...] = (5,)

    def about_subscription(self, platform: str) -> bool:
        """Tell what is sold. Amazon calls money that went back so only for what was bought once."""
        return platform != "amazon" or self.ends == "expired"


_STORIES = (
    Story(
        "purchase-then-refund",
        "bought, then all money goes back: access goes with it",
        (Step("tell"), Step("purchase"), Step("refund")),
        ends="revoked",
    ),
    Story(
        "refund-before-purchase",
        "the refund overtakes everything else, and takes effect once the purchase is known",
        (Step("refund"), Step("tell"), Step("purchase", happened_seconds_ago=120)),
        ends="revoked",
    ),
    Story(
        "duplicate",
        "the platform repeats itself, and nothing happens twice",
        (Step("tell"), Step("purchase", times=2), Step("refund", times=3)),
        ends="revoked",
    ),
    Story(
        "out-of-order",
        "the purchase arrives after its own refund, and does not give access back",
        (Step("tell"), Step("refund"), Step("purchase", happened_seconds_ago=120)),
        ends="revoked",
    ),
    Story(
        "refund-reversed",
        "the refund is reversed after a dispute: what it took comes back",
        (Step("tell"), Step("purchase"), Step("refund"), Step("undo_refund")),
        ends="active",
        platforms=("apple",),
    ),
    Story(
        "refund-failed",
        "the bank sends the refund back: what it took comes back",
        (Step("tell"), Step("purchase"), Step("refund"), Step("undo_refund")),
        ends="active",
        platforms=("stripe",),
    ),
    Story(
        "old-period-refund",
        "last month is refunded while this month is paid: access stays",
        (Step("tell"), Step("purchase"), Step("tell", period=1), Step("renew", period=1), Step("refund")),
        ends="active",
        platforms=("apple", "google", "stripe"),
        bought_days_ago=(40, 10),
    ),
    Story(
        "expiry",
        "it ends by itself: no refund, no access",
        (Step("tell"), Step("purchase"), Step("expire")),
        ends="expired",
    ),
    Story(
        "forged",
        "somebody invents refunds, signed in every wrong way: none is believed",
        (Step("tell"), Step("purchase"), Step("forge")),
        ends="active",
    ),
)
STORIES: Final[Mapping[str, Story]] = MappingProxyType({story.name: story for story in _STORIES})


def scripts(platform: str | None = None) -> Iterator[tuple[str, Story]]:
    """List every story on every platform where it happens."""
    for story in _STORIES:
        for name in story.platforms:
            if platform in (None, name):
                yield name, story
