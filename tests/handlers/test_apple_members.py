"""Who shares what somebody else pays for, and whose guardian withdraws consent: family, seats, store accounts.

A member loses the member's own access, and nobody else's. Whether that is so for a whole account is policy.
"""

from typing import Any

import pytest

from handlers.apple import PLATFORM
from handlers.errors import WrongApp
from schemas.entry import EntryKind, PurchaseFacts, Subject
from schemas.meaning import Meaning, Quarantined
from schemas.received import Received
from tests.handlers import apple_chains as chains
from tests.handlers.apple_chains import APP_APPLE_ID, BUNDLE_ID, SETTINGS, SIGNED_AT, body, good
from tests.handlers.apple_notes import ACCOUNT, AT_MS, TRANSACTION, bought, meaning, only, said
from tests.handlers.apple_questions import app_transaction

pytestmark = pytest.mark.unit

K = EntryKind
SEAT = "4b0ad9c5-30b6-4a07-9b4f-3a1e5ee4d1c7"
OTHER_SEAT = "0b6f9a52-77d9-4b68-8a2c-6a0f3a9de0aa"
MEMBER = {"inAppOwnershipType": "FAMILY_SHARED", "appAccountToken": None, "price": None, "currency": None}


def test_a_family_members_access_is_their_own():
    """REVOKE is about the member's transaction; the purchaser's refund comes by itself, as REFUND."""
    entry = said(
        "REVOKE",
        transactionId="2000000900000777",
        originalTransactionId="2000000900000776",
        revocationType="FAMILY_REVOKE",
        **MEMBER,
    )

    assert (K.MEMBER_REMOVED, "family_revoke") == (entry.kind, entry.reason)
    assert Subject(purchase_id="2000000900000777", lineage=("original:2000000900000776",)) == entry.subject
    assert (None, None, None) == (entry.facts.user_id, entry.facts.amount, entry.refund)


@pytest.mark.parametrize("ownership", ["FAMILY_SHARED", "ASSIGNED", "LENT_BY_A_LIBRARY", None])
@pytest.mark.parametrize(
    ("type_", "reason"),
    [
        ("FAMILY_REVOKE", "family_revoke"),
        ("ASSIGNMENT_REVOKE", "assignment_revoke"),
        ("REFUND_FULL", "refund_full"),
        ("BORED_REVOKE", "bored_revoke"),
        (None, "revoke"),
    ],
)
def test_why_a_member_was_removed(ownership, type_, reason):
    """In Apple's word, old or new, whoever shared it with them."""
    entry = said("REVOKE", inAppOwnershipType=ownership, revocationType=type_)

    assert (K.MEMBER_REMOVED, reason, TRANSACTION) == (entry.kind, entry.reason, entry.subject.purchase_id)


def test_a_purchaser_is_no_member():
    """What says REVOKE of a purchaser's own transaction takes nothing: purchasers lose theirs by REFUND."""
    assert Quarantined("member_is_the_purchaser") == meaning("REVOKE", chains.transaction())


# --- Seats


def unclaim(*seats: Any, **info: Any) -> dict[str, Any]:
    """Describe seats that Apple took back."""
    return {"unclaimSeatIds": list(seats), **info}


def test_seats_are_taken_back_one_by_one():
    """Each seat is a purchase by its own id, under which the backend told whose it is; named twice it is one."""
    answer = meaning("UNCLAIM_SEATS", None, unclaimInfo=unclaim(SEAT, OTHER_SEAT, SEAT))

    assert isinstance(answer, Meaning)
    assert [SEAT, OTHER_SEAT] == [entry.subject.purchase_id for entry in answer.said]
    for entry in answer.said:
        assert (K.MEMBER_REMOVED, "unclaim_seats", AT_MS) == (entry.kind, entry.reason, entry.occurred_at_ms)
        assert (PurchaseFacts(), None, "production") == (entry.facts, entry.refund, entry.environment)


@pytest.mark.parametrize(
    ("info", "detail"),
    [
        (None, "unclaimInfo: missing"),
        ({}, "unclaimInfo.unclaimSeatIds: list_type"),
        (unclaim(), "unclaimInfo.unclaimSeatIds: too_short"),
        ({"unclaimSeatIds": SEAT}, "unclaimInfo.unclaimSeatIds: list_type"),
        (unclaim(SEAT, 7), "unclaimInfo.unclaimSeatIds.1: string_type"),
        (unclaim(""), "unclaimInfo.unclaimSeatIds.0: string_too_short"),
        (unclaim("s" * 256), "unclaimInfo.unclaimSeatIds.0: string_too_long"),
    ],
)
def test_seats_that_nobody_can_name_wait_for_a_person(info, detail):
    """Without its seats, UNCLAIM_SEATS takes nothing; what is wrong is named, and not what it holds."""
    assert Quarantined("unexpected_shape", detail) == meaning("UNCLAIM_SEATS", None, unclaimInfo=info)


OURS = {"bundleId": BUNDLE_ID, "appAppleId": APP_APPLE_ID, "environment": "Production"}


def verify_unclaim(info: dict[str, Any], **payload: Any) -> Any:
    """Ask whether to believe a genuine UNCLAIM_SEATS."""
    token = good().sign(chains.payload("UNCLAIM_SEATS", **{"data": None, "unclaimInfo": info, **payload}))
    return PLATFORM.verify(Received("acme", body(token)), settings=SETTINGS, keys={"root": good().root}, now=SIGNED_AT)


