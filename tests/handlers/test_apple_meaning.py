"""What Apple's notifications mean for purchases: the table, the dates, and what waits for a person.

How much went back is in test_apple_refunds.py, who shares and who belongs together in test_apple_members.py.
"""

import pytest
from appstoreserverlibrary.models.NotificationTypeV2 import NotificationTypeV2
from appstoreserverlibrary.models.Subtype import Subtype
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from handlers.apple_meaning import MEANING
from handlers.errors import Malformed
from schemas.entry import EntryKind, Subject
from schemas.meaning import Ignored, Meaning, Quarantined
from tests.handlers import apple_chains as chains
from tests.handlers.apple_notes import (
    AT_MS,
    BOUGHT_MS,
    DAY_MS,
    EXPIRES_MS,
    GRACE_MS,
    ORIGINAL,
    TRANSACTION,
    WITHOUT_REVOCATION,
    bought,
    meaning,
    only,
    said,
)
from tests.handlers.json_edits import ANY_JSON, edits_of

pytestmark = pytest.mark.unit

K = EntryKind


@pytest.mark.parametrize(
    ("type_", "subtype", "kind"),
    [
        ("SUBSCRIBED", "INITIAL_BUY", K.PURCHASED),
        ("SUBSCRIBED", "RESUBSCRIBE", K.PURCHASED),
        ("SUBSCRIBED", "BY_CARRIER_PIGEON", K.PURCHASED),
        ("ONE_TIME_CHARGE", None, K.PURCHASED),
        ("OFFER_REDEEMED", None, K.PURCHASED),
        ("DID_RENEW", None, K.RENEWED),
        ("DID_RENEW", "BILLING_RECOVERY", K.RENEWED),
        ("RENEWAL_EXTENDED", None, K.RESCHEDULED),
        ("CONSUMPTION_REQUEST", None, K.REFUND_REQUESTED),
        ("REFUND_DECLINED", None, K.REFUND_DECLINED),
        ("EXPIRED", None, K.EXPIRED),
        ("EXPIRED", "VOLUNTARY", K.EXPIRED),
        ("GRACE_PERIOD_EXPIRED", None, K.EXPIRED),
        ("REFUND_REVERSED", None, K.REFUND_REVERSED),
    ],
)
def test_what_happened_to_the_transaction(type_, subtype, kind):
    """Each type says one thing of the transaction it carries, with everything known of the purchase."""
    entry = bought(type_, subtype)

    assert kind == entry.kind
    assert TRANSACTION == entry.subject.purchase_id
    assert ("com.acme.pro.annual", 4999) == (entry.facts.product_id, entry.facts.amount)
    assert AT_MS == entry.occurred_at_ms


@pytest.mark.parametrize(
    ("type_", "subtype", "transaction", "reason"),
    [
        ("EXPIRED", "VOLUNTARY", {}, "voluntary"),
        ("EXPIRED", "BILLING_RETRY", {}, "billing_retry"),
        ("EXPIRED", None, {}, "expired"),
        ("GRACE_PERIOD_EXPIRED", None, {}, "grace_period_expired"),
        ("EXPIRED", "PRICE_INCREASE", {}, "price_increase"),
        ("EXPIRED", "PRODUCT_NOT_FOR_SALE", {}, "product_not_for_sale"),
        ("EXPIRED", "TIME_TRAVEL", {}, "time_travel"),
    ],
)
def test_why_access_ended(type_, subtype, transaction, reason):
    """In Apple's words, known and new: the subtype, or else the type."""
    assert reason == said(type_, subtype, **transaction).reason


# --- When it ends


def test_an_extension_moves_the_end_and_pays_for_nothing():
    """RENEWAL_EXTENDED carries the same transaction with a later date: it ends then, and nothing was bought."""
    entry = bought("RENEWAL_EXTENDED", expiresDate=GRACE_MS)

    assert (K.RESCHEDULED, GRACE_MS, "renewal_extended") == (entry.kind, entry.facts.expires_at_ms, entry.reason)


def test_an_extension_to_no_date_waits_for_a_person():
    """An extension that does not say until when would be one without end."""
    answer = meaning("RENEWAL_EXTENDED", chains.transaction(**WITHOUT_REVOCATION, expiresDate=None))

    assert Quarantined("extension_without_date") == answer


