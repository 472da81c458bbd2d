"""Finding the lineage of an entry, and merging lineages that prove to be one."""

from hypothesis import given
from hypothesis import strategies as st

from handlers.placing import lineages_begun, place, refs_of
from schemas.book import Book, Ref
from schemas.entry import Entry, EntryKind
from tests.handlers.entries import APPLE, GOOGLE, SUBSCRIPTION, bought, entry, money
from tests.strategies import some_entries

K = EntryKind


def test_an_entry_is_found_by_every_id_it_names():
    """Purchase, aliases, refund and lineage all lead to it, within the space in which they are unique."""
    refund = money(K.REFUND_SUCCEEDED, 60, aliases=["payment_intent:pi_1"], lineage=SUBSCRIPTION)

    assert [
        Ref("acme", "stripe", "production", ref)
        for ref in ("purchase:ch_annual", "payment_intent:pi_1", "refund:re_1", "subscription:sub_1")
    ] == list(refs_of(refund))


def test_google_has_one_space_for_tests_and_production():
    """Where a platform does not say which it is, one id is one purchase; elsewhere nobody saying is production."""
    assert {""} == {ref.realm for ref in refs_of(bought(0, environment="sandbox", **GOOGLE))}
    assert {"production"} == {ref.realm for ref in refs_of(bought(0, environment=None, **APPLE))}


def test_saying_it_twice_adds_nothing():
    """The same entry again changes no lineage, so that nothing is folded again."""
    once = place(Book(), [bought(0)])
    twice = place(once.book, [bought(0)])

    assert (once.book, frozenset(), {}) == (twice.book, twice.lineages, twice.merged)


def test_two_lineages_become_one():
    """A link between two known lineages moves everything of the one into the other, and says which went where."""
    apart = place(Book(), [bought(0, "ch_1"), bought(0, None, aliases=["invoice:in_1"])])
    assert 2 == len(apart.book.lineages)

    joined = place(apart.book, [entry(K.LINKED, 0, "ch_1", aliases=["invoice:in_1"])])
    (home,) = joined.book.lineages
    assert {min(apart.book.lineages): home, max(apart.book.lineages): home} == {home: home, **joined.merged}
    assert 3 == len(joined.book.lineages[home].entries)
    assert {home} == set(joined.book.refs.values())
    assert {home} == joined.lineages


def test_a_chain_of_merges_in_one_step_points_at_the_last_home():
    """What was merged into a lineage that is merged itself moves along with it."""
    apart = place(Book(), [bought(0, f"ch_{number}") for number in range(5)])
    ties = [entry(K.LINKED, 0, "ch_0", aliases=[f"payment_intent:pi_{number}"]) for number in range(5)]
    ties += [entry(K.LINKED, 0, f"ch_{number}", aliases=[f"payment_intent:pi_{number}"]) for number in range(5)]

    joined = place(apart.book, ties)
    (home,) = joined.book.lineages
    assert {home} == set(joined.merged.values())
    assert apart.book.lineages.keys() - {home} <= joined.merged.keys()


@given(some_entries(), st.randoms(use_true_random=False))
def test_arrival_decides_nothing_but_the_name(entries: list[Entry], random):
    """Any order of arrival puts the same entries together, and every id leads to where its entries are."""
    book = place(Book(), entries).book
    random.shuffle(entries)
    other = place(Book(), entries).book

    together = {frozenset(e.id for e in lineage.entries) for lineage in book.lineages.values()}
    assert together == {frozenset(e.id for e in lineage.entries) for lineage in other.lineages.values()}
    for key, lineage in book.lineages.items():
        assert {key} == {book.refs[ref] for each in lineage.entries for ref in refs_of(each)}


@given(some_entries(), st.integers(0, 8))
def test_what_will_be_begun_is_known_before_anything_is_placed(entries: list[Entry], cut: int):
    """Whatever lineage is new in the end was named beforehand, by the ids of the entries alone."""
    book = place(Book(), entries[:cut]).book
    begun = lineages_begun(book.refs, map(refs_of, entries[cut:]))

    assert place(book, entries[cut:]).book.lineages.keys() - book.lineages.keys() <= set(begun)
