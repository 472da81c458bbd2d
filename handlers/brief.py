"""Show of a resource as much as an event may carry: the newest of long lists, and the beginning of long texts."""

from typing import Any, TypeVar

from schemas.base import Noun
from schemas.events import BOUNDS

N = TypeVar("N", bound=Noun)


def brief(noun: N) -> N:
    """Cut what is longer than an event may show of it; what is in order, as nearly all is, stays the same value.

    Ids are never cut: one that is cut is another.
    """
    bounds, held = BOUNDS[type(noun)], noun.__dict__
    for name, most in bounds.items():
        value = held[name]
        if value is not None and len(value) > most:
            return brief(noun.model_copy(update={name: _cut(value, most)}))
    return noun


def _cut(value: Any, most: int) -> Any:
    return value[: most - 1] + "…" if isinstance(value, str) else value[:most]