def grace(renewal, **transaction):
    """Give what the beginning of a grace period means."""
    plan = chains.transaction(**{**WITHOUT_REVOCATION, **transaction})
    return meaning("DID_FAIL_TO_RENEW", plan, subtype="GRACE_PERIOD", renewal=renewal)


def test_a_grace_period_moves_the_end():
    """While Apple retries and asks to go on serving, it ends with the grace period."""
    entry = only(grace(chains.renewal(gracePeriodExpiresDate=GRACE_MS)))

    assert (K.RESCHEDULED, "grace_period", TRANSACTION) == (entry.kind, entry.reason, entry.subject.purchase_id)
    assert (GRACE_MS, BOUGHT_MS, 4999) == (
        entry.facts.expires_at_ms,
        entry.facts.purchased_at_ms,
        entry.facts.amount,
    )


def test_a_grace_period_takes_no_time_that_was_paid_for():
    """A grace period that ends before the paid one changes nothing of that."""
    entry = only(grace(chains.renewal(gracePeriodExpiresDate=EXPIRES_MS - DAY_MS)))

    assert EXPIRES_MS == entry.facts.expires_at_ms
    assert (
        GRACE_MS == only(grace(chains.renewal(gracePeriodExpiresDate=GRACE_MS), expiresDate=None)).facts.expires_at_ms
    )


@pytest.mark.parametrize("renewal", [None, chains.renewal()])
def test_a_grace_period_without_its_date_has_no_end_yet(renewal):
    """The old date no longer counts, and Apple says itself when the grace is over."""
    entry = only(grace(renewal))

    assert (K.RESCHEDULED, None) == (entry.kind, entry.facts.expires_at_ms)


@pytest.mark.parametrize(
    ("renewal", "reason", "detail"),
    [
        (chains.renewal(gracePeriodExpiresDate="soon"), "unexpected_shape", "gracePeriodExpiresDate: int_type"),
        (chains.renewal(originalTransactionId="2"), "renewal_of_another_subscription", ""),
    ],
)
def test_a_grace_period_of_something_else_waits_for_a_person(renewal, reason, detail):
    """A renewal in another shape, or of another subscription, moves no date."""
    answer = grace(renewal)

    assert isinstance(answer, Quarantined)
    assert reason == answer.reason
    assert detail in answer.detail


def test_what_is_said_during_a_grace_period_keeps_it():
    """Any other word about the newest period tells the end of its grace, and a word about an older one does not."""
    # A request for a refund would otherwise bring back the date that the grace period moved.
    renewal = chains.renewal(gracePeriodExpiresDate=GRACE_MS, renewalDate=EXPIRES_MS)
    newest = chains.transaction(**WITHOUT_REVOCATION)
    older = chains.transaction(**WITHOUT_REVOCATION, expiresDate=EXPIRES_MS - 365 * DAY_MS)

    assert GRACE_MS == only(meaning("CONSUMPTION_REQUEST", newest, renewal=renewal)).facts.expires_at_ms
    assert older["expiresDate"] == only(meaning("CONSUMPTION_REQUEST", older, renewal=renewal)).facts.expires_at_ms
    assert EXPIRES_MS == only(meaning("CONSUMPTION_REQUEST", newest, renewal={"renewalDate": ""})).facts.expires_at_ms


# --- Upgrades


@pytest.mark.parametrize("type_", ["DID_CHANGE_RENEWAL_PREF", "OFFER_REDEEMED"])
def test_an_upgrade_ends_the_old_plan_and_begins_the_new(type_):
    """What the lineage bought before ends a moment before the new plan begins: its rest was paid back."""
    answer = meaning(type_, chains.transaction(revocationDate=None), subtype="UPGRADE")

    assert isinstance(answer, Meaning)
    ended, began = answer.said
    assert (K.EXPIRED, K.PURCHASED) == (ended.kind, began.kind)
    assert ended.subject.whole_lineage
    assert Subject(lineage=(f"original:{ORIGINAL}",)) == ended.subject
    assert (BOUGHT_MS - 1, "upgraded") == (ended.occurred_at_ms, ended.reason)
    assert TRANSACTION == began.subject.purchase_id


def test_an_upgrade_that_names_no_lineage_begins_only():
    """Without an original transaction nothing older is known to end."""
    entry = bought("DID_CHANGE_RENEWAL_PREF", "UPGRADE", originalTransactionId=None)

    assert (K.PURCHASED, ()) == (entry.kind, entry.subject.lineage)


