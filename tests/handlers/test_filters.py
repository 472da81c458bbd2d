"""Filters of event types."""

import pytest

from handlers.filters import matcher, mistake
from schemas.events import EVENT_TYPES


@pytest.mark.parametrize(
    ("patterns", "fitting"),
    [
        ((), len(EVENT_TYPES)),
        (("*",), len(EVENT_TYPES)),
        (("refund.failed", "*"), len(EVENT_TYPES)),
        (("refund.failed",), 1),
        (("refund.failed", "refund.*"), 7),
        (("*.failed",), 1),
        (("*re*d",), 11),
        (("refund",), 0),
        (("refund.", "efund.failed"), 0),
        (("refund_failed", "refund.faile."), 0),
    ],
)
def test_a_star_stands_for_any_text(patterns, fitting):
    """A pattern fits whole types; a star stands for any text in it, and nothing else is special."""
    assert fitting == len(list(filter(matcher(patterns), EVENT_TYPES)))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), None),
        (("*", "refund.*", "balance.restored"), None),
        (("refund.*", "refund.suceeded"), "no type of event fits 'refund.suceeded': the nearest is 'refund.succeeded'"),
        (("entitlements.*",), "no type of event fits 'entitlements.*': the nearest is 'entitlement.*'"),
        (("",), None),
        (("zzz",), None),
    ],
)
def test_what_nothing_fits_is_named_with_what_is_near(patterns, expected):
    """The first pattern that no event could pass is named, and beside it the nearest that some could."""
    said = mistake(patterns)

    if patterns in {("",), ("zzz",)}:
        assert said is not None
        assert said.startswith(f"no type of event fits {patterns[0]!r}: the nearest is ")
    else:
        assert expected == said
