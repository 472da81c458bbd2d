"""Find the word that a person may have meant."""

from collections.abc import Iterable


def nearest(word: str, words: Iterable[str], *, at_least: float = 0.0) -> str:
    """Give the word most like this one; empty: there is none.

    Args:
        word: what was written.
        words: what there is.
        at_least: how much alike they must be, from 0, when any will do, to 1.
    """
    import difflib  # noqa: PLC0415 - a process that nobody wrote a wrong word to does without its 0.7 MB

    close = difflib.get_close_matches(word, words, n=1, cutoff=at_least)
    return close[0] if close else ""
