"""Grouping entries into purchases by the ids they share."""

from hypothesis import given
from hypothesis import strategies as st

from handlers.clusters import RANK, clusters, current, in_platform_order, purchase_named
from schemas.entry import Entry, EntryKind
from tests.handlers.entries import SUBSCRIPTION, bought, entry, money, settle
from tests.strategies import some_entries

K = EntryKind


def grouped(*entries: Entry) -> set[frozenset[str]]:
    """Group entries, and tell which are together."""
    return {frozenset(e.id for e in cluster.entries) for cluster in clusters(in_platform_order(entries))}


def test_every_kind_has_a_rank_of_its_own():
    """Two entries of different kinds and one time are always in the same order."""
    assert set(EntryKind) == RANK.keys()
    assert len(RANK) == len(set(RANK.values()))


def test_what_was_read_again_counts_once():
    """Of what one notification said only the last reading counts; other notifications are not concerned."""
    first, other = bought(0, product_id=None), bought(1, "ch_other")
    again = first.model_copy(update={"id": "ent_again", "revision": 1})
    third = first.model_copy(update={"id": "ent_third", "revision": 2})

    assert [third, other] == list(current([third, first, other, again]))
    assert [first, other] == list(current([first, other]))


def test_what_was_read_again_in_any_order_of_arrival():
    """A purchase of which more was learned later is what it would be had everything been known at once."""
    first = bought(0, product_id=None, user_id=None)
    again = bought(0).model_copy(update={"source": first.source, "revision": 1})

    story = settle(first, again, money(K.REFUND_SUCCEEDED, 60))
    assert ("revoked", story.purchases) == (story.status(), settle(again, money(K.REFUND_SUCCEEDED, 60)).purchases)


def test_how_often_it_was_read_does_not_decide_between_words_of_one_moment():
    """Two words of one notification and second keep their order, however many revisions were before them."""
    # Their ids were compared, which hold the revision: the same sale was 120.00 or 60.00, by when a look-up answered.
    charge, invoice = bought(0, amount=6000), bought(0, amount=12000)
    same = {"source": charge.source}
    orders = set()
    for revision in range(4):
        ids_ = [{"id": f"ent_{name}{7 * revision % 5}", "revision": revision} for name in "ab"]
        words = [e.model_copy(update=same | own) for e, own in zip((charge, invoice), ids_, strict=True)]
        orders.add(tuple(e.facts.amount for e in in_platform_order(words[:: 1 if revision % 2 else -1])))

    assert 1 == len(orders)


def test_what_shares_any_id_is_one_purchase():
    """A chain of ids, each shared by two entries, makes one purchase of all of them."""
    chain = (
        bought(0, "ch_1", aliases=["payment_intent:pi_1"]),
        entry(K.LINKED, 0, None, aliases=["payment_intent:pi_1", "invoice:in_1"]),
        bought(0, None, aliases=["invoice:in_1"]),
        bought(0, "ch_2"),
    )

    assert {frozenset(e.id for e in chain[:3]), frozenset([chain[3].id])} == grouped(*chain)


def test_periods_of_one_subscription_are_purchases_of_their_own():
    """What renewals share is no name of any one of them."""
    periods = (bought(0, "ch_1", lineage=SUBSCRIPTION), bought(30, "ch_2", lineage=SUBSCRIPTION))

    assert 2 == len(grouped(*periods))


def test_a_refund_belongs_to_one_purchase():
    """The refund's own id ties its notifications together, even where only one of them names the charge."""
    nameless = money(K.REFUND_SUCCEEDED, 60, purchase=None)
    named = money(K.REFUND_FAILED, 61)

    assert 1 == len(grouped(nameless, named))


def test_the_platforms_id_is_preferred_to_its_aliases():
    """While only other names are known one of them stands in; the smallest, so that no order of arrival decides."""
    by_alias = bought(0, None, aliases=["invoice:in_2", "payment_intent:pi_1"])
    by_charge = bought(0, "ch_9", aliases=["invoice:in_2"])
    by_refund = money(K.REFUND_SUCCEEDED, 60, purchase=None)

    assert ["in_2"] == [cluster.purchase_id for cluster in clusters([by_alias])]
    assert ["ch_9"] == [cluster.purchase_id for cluster in clusters([by_alias, by_charge])]
    assert ["re_1"] == [cluster.purchase_id for cluster in clusters([by_refund])]


def test_a_purchase_is_found_by_any_of_its_names():
    """Two charges paid one invoice: the purchase goes by the smaller id, and is found by the other as well."""
    lineage = (
        bought(0, "ch_a", aliases=["invoice:in_1"]),
        bought(0, "ch_b", aliases=["invoice:in_1"]),
        entry(K.EXPIRED, 30, None, lineage=SUBSCRIPTION),
    )

    assert "ch_a" == purchase_named(entry(K.TOLD, 0, "ch_b"), lineage)
    assert "ch_a" == purchase_named(entry(K.TOLD, 0, None, aliases=["invoice:in_1"]), lineage)
    assert purchase_named(entry(K.TOLD, 0, "ch_c"), lineage) is None


@given(some_entries(), st.randoms(use_true_random=False))
def test_arrival_decides_nothing(entries: list[Entry], random):
    """Any order of arrival groups the same entries the same way, under the same ids."""
    named = {(c.purchase_id, c.aliases, frozenset(c.entries)) for c in clusters(in_platform_order(entries))}
    random.shuffle(entries)

    assert named == {(c.purchase_id, c.aliases, frozenset(c.entries)) for c in clusters(in_platform_order(entries))}


@given(some_entries())
def test_each_entry_is_in_one_purchase_or_names_none(entries: list[Entry]):
    """Nothing is lost and nothing is doubled by grouping; no two purchases share an id."""
    found = clusters(in_platform_order(entries))
    inside = [e.id for cluster in found for e in cluster.entries]

    assert sorted(inside) == sorted(e.id for e in entries if not e.whole_lineage)
    assert len({cluster.purchase_id for cluster in found}) == len(found)
