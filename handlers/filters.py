"""Tell which events a filter of types asks for, and what is wrong with one that no event could ever pass.

A filter is a list of patterns; `*` stands for any text, and nothing else is special.
"""

import difflib
import re
from collections.abc import Callable, Iterable

from schemas.events import EVENT_TYPES

_FAMILIES = sorted({f"{name.partition('.')[0]}.*" for name in EVENT_TYPES})


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Make what tells whether a type passes; no pattern at all: every type does."""
    said = list(patterns)
    if not said or "*" in said:
        return lambda _: True
    fitting = re.compile("|".join(re.escape(pattern).replace(r"\*", ".*") for pattern in said)).fullmatch
    return lambda event_type: fitting(event_type) is not None


def mistake(patterns: Iterable[str]) -> str | None:
    """Name the first pattern that no type of event fits, and the nearest that does; None: each fits some."""
    for pattern in patterns:
        if not any(map(matcher([pattern]), EVENT_TYPES)):
            [nearest] = difflib.get_close_matches(pattern, [*EVENT_TYPES, *_FAMILIES], n=1, cutoff=0.0)
            return f"no type of event fits {pattern!r}: the nearest is {nearest!r}"
    return None
