"""What refunds take from the balance of somebody who bought coins, and what they give back."""

from typing import Any

import pytest

from schemas.entry import Entry, EntryKind
from tests.handlers.entries import ANN, BOB, COINS, acme, bought, dispute, entry, money, settle, told

K = EntryKind
COIN_PACK: dict[str, Any] = {"product_id": COINS, "kind": "consumable", "amount": 499}


def coins(quantity: int | None = None, **said: Any) -> Entry:
    """Ann buys packs of a hundred coins."""
    return bought(0, quantity=quantity, **COIN_PACK, **said)


def test_a_refunded_pack_is_taken_back():
    """A hundred coins were bought and paid back: all of them go, the event says how many and that zero is the floor."""
    story = settle(coins(), money(K.REFUND_SUCCEEDED, 5, 499))

    assert -100 == story.balance
    assert (100, 100) == (story.only.units, story.only.units_clawed_back)
    clawed = next(event.data for event in story.events if event.type == "balance.clawed_back")
    assert clawed.balance is not None
    assert (COINS, 100, False) == (clawed.balance.product_id, clawed.balance.units, clawed.balance.allow_negative)
    assert ("re_1", "full_refund=revoke") == (
        clawed.refund.platform_refund_id if clawed.refund else None,
        clawed.cause.rule,
    )


def test_a_balance_may_fall_below_zero():
    """Who wants every coin back, spent or not, is told so with the event."""
    story = settle(coins(), money(K.REFUND_SUCCEEDED, 5, 499), app=acme(consumable_refund="allow_negative"))

    assert [True] == [event.data.balance.allow_negative for event in story.events if event.data.balance]


def test_only_told():
    """Who wants to be told only hears of the refund."""
    story = settle(coins(), money(K.REFUND_SUCCEEDED, 5, 499), app=acme(consumable_refund="tell"))

    assert ["refund.succeeded"] == [event.type for event in story.events]
    assert (100, 0) == (story.only.units, story.only.units_clawed_back)


def test_one_pack_of_three():
    """Of three packs one went back, then another: a hundred coins each time, and no more than were refunded."""
    one = money(K.REFUND_SUCCEEDED, 5, None, scope="quantity", quantity=1)
    another = money(K.REFUND_SUCCEEDED, 6, None, "re_2", scope="quantity", quantity=1)

    assert -100 == settle(coins(3), one).balance
    story = settle(coins(3), one, another)
    assert (-200, "active") == (story.balance, story.only.access.value)


def test_what_the_platform_says_is_left():
    """Google tells how many packs are left, and not how many went: the difference did."""
    void = money(K.REFUND_SUCCEEDED, 5, None, type="void", scope="quantity", quantity_left=2)

    assert -100 == settle(coins(3), void).balance


def test_a_part_of_the_price_takes_no_coins():
    """Half the price paid back as a courtesy leaves the coins, unless the policy says that it ends the purchase."""
    half = money(K.REFUND_SUCCEEDED, 5, 250, scope="partial")

    assert 0 == settle(coins(), half).balance
    assert -100 == settle(coins(), half, app=acme(partial_refund="revoke")).balance


def test_what_fails_is_given_back():
    """The refund failed after eight days: the coins come back, and the app hears of it."""
    story = settle(coins(), money(K.REFUND_SUCCEEDED, 5, 499), money(K.REFUND_FAILED, 13, 499))

    assert 0 == story.balance
    assert ["balance.clawed_back", "balance.restored"] == [e.type for e in story.events if e.data.balance]
    assert 0 == story.only.units_clawed_back


def test_a_lost_case_takes_them_and_an_open_one_does_not():
    """While the bank decides the coins stay; when the case is lost they go."""
    opened = dispute(K.CHARGEBACK_OPENED, 5, amount=499)

    assert 0 == settle(coins(), opened).balance
    assert -100 == settle(coins(), opened, dispute(K.CHARGEBACK_LOST, 40, amount=499)).balance


def test_nobody_is_charged_before_it_is_known_who():
    """A refund of coins of nobody takes from nobody; once the app says whose they were, that balance is told."""
    story = settle(coins(user_id=None), money(K.REFUND_SUCCEEDED, 5, 499))
    assert (0, 100) == (story.balance, story.only.units_clawed_back)

    assert ["balance.clawed_back"] == story.say(told(0, product_id=COINS))
    assert -100 == story.balance


def test_the_wrong_person_gets_them_back():
    """They were somebody else's: one balance is restored, the other clawed back."""
    story = settle(coins(), money(K.REFUND_SUCCEEDED, 5, 499))
    story.say(entry(K.PURCHASED, 6, user_id=BOB))

    assert {"ann": "balance.restored", "bob": "balance.clawed_back"} == {
        event.customer.user_id: event.type for event in story.events[-2:] if event.customer
    }
    assert {ANN, BOB} == {event.customer.user_id for event in story.events if event.data.balance and event.customer}


def test_what_turns_out_to_be_something_else_gives_back_what_was_taken():
    """It was a subscription after all: the coins are given back as coins, whatever else the purchase is now."""
    # Told as what the purchase had become, they were given to a balance that had never lost any.
    story = settle(coins(), money(K.REFUND_SUCCEEDED, 5, 499))
    story.say(entry(K.PURCHASED, 6, product_id="acme.pro.annual", kind="subscription"))

    accounts = [(e.type, e.data.balance.product_id) for e in story.events if e.data.balance]
    assert [("balance.clawed_back", COINS), ("balance.restored", COINS)] == accounts


@pytest.mark.parametrize(("kind", "worth"), [("consumable", 300), ("non_consumable", None)])
def test_only_consumables_are_counted(kind, worth):
    """Units belong to what is used up; the platform's word on the kind counts before the configuration's."""
    assert worth == settle(bought(0, product_id=COINS, kind=kind, quantity=3)).only.units


def test_an_unknown_product_is_worth_nothing_known():
    """What nobody configured has no units, and takes none."""
    story = settle(bought(0, product_id="acme.gems", kind="consumable"), money(K.REFUND_SUCCEEDED, 5))

    assert (None, 0) == (story.only.units, story.only.units_clawed_back)


def test_nothing_bought():
    """A purchase of no pieces is worth no units, and has none to give back."""
    assert (0, 0) == (
        (only := settle(coins(0), money(K.REFUND_SUCCEEDED, 5, 499)).only).units,
        only.units_clawed_back,
    )
