"""A column on its way to PostgreSQL is what the driver reads as that column.

Real: the driver. Double: nothing, and there is no server.
"""

from hypothesis import example, given
from hypothesis import strategies as st
from psycopg import postgres
from psycopg.adapt import Transformer
from psycopg.pq import Format

from worker.store.bulk import Numbers, Texts
from worker.store.dumpers import NumbersDumper, TextsDumper

ANY = st.characters(exclude_categories=["Cs"])
TEXTS = st.one_of(
    st.lists(st.one_of(st.none(), st.text(ANY, max_size=3))),
    st.integers(0, 140).flatmap(lambda size: st.lists(st.text("ab,é", min_size=size, max_size=size))),
)


def _read(type_: str, written: bytes) -> list[str | int | None]:
    """Read an array as the driver does."""
    loader = Transformer().get_loader(postgres.types[type_].array_oid, Format.BINARY)
    read: list[str | int | None] = loader.load(written)
    return read


@given(TEXTS)
@example(["ntf_1", "ntf_2"])
@example(["ntf_1", "ntf_é"])
@example(["ntf_1", "x", "ntf_2"])
@example(["x" * 127, "y" * 127])
@example(["x" * 128, "y" * 128])
@example([None, "x", None])
def test_texts_are_read_as_they_were(column):
    """Texts of one length or several, plain or not, empty or null: none touches its neighbor."""
    assert column == _read("text", TextsDumper(Texts).dump(Texts(column)))


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))))
def test_numbers_are_read_as_they_were(column):
    """So are numbers."""
    assert column == _read("int8", NumbersDumper(Numbers).dump(Numbers(column)))
