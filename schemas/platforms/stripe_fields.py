"""The kinds of field that Stripe's objects are made of: ids, money, times, and decoration that may be anything."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, Field, StringConstraints

from schemas.base import Foreign

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Item = TypeVar("Item")


def _unexpanded(value: Any) -> Any:
    """Take the id of an object that was expanded in place. https://docs.stripe.com/expand."""
    return value.get("id") if isinstance(value, dict) else value


def words(value: Any) -> str | None:
    """Read a decoration: text, or nothing. Its shape never stands in the way of the money it decorates."""
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> dict[str, str]:
    """Read metadata: pairs of text, or nothing (PHP senders write an empty object as `[]`)."""
    items = value.items() if isinstance(value, dict) else ()
    return {key: text for key, text in items if isinstance(text, str) and text}


def pairs(value: Any) -> dict[str, Any]:
    """Read an optional object whose inside is decoration."""
    return value if isinstance(value, dict) else {}


def _instant(value: Any) -> int:
    """Read the ISO 8601 time of a thin event as Unix milliseconds, without a float."""
    if not isinstance(value, str):
        raise ValueError("not text")  # noqa: TRY004 - pydantic turns only ValueError into its own error
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


Id = Annotated[str, StringConstraints(min_length=1, max_length=255)]
"""Stripe's ids fit in 255 characters: https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backwards-compatible."""
Ref = Annotated[Id, BeforeValidator(_unexpanded)]
Words = Annotated[str | None, BeforeValidator(words)]
Texts = Annotated[dict[str, str], BeforeValidator(_texts)]
Pairs = Annotated[dict[str, Any], BeforeValidator(pairs)]
Seconds = Annotated[int, Field(ge=0, le=253_402_300_799)]
"""Unix seconds until the year 9999."""
Amount = Annotated[int, Field(ge=0, le=10**15)]
"""Minor units. Stripe's largest have twelve digits; the bound keeps sums within 64 bits."""
Currency = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z]{3}$", to_lower=True)]
Moment = Annotated[int, Field(ge=0), BeforeValidator(_instant)]
"""Unix milliseconds, sent as ISO 8601."""


class Listing(Foreign, Generic[Item]):
    """A list inside an object: its first page. https://docs.stripe.com/api/pagination."""

    data: Annotated[tuple[Item, ...], Field(strict=False)]
    has_more: bool = False
