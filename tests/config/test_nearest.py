"""The word that a person may have meant."""

import pytest

from config.nearest import nearest

pytestmark = pytest.mark.unit

WORDS = ("store", "server", "subscribers")


@pytest.mark.parametrize(
    ("written", "at_least", "meant"),
    [("stroe", 0.6, "store"), ("severs", 0.0, "server"), ("zzz", 0.6, ""), ("subscriber", 0.9, "subscribers")],
)
def test_the_nearest_word_is_found_if_it_is_near_enough(written: str, at_least: float, meant: str) -> None:
    """Of what there is, the word most like the one that was written; nothing where none is alike enough."""
    assert meant == nearest(written, WORDS, at_least=at_least)


def test_any_word_will_do_where_nothing_else_is_said() -> None:
    """Whoever names no bound is given a word, unless there is none at all."""
    assert nearest("zzz", WORDS) in WORDS
    assert "" == nearest("zzz", ())
