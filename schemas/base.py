"""The one base of every noun, and the words they share."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

PlatformName = Literal["apple", "google", "stripe", "amazon"]
Environment = Literal["production", "sandbox"]


def realm(platform: PlatformName, environment: Environment | None) -> str:
    """Name the space within which a platform's ids are unique.

    Google Play's notifications do not say whether they are tests, so both environments share one space there, and
    an id that is known from a test stays a test.
    """
    return "" if platform == "google" else environment or "production"


class Noun(BaseModel):
    """Never change after it was made; refuse a field that nobody declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Foreign(BaseModel):
    """Read the fields we know of a message that others define, and let the rest pass.

    Their enums are open sets: a field that may gain a word is a `str` here, never a `Literal`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Access(StrEnum):
    """What a purchase gives today."""

    UNKNOWN = "unknown"
    """Money was seen, the purchase was not: nobody told us what was bought."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REVOKED = "revoked"
