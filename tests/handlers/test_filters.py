"""Filters of event types."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.text("*ab.", max_size=6), st.text("ab.", max_size=6))
def test_a_pattern_means_what_it_means_to_others(pattern, text):
    """With stars anywhere, also beside each other, a pattern fits what the standard library says it fits."""
    assert fnmatchcase(text, pattern) == matcher([pattern])(text)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("pattern", ["*" * 63 + "x", "*e" * 31 + "*x", "e*" * 32])
def test_a_pattern_of_many_stars_is_no_work(pattern):
    """Whoever may read may ask for any pattern, on the event loop that takes notifications in: none is expensive."""
    # As a regular expression, ten stars and a letter took 0.4 s, and each further star about four times as long.
    assert [] == list(filter(matcher([pattern]), EVENT_TYPES))
    assert mistake([pattern]) is not None


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
