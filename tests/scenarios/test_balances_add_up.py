"""Who believes the events knows how many units are taken: per customer and product, in any order of arrival.

Real: placing, folding and deciding. Double: nothing.
"""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.policy import Policy
from schemas.entry import Entry, EntryKind
from tests.effort import law
from tests.handlers.entries import ANN, Story, bought, money
from tests.scenarios.shop import COINS, COINS_PRICE, hear, hear_in_any_order, types
from tests.strategies import APP, NOW_MS, some_entries

pytestmark = pytest.mark.unit

K = EntryKind
SIGNS = {"balance.clawed_back": 1, "balance.restored": -1}


@law
@given(some_entries(), st.sampled_from(["claw_back", "allow_negative", "tell"]))
def test_balance_events_add_up_to_what_was_taken(entries: list[Entry], choice: str):
    """What was taken and given back, added up, is what the purchases of a customer say was taken of them."""
    story = Story(APP.model_copy(update={"policy": Policy(consumable_refund=choice)}), now_ms=NOW_MS)
    hear(story, *([each] for each in entries))

    heard, taken = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for event in story.events:
        if event.data.balance and event.customer:
            account = event.customer.user_id, event.data.balance.product_id
            heard[account] += SIGNS[event.type] * event.data.balance.units
    for purchase in story.purchases.values():
        assert 0 <= purchase.units_clawed_back <= (purchase.units or 0)
        if purchase.user_id and purchase.product_id:
            taken[purchase.user_id, purchase.product_id] += purchase.units_clawed_back
    assert +taken == heard


def test_two_packs_are_refunded_and_one_of_the_refunds_fails():
    """Of 200 coins bought in two packs all are taken, and the 100 of the refund that failed are given back."""
    packs = [[bought(n, f"ch_{n}", product_id=COINS, kind="consumable", amount=COINS_PRICE)] for n in (1, 2)]
    refunds = [[money(K.REFUND_SUCCEEDED, 5, COINS_PRICE, f"re_{n}", purchase=f"ch_{n}")] for n in (1, 2)]
    failed = [money(K.REFUND_FAILED, 13, COINS_PRICE, "re_2", purchase="ch_2")]

    story = hear_in_any_order(*packs, *refunds, failed)

    assert ["balance.clawed_back", "balance.clawed_back", "balance.restored"] == [
        type_ for type_ in types(story.events) if type_ in SIGNS
    ]
    assert {"ch_1": 100, "ch_2": 0} == {name: purchase.units_clawed_back for name, purchase in story.purchases.items()}


def test_coins_of_somebody_unknown_are_taken_once_somebody_is_known():
    """Refunded before anybody knew whose they were: the day it is known, her balance loses them."""
    pack = [bought(1, "ch_1", product_id=COINS, kind="consumable", amount=COINS_PRICE, user_id=None)]
    refund = [money(K.REFUND_SUCCEEDED, 5, COINS_PRICE, purchase="ch_1")]
    whose = [bought(1, "ch_1", product_id=COINS, user_id=ANN, amount=COINS_PRICE)]

    story = hear_in_any_order(pack, refund, whose)

    assert ["refund.succeeded", "balance.clawed_back"] == types(story.events)
