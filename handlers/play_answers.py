"""Read single values out of the Play Developer API's answers, whatever JSON they turn out to be.

An answer is a stranger's: what is not of the documented form counts as not said.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from handlers.money import exponent

__all__ = ["Money", "count", "listing", "money", "rfc3339_ms", "section", "text"]

Money = tuple[int, str]
"""Minor units and lower-case ISO 4217."""

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_TEXT_LENGTH_MAX = 4096
_COUNT_MAX = 1_000_000
_AMOUNT_MAX = 2**53 - 1
_NANOS = 10**9


def text(value: object) -> str | None:
    """Read an id or a name, if it is one that every store can hold."""
    if not isinstance(value, str) or not 0 < len(value) <= _TEXT_LENGTH_MAX:
        return None
    return None if _UNSTORABLE.search(value) else value


def count(value: object) -> int | None:
    """Read how many."""
    return value if type(value) is int and 0 <= value <= _COUNT_MAX else None


def section(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """Read an object inside another; an empty one if there is none."""
    value = answer.get(name)
    return value if isinstance(value, dict) else {}


def listing(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Read a list of objects; an empty one if anything else is in it."""
    value = answer.get(name)
    items = value if isinstance(value, list) else []
    return items if all(isinstance(item, dict) for item in items) else []


def rfc3339_ms(value: object) -> int | None:
    """Read a time, up to nanoseconds, as Unix milliseconds; None if it is none since 1970."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        return None
    try:
        since = datetime.fromisoformat(value) - _EPOCH
    except (ValueError, OverflowError):
        return None
    return since // timedelta(milliseconds=1) if since >= timedelta() else None


def money(value: object) -> Money | None:
    """Read a `google.type.Money` to the last minor unit; None where it is below nothing, or finer than its currency.

    A whole part or a rest of zero may be left out, and int64 is a text of digits (ProtoJSON).
    """
    if not isinstance(value, dict) or not isinstance(code := value.get("currencyCode"), str):
        return None
    places, units, nanos = exponent(code), _whole(value.get("units", 0)), value.get("nanos", 0)
    if places is None or units is None or type(nanos) is not int or not 0 <= nanos < _NANOS:
        return None
    amount, rest = divmod((units * _NANOS + nanos) * 10**places, _NANOS)
    return None if rest or amount > _AMOUNT_MAX else (amount, code.lower())


def _whole(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    return value if type(value) is int and value >= 0 else None
