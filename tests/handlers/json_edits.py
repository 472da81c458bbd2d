"""JSON that nobody promised: any value at all, and genuine values with something changed deep inside."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-1, max_value=3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "0", "-1", "1795000000000", "usd", "9" * 40])
)
ANY_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)

GONE = object()
"""Stands for a place that is left out."""


def edits_of(value: Any) -> st.SearchStrategy[Any]:
    """Replace one or two places of a JSON value, however deep, by anything, or by nothing."""

    @st.composite
    def edited(draw: st.DrawFn) -> Any:
        found = value
        for _ in range(draw(st.integers(1, 2))):
            places = list(places_of(found))
            found = put(found, draw(st.sampled_from(places)), draw(ANY_JSON | st.just(GONE)))
        return found

    return edited()


def places_of(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List the paths to everything inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*here, key)
        yield from places_of(child, (*here, key))
    if not here:
        yield ()


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """Build the value again with something else in one place."""
    if not place:
        return None if new is GONE else new
    key, *rest = place
    copy = value.copy()
    if rest:
        copy[key] = put(value[key], tuple(rest), new)
    elif new is GONE:
        del copy[key]
    else:
        copy[key] = new
    return copy
