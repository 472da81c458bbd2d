"""Decide who is let in while there is not room for everybody: whoever holds less than a fair share of it.

While there is room everybody is let in, whatever they hold. A storm takes what others leave, and not what they need.
"""

from collections.abc import Mapping
from typing import Final

Source = tuple[str, str]
"""Who sends: a platform, and to which app of ours."""

WEIGHTS: Final[Mapping[str, int]] = {"amazon": 4, "apple": 2}
"""A platform's part of the room, beside 1 of every other: the more, the more a refusal costs it.

SNS gives up a minute after the first attempt (three retries, 20 s apart, unless its owner chose otherwise:
https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html). Apple tries five times more, an hour after
the first and up to 72 hours after the one before, and its sandbox not at all
(https://developer.apple.com/documentation/appstoreservernotifications/responding-to-app-store-server-notifications).
Stripe repeats for three days (https://docs.stripe.com/webhooks), Pub/Sub within seconds and for a week
(https://cloud.google.com/pubsub/docs/push).
"""


def may_hold(held: Mapping[Source, int], room: float, source: Source, size: int = 1) -> bool:
    """Tell whether a source may hold more: there is room for it, it holds nothing yet, or less than its share.

    So never is more held than twice the room and one thing of each source.

    Args:
        held: what each holds.
        room: for all of them together.
        source: who wants to hold more.
        size: how much more.
    """
    own = held.get(source, 0)
    return not own or sum(held.values()) + size <= room or own + size <= share(held, room, source)


def share(held: Mapping[Source, int], room: float, source: Source) -> float:
    """Give what is fair: the room divided among the platforms that hold any by their weights, and then among apps."""
    here = {each for each, amount in held.items() if amount} | {source}
    platforms = {platform for platform, _ in here}
    part = _weight(source[0]) / sum(map(_weight, platforms))
    return room * part / sum(platform == source[0] for platform, _ in here)


def _weight(platform: str) -> int:
    return WEIGHTS.get(platform, 1)
