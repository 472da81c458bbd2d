"""What becomes of purchases when Apple's notifications are folded, in every order of arrival.

Real: meaning, placing, folding and deciding. Double: nothing. Asserted: what the API would show.
"""

from itertools import permutations
from typing import Any

import pytest

from config.policy import Policy
from config.products import Product
from config.settings import App
from handlers import ids
from handlers.decide import decide
from schemas.base import Access
from schemas.book import Book
from schemas.entry import Entry, Source
from schemas.meaning import Meaning
from tests.handlers import apple_chains as chains
from tests.handlers.apple_notes import ACCOUNT, AT_MS, DAY_MS, WITHOUT_REVOCATION, meaning
from tests.handlers.apple_questions import app_transaction
from tests.handlers.entries import Story, told

pytestmark = pytest.mark.unit

ANN = "7e3fb204-2ef5-4d5c-8f2a-6b1f3c7d9e10"
ANNUAL, COINS, LEVELS = "com.acme.pro.annual", "com.acme.coins", "com.acme.levels"
FULL: dict[str, Any] = {"revocationDate": AT_MS, "revocationType": "REFUND_FULL", "revocationPercentage": 100_000}


def app(**policy: Any) -> App:
    """Configure what the stories sell."""
    products = {
        ANNUAL: Product(kind="subscription", entitlements=("pro",)),
        LEVELS: Product(kind="non_consumable", entitlements=("levels",)),
        COINS: Product(kind="consumable", units=100),
    }
    return App(policy=Policy(**policy), products=products)


def note(type_: str, day: float, subtype: str | None = None, *, parts: Any = None, **transaction: Any) -> list[Entry]:
    """Say what Apple says on a day, counted from the day of the annual refund."""
    at_ms = AT_MS + int(day * DAY_MS)
    carried = {**WITHOUT_REVOCATION, **transaction}
    said = {"signedDate": at_ms, "subtype": subtype, **(parts or {})}
    answer = meaning(type_, chains.transaction(**carried), **said)
    assert isinstance(answer, Meaning), answer
    name = (type_, day, subtype, sorted(map(str, transaction.items())))
    return [
        Entry(
            **dict(entry),
            id=ids.make("ent", *name, number),
            app="acme",
            platform="apple",
            source=Source(type=type_, notification=ids.make("ntf", *name)),
        )
        for number, entry in enumerate(answer.said)
    ]


def settle(*notes: list[Entry], **policy: Any) -> Story:
    """Tell a story as it is written, having made sure that every order of arrival ends the same."""
    story = _told(notes, policy)
    for order in permutations(notes):
        assert story.standing() == _told(order, policy).standing()
    return story


def _told(notes: Any, policy: dict[str, Any]) -> Story:
    story = Story(app(**policy), now_ms=AT_MS + 2 * DAY_MS)
    for entries in notes:
        story.say(*entries)
    return story


def accesses(story: Story) -> dict[str, Access]:
    """Give the access of every purchase."""
    return {name: purchase.access for name, purchase in story.purchases.items()}


def year(number: int, **more: Any) -> dict[str, Any]:
    """Describe one year of the annual plan; year 1 runs on the day of the refund."""
    begins = AT_MS + (365 * number - 635) * DAY_MS
    return {
        "transactionId": f"200000090000000{number}",
        "purchaseDate": begins,
        "expiresDate": begins + 365 * DAY_MS,
        **more,
    }


def test_an_old_period_is_refunded_while_the_subscription_runs():
    """Last year's money goes back: last year is revoked, this year gives access as before."""
    story = settle(
        note("SUBSCRIBED", -635, "INITIAL_BUY", **year(0)),
        note("DID_RENEW", -270, **year(1)),
        note("REFUND", 0, parts={"data": chains.data(status=1)}, **year(0), **FULL),
    )

    assert {"2000000900000000": Access.REVOKED, "2000000900000001": Access.ACTIVE} == accesses(story)
    assert "active" == story.status(ANN)


def test_a_reversal_gives_back_exactly_what_its_refund_took():
    """Two years are refunded, and one refund is reversed: that year is back, and the other one is not."""
    refunds = [note("REFUND", day, **year(number), **FULL) for number, day in ((0, 0), (1, 1))]
    story = settle(*refunds, note("REFUND_REVERSED", 30, **year(1)))

    assert {"2000000900000000": Access.REVOKED, "2000000900000001": Access.ACTIVE} == accesses(story)
    assert {"2000000900000000": "succeeded", "2000000900000001": "reversed"} == {
        name: refund.status for name, refund in story.refunds.items()
    }


