"""Change a story here and there, as Hypothesis draws it: a wrong size, a word of another place, something missing."""

from typing import Any

from hypothesis import strategies as st

from tests.fuzz.samples import NUMBERS, Genuine
from tests.fuzz.story import SILENCE
from tests.handlers.json_edits import ANY_JSON, GONE, places_of, put

_ANSWERS = st.sampled_from([SILENCE, 404, 410, 400])
CHAPTERS_MAX = 4


def stories(genuine: Genuine) -> st.SearchStrategy[Any]:
    """Draw a few genuine chapters in any order and number, and change up to three places in them."""
    new = ANY_JSON | st.sampled_from(genuine.words) | st.sampled_from(NUMBERS) | st.just(GONE)

    @st.composite
    def drawn(draw: st.DrawFn) -> Any:
        story: Any = draw(st.lists(st.sampled_from(genuine.chapters), min_size=1, max_size=CHAPTERS_MAX))
        for _ in range(draw(st.integers(0, 3))):
            story = _edited(draw, story, new)
        return story

    return drawn()


def _edited(draw: st.DrawFn, story: Any, new: st.SearchStrategy[Any]) -> Any:
    """Change one place: an answer by what answers can be, anything else by anything."""
    place = draw(st.sampled_from(list(places_of(story))))
    answer = len(place) == 2 and all(type(key) is int for key in place) and place[1] > 0
    return put(story, place, draw(_ANSWERS | new if answer else new))
