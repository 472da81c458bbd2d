"""Our ids: the same thing has the same id, and different things have different ones."""

import re

from hypothesis import given
from hypothesis import strategies as st

from handlers import ids

parts = st.lists(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x1f")), min_size=1, max_size=4
)


def test_an_id_never_changes():
    """Ids are stored and held on to: this one stays what it was in the first release."""
    assert "pur_bcf2745367c7cb6ca97b7cc8" == ids.make("pur", "acme", "stripe", "production", "ch_annual")


@given(parts, parts)
def test_an_id_is_of_what_identifies_the_thing(one, other):
    """Equal parts make equal ids, and other parts make another, however they are cut."""
    assert (one == other) == (ids.make("ent", *one) == ids.make("ent", *other))
    assert re.fullmatch(r"ent_[0-9a-f]{24}", ids.make("ent", *one))


def test_the_kind_is_part_of_the_id():
    """What differs in kind differs in its prefix."""
    assert ids.make("re", 1) != ids.make("pur", 1)
    assert ids.make("re", None, 1) == ids.make("re", "None", "1")