def test_a_request_that_is_declined_changes_no_access():
    """The customer asks, Apple declines: one record, and everybody keeps everything."""
    bought = note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1))
    story = settle(bought, note("CONSUMPTION_REQUEST", 0, **year(1)), note("REFUND_DECLINED", 1, **year(1)))
    (refund,) = story.refunds.values()

    assert ("active", "canceled", "declined") == (story.status(ANN), refund.status, refund.failed_reason)


def test_a_request_that_is_granted_is_the_refund():
    """The customer asks, Apple pays: the request becomes the refund, under one id."""
    story = settle(
        note("CONSUMPTION_REQUEST", 0, parts={"data": chains.data(consumptionRequestReason="LEGAL")}, **year(1)),
        note("REFUND", 1, **year(1), **FULL),
    )
    (refund,) = story.refunds.values()

    assert ("succeeded", 4999, "revoked") == (refund.status, refund.amount, story.status(ANN))


def test_seats_never_take_the_purchasers_access():
    """Every seat but one goes back, whatever the policy: the purchaser stays, and the record counts the seats."""
    bought = note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1), quantity=8, multiSeatInfo={})
    some = note("REFUND", 0, "SEATS", **year(1), quantity=8, multiSeatInfo={"revokedSeatQuantity": 7})
    story = settle(bought, some, partial_refund="revoke")
    (refund,) = story.refunds.values()

    assert ("active", "quantity", 7) == (story.status(ANN), refund.scope, refund.quantity)


def test_all_of_the_seats_are_all_of_the_purchase():
    """Some seats go back, and then the whole transaction: now the purchaser has nothing left."""
    seats: dict[str, Any] = {**year(1), "quantity": 8}
    story = settle(
        note("REFUND", 0, "SEATS", **seats, multiSeatInfo={"revokedSeatQuantity": 7}),
        note("REFUND", 1, **seats, multiSeatInfo={"revokedSeatQuantity": 7}, revocationDate=AT_MS),
    )

    assert "revoked" == story.status(ANN)


@pytest.mark.parametrize(("rule", "access"), [("revoke", Access.REVOKED), ("keep", Access.ACTIVE)])
def test_a_member_leaves_and_the_purchaser_stays(rule, access):
    """The family member's transaction loses its access by policy, the purchaser's never does."""
    member = {
        **year(1, transactionId="2000000900000777", originalTransactionId="2000000900000776"),
        "inAppOwnershipType": "FAMILY_SHARED",
        "appAccountToken": None,
    }
    story = settle(
        note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1)),
        note("SUBSCRIBED", -270, "INITIAL_BUY", **member),
        note("REVOKE", 0, **member, revocationDate=AT_MS, revocationType="FAMILY_REVOKE"),
        member_removed=rule,
    )

    assert {"2000000900000001": Access.ACTIVE, "2000000900000777": access} == accesses(story)


@pytest.mark.parametrize(("rule", "access"), [("revoke", Access.REVOKED), ("keep", Access.ACTIVE)])
def test_consent_concerns_what_the_account_bought(rule, access):
    """By policy a withdrawn consent takes plan and levels of that account; coins and other accounts are untouched."""
    story = settle(
        note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1), appTransactionId=ACCOUNT),
        note("ONE_TIME_CHARGE", -9, **_levels("1"), appTransactionId=ACCOUNT),
        note("ONE_TIME_CHARGE", -8, **_levels("2"), appTransactionId="another account"),
        note("RESCIND_CONSENT", 0, parts={"app_transaction": app_transaction(appTransactionId=ACCOUNT)}),
        consent_rescinded=rule,
    )

    assert {"2000000900000001": access, "1": access, "2": Access.ACTIVE} == accesses(story)


def _levels(transaction: str) -> dict[str, Any]:
    return {
        "transactionId": transaction,
        "originalTransactionId": transaction,
        "type": "Non-Consumable",
        "productId": LEVELS,
        "expiresDate": None,
    }


