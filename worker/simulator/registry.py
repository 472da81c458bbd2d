"""Every platform that can be simulated, and how to make its trust, its voice, and the app's own word."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from worker.simulator import amazon, apple, google, stripe
from worker.simulator.sale import Sale, Simulator


@dataclass(frozen=True, slots=True)
class Speaker:
    """One platform.

    Attributes:
        create: make keys in a directory, and the configuration section that trusts them.
        simulator: speak with these keys.
        told: what the app's backend says of a sale; None where the platform says everything itself.
    """

    create: Callable[..., dict[str, Any]]
    simulator: Callable[[Path, Any], Simulator]
    told: Callable[[Sale], Mapping[str, Any] | None]


SPEAKERS: Final[Mapping[str, Speaker]] = MappingProxyType(
    {
        "apple": Speaker(apple.create, apple.AppleSimulator, apple.told),
        "google": Speaker(google.create, google.GoogleSimulator, google.told),
        "stripe": Speaker(stripe.create, stripe.StripeSimulator, stripe.told),
        "amazon": Speaker(amazon.create, amazon.AmazonSimulator, amazon.told),
    }
)
