"""Tell which events a filter of types asks for, and what is wrong with one that no event could ever pass.

A filter is a list of patterns; `*` stands for any text, and nothing else is special.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final

from config.nearest import nearest
from schemas.events import EVENT_TYPES

TYPES_KEPT: Final = 64
"""More than there are types of events: of each, what a filter says to it is known."""

_FAMILIES = sorted({f"{name.partition('.')[0]}.*" for name in EVENT_TYPES})


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Make what tells whether a type passes; no pattern at all: every type does."""
    said = list(patterns)
    if not said or "*" in said:
        return lambda _: True
    wanted = [pattern.split("*") for pattern in said]
    return lru_cache(maxsize=TYPES_KEPT)(lambda event_type: any(_fits(event_type, parts) for parts in wanted))


def mistake(patterns: Iterable[str]) -> str | None:
    """Name the first pattern that no type of event fits, and the nearest that does; None: each fits some."""
    for pattern in patterns:
        if not any(map(matcher([pattern]), EVENT_TYPES)):
            return f"no type of event fits {pattern!r}: the nearest is {nearest(pattern, (*EVENT_TYPES, *_FAMILIES))!r}"
    return None


def _fits(text: str, parts: Sequence[str]) -> bool:
    """Tell whether a text is these parts, with anything between them.

    Each is taken where it first stands behind the one before it. A regular expression would try every other place, too:
    a stranger's pattern of a few dozen stars would keep the event loop for ever.
    """
    if len(parts) == 1:
        return text == parts[0]
    first, *between, last = parts
    if not text.startswith(first):
        return False
    at, end = len(first), len(text) - len(last)
    for part in between:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return at <= end and text.endswith(last)