def test_an_upgrade_is_no_refund():
    """The old plan ends as the better one begins: no refund is on record, and refunding the new one revives nothing."""
    better = year(1, transactionId="2000000900000009", purchaseDate=AT_MS - DAY_MS)
    upgraded = [
        note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1)),
        note("DID_CHANGE_RENEWAL_PREF", -1, "UPGRADE", **better),
    ]
    story = settle(*upgraded)

    assert {"2000000900000001": Access.EXPIRED, "2000000900000009": Access.ACTIVE} == accesses(story)
    assert ({}, "active") == (story.refunds, story.status(ANN))
    assert "revoked" == settle(*upgraded, note("REFUND", 0, **better, **FULL)).status(ANN)


def test_a_grace_period_outlives_what_is_said_during_it():
    """It ends with the grace period, even if the customer asks for the money meanwhile; then Apple says it is over."""
    grace = AT_MS + 111 * DAY_MS
    renewal = chains.renewal(gracePeriodExpiresDate=grace, renewalDate=year(1)["expiresDate"])
    begun = [
        note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1)),
        note("DID_FAIL_TO_RENEW", 95, "GRACE_PERIOD", parts={"renewal": renewal}, **year(1)),
        note("CONSUMPTION_REQUEST", 97, parts={"renewal": renewal}, **year(1)),
    ]

    assert (Access.ACTIVE, grace // 1000) == (settle(*begun).only.access, settle(*begun).only.expires_at)
    assert Access.EXPIRED == settle(*begun, note("GRACE_PERIOD_EXPIRED", 111, **year(1))).only.access


def test_coins_are_taken_back_by_the_piece():
    """One pack of three goes back: a third of the coins, and nobody's access."""
    packs: dict[str, Any] = {**_levels("3"), "type": "Consumable", "productId": COINS, "quantity": 3}
    share: dict[str, Any] = {
        "revocationType": "REFUND_PRORATED",
        "revocationPercentage": 33_333,
        "revocationDate": AT_MS,
    }
    story = settle(note("ONE_TIME_CHARGE", -9, **packs), note("REFUND", 0, **packs, **share))

    assert (300, 100) == (story.only.units, story.only.units_clawed_back)


SEAT = "4b0ad9c5-30b6-4a07-9b4f-3a1e5ee4d1c7"
IN_GRACE: dict[str, Any] = {"renewal": chains.renewal(gracePeriodExpiresDate=AT_MS + 111 * DAY_MS)}
REVOKED: dict[str, Any] = {"revocationDate": AT_MS, "inAppOwnershipType": "FAMILY_SHARED"}


@pytest.mark.parametrize(
    ("type_", "subtype", "carried", "events"),
    [
        ("DID_RENEW", None, year(2), ["entitlement.renewed"]),
        ("SUBSCRIBED", "RESUBSCRIBE", year(2), ["entitlement.renewed"]),
        ("RENEWAL_EXTENDED", None, year(1, expiresDate=AT_MS + 111 * DAY_MS), ["entitlement.renewed"]),
        ("DID_FAIL_TO_RENEW", "GRACE_PERIOD", year(1, parts=IN_GRACE), ["entitlement.renewed"]),
        ("EXPIRED", "VOLUNTARY", year(1), ["entitlement.expired"]),
        ("GRACE_PERIOD_EXPIRED", None, year(1), ["entitlement.expired"]),
        ("CONSUMPTION_REQUEST", None, year(1), ["refund.requested"]),
        ("REFUND_DECLINED", None, year(1), ["refund.declined"]),
        ("REFUND", None, year(1, **FULL), ["refund.succeeded", "entitlement.revoked"]),
        ("REFUND", "SEATS", year(1, multiSeatInfo={"revokedSeatQuantity": 1}), ["refund.succeeded"]),
        ("REVOKE", None, year(1, **REVOKED), ["entitlement.revoked"]),
    ],
)
def test_what_subscribers_hear(type_, subtype, carried, events):
    """Each change of access and of a refund is told once, in our words; what changes nothing tells nothing."""
    story = Story(app(), now_ms=AT_MS + 2 * DAY_MS)

    assert ["entitlement.granted"] == story.say(*note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1)))
    assert sorted(events) == sorted(story.say(*note(type_, 0, subtype, **carried)))