@pytest.mark.parametrize("type_", ["SUBSCRIBED", "DID_CHANGE_RENEWAL_PREF"])
def test_a_transaction_that_was_upgraded_has_ended(type_):
    """`isUpgraded` marks the old plan, whatever notification carries it."""
    entry = bought(type_, "UPGRADE", isUpgraded=True)

    assert (K.EXPIRED, "upgraded", TRANSACTION) == (entry.kind, entry.reason, entry.subject.purchase_id)


@pytest.mark.parametrize(
    ("type_", "subtype", "reason"),
    [
        ("TEST", None, "test"),
        ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_DISABLED", "renewal_status"),
        ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_ENABLED", "renewal_status"),
        ("DID_CHANGE_RENEWAL_PREF", None, "renewal_preference"),
        ("DID_CHANGE_RENEWAL_PREF", "DOWNGRADE", "plan_changes_at_renewal"),
        ("OFFER_REDEEMED", "DOWNGRADE", "plan_changes_at_renewal"),
        ("DID_FAIL_TO_RENEW", None, "billing_retry"),
        ("DID_FAIL_TO_RENEW", "SOLAR_FLARE", "billing_retry"),
        ("PRICE_INCREASE", "PENDING", "price_increase"),
        ("PRICE_INCREASE", "ACCEPTED", "price_increase"),
        ("PRICE_CHANGE", None, "price_change"),
        ("RENEWAL_EXTENSION", "SUMMARY", "renewal_extension"),
        ("RENEWAL_EXTENSION", "FAILURE", "renewal_extension"),
        ("METADATA_UPDATE", None, "metadata_update"),
        ("MIGRATION", None, "migration"),
        ("MIGRATE", None, "migration"),
        ("EXTERNAL_PURCHASE_TOKEN", "CREATED", "external_purchase_token"),
        ("EXTERNAL_PURCHASE_TOKEN", "UNREPORTED", "external_purchase_token"),
        ("EXTERNAL_PURCHASE_TOKEN", "ACTIVE_TOKEN_REMINDER", "external_purchase_token"),
    ],
)
def test_what_concerns_no_purchase_is_ignored_by_name(type_, subtype, reason):
    """Known, understood, and without effect; a transaction is not even looked at."""
    assert Ignored(reason) == meaning(type_, None, subtype=subtype)


@pytest.mark.parametrize(
    ("type_", "subtype", "reason"),
    [
        ("REFUND_PONDERED", None, "unknown_type"),
        ("refund", None, "unknown_type"),
        ("REFUND", "HALF", "unknown_subtype"),
        ("REFUND_REVERSED", "HALF", "unknown_subtype"),
    ],
)
def test_what_is_not_understood_waits_for_a_person(type_, subtype, reason):
    """New words take nothing away; they are kept, visible, and can be replayed."""
    answer = meaning(type_, chains.transaction(), subtype=subtype)

    assert isinstance(answer, Quarantined)
    assert reason == answer.reason


@pytest.mark.parametrize(
    ("type_", "transaction", "reason"),
    [
        ("REFUND", {"revocationDate": None}, "refund_without_revocation_date"),
        ("REFUND", {"revocationType": "FAMILY_REVOKE"}, "unknown_revocation_type"),
        ("REFUND", {"revocationType": "REFUND_IN_KIND"}, "unknown_revocation_type"),
        ("REFUND_REVERSED", {}, "reversed_yet_revoked"),
        ("SUBSCRIBED", {}, "granted_yet_revoked"),
        ("DID_RENEW", {}, "granted_yet_revoked"),
    ],
)
def test_what_contradicts_itself_waits_for_a_person(type_, transaction, reason):
    """A notification whose transaction says otherwise, or says too little, changes nothing."""
    answer = meaning(type_, chains.transaction(**transaction))

    assert isinstance(answer, Quarantined)
    assert reason == answer.reason


def test_another_version_waits_for_a_person():
    """What version 3 will mean by these words is not known."""
    assert Quarantined("unknown_version", "3.0") == meaning("REFUND", chains.transaction(), version="3.0")


@pytest.mark.parametrize("version", ["2.0", "2.7", None])
def test_version_two_is_understood(version):
    """Minor versions add, and an absent one is no obstacle."""
    assert isinstance(meaning("REFUND", chains.transaction(), version=version), Meaning)