def test_seats_of_this_app_are_believed():
    """`unclaimInfo` that names this app and its environment is believed, and so is one beside data that does."""
    alone = verify_unclaim(unclaim(SEAT, **OURS))
    beside = verify_unclaim(unclaim(SEAT), data=chains.data())

    for believed in (alone, beside):
        assert "production" == PLATFORM.identify(believed).environment
        assert SEAT == only(PLATFORM.normalize(believed, {}, settings=SETTINGS)).subject.purchase_id


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (unclaim(SEAT), "no_app_named"),
        (unclaim(SEAT, environment="Production"), "no_app_named"),
        (unclaim(SEAT, **{**OURS, "bundleId": "com.acme.other"}), "bundle_id"),
        (unclaim(SEAT, appAppleId=APP_APPLE_ID), "bundle_id"),
        (unclaim(SEAT, bundleId=BUNDLE_ID), "environment"),
        (unclaim(SEAT, **{**OURS, "appAppleId": 1}), "app_apple_id"),
    ],
)
def test_seats_of_no_app_are_refused(info, reason):
    """Whoever's seats they are: a genuine notification that does not name this app in full is not this app's."""
    with pytest.raises(WrongApp, match=f"^{reason}$"):
        verify_unclaim(info)


def test_seats_of_another_app_are_refused_beside_this_one():
    """Two parts that name two apps are believed of neither."""
    with pytest.raises(WrongApp, match="bundle_id"):
        verify_unclaim(unclaim(SEAT, **{**OURS, "bundleId": "com.acme.other"}), data=chains.data())


# --- Store accounts


@pytest.mark.parametrize("type_", ["Auto-Renewable Subscription", "Non-Consumable", "Non-Renewing Subscription"])
def test_what_lasts_is_tied_to_its_account(type_):
    """Subscriptions and what is bought for good share the id of the Apple Account's download of the app."""
    entry = bought("SUBSCRIBED", type=type_, appTransactionId=ACCOUNT)

    assert (f"app_transaction:{ACCOUNT}",) == entry.subject.kin
    assert not entry.subject.whole_lineage


@pytest.mark.parametrize("transaction", [{"type": "Consumable"}, {"type": "Collectible"}, {"appTransactionId": None}])
def test_what_does_not_last_is_tied_to_nobody(transaction):
    """Coins are bought without end and no consent takes them; without the id there is nothing to tie."""
    assert () == bought("ONE_TIME_CHARGE", **{"appTransactionId": ACCOUNT, **transaction}).subject.kin


def test_an_upgrade_ends_no_neighbor():
    """What ends the old plan names its lineage alone: the account's other purchases go on."""
    answer = meaning(
        "DID_CHANGE_RENEWAL_PREF",
        chains.transaction(revocationDate=None, appTransactionId=ACCOUNT),
        subtype="UPGRADE",
    )

    assert isinstance(answer, Meaning)
    ended, began = answer.said
    assert ((), (f"app_transaction:{ACCOUNT}",)) == (ended.subject.kin, began.subject.kin)


def test_a_guardian_withdraws_consent():
    """RESCIND_CONSENT concerns whatever that account bought in the app, and names nothing else."""
    entry = only(meaning("RESCIND_CONSENT", None, app_transaction=app_transaction(appTransactionId=ACCOUNT)))

    assert (K.CONSENT_RESCINDED, "rescind_consent") == (entry.kind, entry.reason)
    assert Subject(kin=(f"app_transaction:{ACCOUNT}",)) == entry.subject
    assert (AT_MS, PurchaseFacts(), None) == (entry.occurred_at_ms, entry.facts, entry.refund)


def test_consent_is_withdrawn_by_what_apple_signed():
    """The account is read from the signed app transaction of a believed notification."""
    nested = good().sign(app_transaction(appTransactionId=ACCOUNT))
    token = good().sign(
        chains.payload("RESCIND_CONSENT", data=None, appData=chains.data(signedAppTransactionInfo=nested))
    )
    believed = PLATFORM.verify(
        Received("acme", body(token)), settings=SETTINGS, keys={"root": good().root}, now=SIGNED_AT
    )

    assert (f"app_transaction:{ACCOUNT}",) == only(PLATFORM.normalize(believed, {}, settings=SETTINGS)).subject.kin


@pytest.mark.parametrize(
    ("app", "reason", "detail"),
    [
        (app_transaction(), "consent_of_an_unknown_account", ""),
        (None, "unexpected_shape", "signedAppTransactionInfo: missing"),
        (app_transaction(appTransactionId=7), "unexpected_shape", "appTransactionId: string_type"),
        (app_transaction(appTransactionId=""), "unexpected_shape", "appTransactionId: string_too_short"),
    ],
)
def test_consent_of_nobody_waits_for_a_person(app, reason, detail):
    """Without the id of an account nobody's purchases are concerned."""
    answer = meaning("RESCIND_CONSENT", None, app_transaction=app)

    assert isinstance(answer, Quarantined)
    assert reason == answer.reason
    assert detail in answer.detail


@pytest.mark.parametrize("type_", ["REVOKE", "UNCLAIM_SEATS", "RESCIND_CONSENT"])
def test_a_new_way_to_take_away_waits_for_a_person(type_):
    """A subtype that nobody has heard of takes nothing from anybody."""
    answer = meaning(type_, chains.transaction(**MEMBER), subtype="HALF", unclaimInfo=unclaim(SEAT))

    assert Quarantined("unknown_subtype", f"{type_} HALF") == answer
