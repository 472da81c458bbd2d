"""The one base of every noun, and the words they share."""

from collections.abc import Callable
from enum import StrEnum
from typing import Literal, ParamSpec, TypeVar, cast

from pydantic import BaseModel, ConfigDict

P = ParamSpec("P")
N = TypeVar("N", bound="Noun")

PlatformName = Literal["apple", "google", "stripe", "amazon"]
Environment = Literal["production", "sandbox"]


def realm(platform: PlatformName, environment: Environment | None) -> str:
    """Name the space within which a platform's ids are unique.

    Google Play's notifications do not say whether they are tests, so both environments share one space there, and
    an id that is known from a test stays a test.
    """
    return "" if platform == "google" else environment or "production"


class Noun(BaseModel):  # noqa: PLW1641 - pydantic gives one to everything that is frozen
    """Never change after it was made; refuse a field that nobody declared.

    What is read is kept by no cache but its keys. A process reads documents of millions of purchases, and a cache of
    their short values is filled with what nobody asks for again, scattered over memory that would else be free.
    """

    # https://docs.pydantic.dev/latest/api/config/#pydantic.config.ConfigDict.cache_strings
    model_config = ConfigDict(frozen=True, extra="forbid", cache_strings="keys")

    def __eq__(self, other: object) -> bool:
        """Equal what is of the same kind and holds the same; pydantic looks for what nouns never have beside that."""
        return self is other or (type(self) is type(other) and self.__dict__ == other.__dict__)


# Where pydantic keeps what a noun holds (`BaseModel.__slots__`), set past the lock of frozen nouns, as it does itself.
_set_values, _set_known, _set_extra, _set_private = (
    BaseModel.__dict__[slot].__set__
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def trusted(noun: Callable[P, N]) -> Callable[P, N]:
    """Make nouns of what our own code computed, with its types checked before it runs and not for each anew.

    Nothing is converted or refused, so whatever comes from outside goes to the class itself.

    Args:
        noun: the class; what it is given stays as typed.
    """
    kind = cast("type[N]", noun)
    nothing = {name: field.get_default() for name, field in kind.model_fields.items()}
    known = set(nothing)  # that all were given is true enough: nobody asks which were
    new = kind.__new__

    def make(*_: P.args, **given: P.kwargs) -> N:
        made = new(kind)
        _set_values(made, nothing | given)
        _set_known(made, known)
        _set_extra(made, None)
        _set_private(made, None)
        return made

    return make


class Foreign(BaseModel):
    """Read the fields we know of a message that others define, and let the rest pass.

    Their enums are open sets: a field that may gain a word is a `str` here, never a `Literal`.

    What reads them is built when the first one comes: a process meets few of all platforms' shapes, and readers of all
    of them took 7 MB.
    """

    # Strings as in `Noun`.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True, cache_strings="keys")


class Access(StrEnum):
    """What a purchase gives today."""

    UNKNOWN = "unknown"
    """Money was seen, the purchase was not: nobody told us what was bought."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REVOKED = "revoked"