def test_subscribers_hear_of_a_reversal():
    """What a refund took is told as taken, and its reversal as given back."""
    story = Story(app(), now_ms=AT_MS + 2 * DAY_MS)
    story.say(*note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1)), *note("REFUND", 0, **year(1), **FULL))

    assert ["entitlement.reinstated", "refund.reversed"] == sorted(story.say(*note("REFUND_REVERSED", 1, **year(1))))


def test_subscribers_hear_of_an_upgrade():
    """One notification ends what only the old plan gave, and grants what the new one gives."""
    old = note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1, productId=LEVELS))
    new = year(1, transactionId="2000000900000009", purchaseDate=AT_MS - DAY_MS)
    book = decide(Book(), old, app=app(), now_ms=AT_MS).book
    decision = decide(book, note("DID_CHANGE_RENEWAL_PREF", -1, "UPGRADE", **new), app=app(), now_ms=AT_MS)

    assert ["entitlement.expired", "entitlement.granted"] == sorted(event.type for event in decision.events)


def test_subscribers_hear_of_coins_and_of_consent():
    """Coins that went back are told by number, there and back; a withdrawn consent as its rule says."""
    packs: dict[str, Any] = {**_levels("3"), "type": "Consumable", "productId": COINS, "quantity": 3}
    coins = Story(app(), now_ms=AT_MS + 2 * DAY_MS)
    coins.say(*note("ONE_TIME_CHARGE", -9, **packs))
    plan = Story(app(consent_rescinded="suspend"), now_ms=AT_MS + 2 * DAY_MS)
    plan.say(*note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1), appTransactionId=ACCOUNT))
    rescinded = note("RESCIND_CONSENT", 0, parts={"app_transaction": app_transaction(appTransactionId=ACCOUNT)})

    assert ["refund.succeeded", "balance.clawed_back"] == coins.say(*note("REFUND", 0, **packs, **FULL))
    assert ["refund.reversed", "balance.restored"] == coins.say(*note("REFUND_REVERSED", 1, **packs))
    assert ["entitlement.suspended"] == plan.say(*rescinded)


def test_a_seat_that_the_backend_told_is_taken_back():
    """Whoever holds a seat under its id loses it when Apple unclaims it, and nobody else does."""
    held = told(-100, SEAT, product_id=ANNUAL, user_id="bob", platform="apple")
    unclaimed = note("UNCLAIM_SEATS", 0, parts={"unclaimInfo": {"unclaimSeatIds": [SEAT]}})
    story = settle(note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1)), [held], unclaimed)

    assert {"2000000900000001": Access.ACTIVE, SEAT: Access.REVOKED} == accesses(story)
    assert ("active", "revoked") == (story.status(ANN), story.status("bob"))


@pytest.mark.parametrize("type_", ["Consumable", "Non-Consumable", "Non-Renewing Subscription"])
def test_what_was_bought_once_is_refunded_for_good(type_):
    """A refund of anything else that is sold takes that purchase, by itself."""
    sold = {**_levels("5"), "type": type_}
    story = settle(note("ONE_TIME_CHARGE", -9, **sold), note("REFUND", 0, **sold, **FULL))

    assert ({"5": Access.REVOKED}, "revoked") == (accesses(story), story.status(ANN, "levels"))


def test_a_refund_of_the_unused_time_ends_it():
    """What is left of the year was paid back, so the year is over; the record has the estimated part."""
    part: dict[str, Any] = {**FULL, "revocationType": "REFUND_PRORATED", "revocationPercentage": 26_027}
    story = settle(note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1)), note("REFUND", 0, **year(1), **part))
    (refund,) = story.refunds.values()

    assert ("revoked", "prorated", 1301, "estimated") == (
        story.status(ANN),
        refund.scope,
        refund.amount,
        refund.amount_source,
    )


def test_some_items_of_several_are_a_part():
    """One of two items goes back: its exact amount is on record, and the purchase goes on."""
    items = {"items": [{"refunds": [{"refundAmount": 10_000, "refundType": "FULL"}]}, {}]}
    story = settle(
        note("SUBSCRIBED", -270, "INITIAL_BUY", **year(1)), note("REFUND", 0, **year(1), advancedCommerceInfo=items)
    )
    (refund,) = story.refunds.values()

    assert ("active", 1000, "exact") == (story.status(ANN), refund.amount, refund.amount_source)