@pytest.mark.parametrize(
    ("transaction", "detail"),
    [
        (None, "signedTransactionInfo: missing"),
        ({}, "transactionId: missing"),
        ({"transactionId": ""}, "transactionId: string_too_short"),
        (chains.transaction(price="49.99"), "price: int_type"),
        (chains.transaction(price=49.99), "price: int_type"),
        (chains.transaction(purchaseDate=1.79e12), "purchaseDate: int_type"),
        (chains.transaction(expiresDate=10**30), "expiresDate: less_than"),
        (chains.transaction(quantity=-1), "quantity: greater_than_equal"),
        (chains.transaction(revocationPercentage=100_001), "revocationPercentage: less_than_equal"),
    ],
)
def test_a_new_shape_waits_for_a_person(transaction, detail):
    """A field in another shape changes nothing, and is named without what it holds."""
    answer = meaning("REFUND", transaction)

    assert isinstance(answer, Quarantined)
    assert "unexpected_shape" == answer.reason
    assert detail in answer.detail
    assert "49.99" not in answer.detail


def test_every_type_of_apples_library_has_a_meaning():
    """No type that Apple's own library knows is unknown here: a newer library that knows more fails this test."""
    assert set() == {type_.value for type_ in NotificationTypeV2} - set(MEANING)


def test_every_subtype_of_apples_library_has_a_meaning():
    """No subtype that Apple's own library knows is unknown here, nor those that only its pages know."""
    known = {subtype for by_subtype in MEANING.values() for subtype in by_subtype}

    assert set() == {subtype.value for subtype in Subtype} - known
    assert {"SEATS", "CREATED", "ACTIVE_TOKEN_REMINDER"} <= known


TYPES = st.sampled_from([*MEANING, "REFUND_PONDERED"])
SUBTYPES = st.none() | st.sampled_from(["", "SEATS", "UPGRADE", "DOWNGRADE", "GRACE_PERIOD", "HALF", "*"])
SEATS = {"revokedSeatQuantity": 2, "priceTiers": [{"price": 49990, "quantity": 1}]}
ITEMS = {"items": [{"refunds": [{"refundAmount": 10, "refundDate": AT_MS, "refundType": "FULL"}]}]}
CARRIED = {
    "transaction": chains.transaction(
        isUpgraded=False, revocationType="REFUND_FULL", revocationPercentage=50_000, appTransactionId="7"
    ),
    "renewal": chains.renewal(gracePeriodExpiresDate=GRACE_MS, renewalDate=EXPIRES_MS),
    "app_transaction": {"appTransactionId": "7"},
    "unclaimInfo": {"unclaimSeatIds": ["a", "b"]},
}
OF_SEVERAL = [
    CARRIED,
    {**CARRIED, "transaction": {**CARRIED["transaction"], "multiSeatInfo": SEATS, "revocationDate": None}},
    {**CARRIED, "transaction": {**CARRIED["transaction"], "advancedCommerceInfo": ITEMS}},
]


@given(TYPES, SUBTYPES, st.sampled_from(OF_SEVERAL).flatmap(edits_of))
def test_normalize_is_total(type_, subtype, carried):
    """Whatever stands wherever, the answer is a meaning, a reason to ignore or to wait, or malformed."""
    carried = carried if isinstance(carried, dict) else {}
    try:
        answer = meaning(type_, **{"transaction": None, **carried}, subtype=subtype)
    except (Malformed, ValidationError):  # the door refuses what has another shape there
        return

    assert isinstance(answer, Meaning | Ignored | Quarantined)
    if isinstance(answer, Meaning):
        assert answer.said


@given(TYPES, SUBTYPES, ANY_JSON, ANY_JSON)
def test_normalize_takes_any_json(type_, subtype, value, other):
    """Any JSON value at all, as any part of a notification, is understood, ignored, or waits for a person."""
    inner = {"transactionId": "1", "multiSeatInfo": value, "advancedCommerceInfo": other, "revocationDate": AT_MS}
    for transaction in ({"transactionId": value}, {**chains.transaction(), **inner}):
        info = {"unclaimSeatIds": value}
        answer = meaning(type_, transaction, renewal={"renewalDate": other}, unclaimInfo=info, subtype=subtype)

        assert isinstance(answer, Meaning | Ignored | Quarantined)
