"""What Apple's notifications mean for purchases: the table, the money, and what waits for a person.

The story throughout: an annual plan of 49.99 dollars, bought in December, refunded after nine months.
"""

from typing import Any

import pytest
from appstoreserverlibrary.models.NotificationTypeV2 import NotificationTypeV2
from appstoreserverlibrary.models.RevocationType import RevocationType
from hypothesis import given
from hypothesis import strategies as st

from handlers.apple import PLATFORM
from handlers.apple_meaning import MEANING
from handlers.errors import Malformed
from schemas.entry import EntryKind, RefundFacts, Said, Subject
from schemas.meaning import Ignored, Meaning, Normalized, Quarantined
from schemas.platforms.apple import Notification, Payload
from tests.handlers import apple_chains as chains
from tests.handlers.apple_chains import SETTINGS, SIGNED_AT

pytestmark = pytest.mark.unit

AT_MS = SIGNED_AT * 1000
BOUGHT_MS = (SIGNED_AT - 270 * 86400) * 1000
EXPIRES_MS = (SIGNED_AT + 95 * 86400) * 1000
K = EntryKind
THREE_PRORATED = {"quantity": 3, "revocationType": "REFUND_PRORATED"}


def meaning(type_: str, transaction: dict[str, Any] | None, **payload: Any) -> Normalized:
    """Say what a notification means."""
    notification = Notification(
        payload=Payload.model_validate(chains.payload(type_, **payload)), transaction=transaction
    )
    return PLATFORM.normalize(notification, {}, settings=SETTINGS)


def said(type_: str, subtype: str | None = None, **transaction: Any) -> Said:
    """Give the one thing that a notification says."""
    answer = meaning(type_, chains.transaction(**transaction), subtype=subtype)
    assert isinstance(answer, Meaning), answer
    (only,) = answer.said
    return only


def refunded(**transaction: Any) -> RefundFacts:
    """Give what a REFUND says of the refund."""
    refund = said("REFUND", **transaction).refund
    assert refund is not None
    return refund


def bought(type_: str, subtype: str | None = None, **transaction: Any) -> Said:
    """Give the one thing that a notification without any revocation says."""
    return said(type_, subtype, **{"revocationDate": None, "revocationReason": None, **transaction})


def test_a_refund_names_its_transaction_and_nothing_else():
    """The refund of one period is about that period: its lineage is named, and not meant."""
    refund = said("REFUND")

    assert K.REFUND_SUCCEEDED == refund.kind
    assert Subject(purchase_id="2000000900000001", lineage=("original:2000000900000000",)) == refund.subject
    assert not refund.subject.whole_lineage
    assert AT_MS == refund.occurred_at_ms
    assert "production" == refund.environment


def test_a_refund_tells_of_its_purchase():
    """A purchase that nobody told us of becomes known by its refund."""
    facts = said("REFUND").facts

    assert ("com.acme.pro.annual", "subscription") == (facts.product_id, facts.kind)
    assert "7e3fb204-2ef5-4d5c-8f2a-6b1f3c7d9e10" == facts.user_id
    assert (4999, "usd", 1) == (facts.amount, facts.currency, facts.quantity)
    assert (BOUGHT_MS, EXPIRES_MS) == (facts.purchased_at_ms, facts.expires_at_ms)


def test_a_refund_of_everything():
    """Before December 2025 Apple said no more than that there was a refund: all of it went back."""
    refund = refunded()

    assert ("full", 100_000, 1) == (refund.scope, refund.share_millis, refund.quantity)
    assert (4999, "estimated", "usd") == (refund.amount, refund.amount_source, refund.currency)
    assert "2000000900000001" == refund.platform_refund_id
    assert ("app_issue", AT_MS) == (refund.reason, refund.created_at_ms)


@pytest.mark.parametrize(
    ("transaction", "scope", "share", "amount", "units"),
    [
        ({"revocationType": "REFUND_FULL"}, "full", 100_000, 4999, 1),
        ({"revocationType": "REFUND_FULL", "revocationPercentage": 100_000}, "full", 100_000, 4999, 1),
        ({"revocationType": "REFUND_PRORATED", "revocationPercentage": 26_027}, "prorated", 26_027, 1301, None),
        ({"revocationType": "REFUND_PRORATED", "revocationPercentage": 100_000}, "full", 100_000, 4999, 1),
        ({"revocationType": "REFUND_PRORATED"}, "prorated", None, None, None),
        ({"revocationPercentage": 50_000}, "partial", 50_000, 2500, None),
        ({"revocationPercentage": 0}, "partial", 0, 0, None),
        ({"quantity": 3, "revocationPercentage": 33_333}, "quantity", 33_333, 1666, 1),
        ({"quantity": 3, "revocationPercentage": 66_667}, "quantity", 66_667, 3333, 2),
        ({**THREE_PRORATED, "revocationPercentage": 33_333}, "quantity", 33_333, 1666, 1),
        ({**THREE_PRORATED, "revocationPercentage": 40_000}, "prorated", 40_000, 2000, None),
        ({"quantity": 3, "revocationPercentage": 40_000}, "partial", 40_000, 2000, None),
        ({"quantity": 3, "revocationPercentage": 100_000}, "full", 100_000, 4999, 3),
        ({"quantity": 3, "revocationType": "REFUND_FULL"}, "full", 100_000, 4999, 3),
        ({"quantity": 3}, "unknown", None, None, None),
        ({"quantity": None}, "full", 100_000, 4999, None),
    ],
)  # fmt: skip
def test_how_much_went_back(transaction, scope, share, amount, units):
    """By type, percentage and quantity; units only where the share is that of whole units; amounts are estimates."""
    refund = refunded(**transaction)

    assert (scope, share, units) == (refund.scope, refund.share_millis, refund.quantity)
    assert amount == refund.amount
    assert ("unknown" if amount is None else "estimated") == refund.amount_source


@pytest.mark.parametrize(
    ("transaction", "amount", "currency"),
    [
        ({"price": 1_200_000, "currency": "JPY"}, 1200, "jpy"),
        ({"price": 3_490, "currency": "KWD"}, 3490, "kwd"),
        ({"price": 0}, 0, "usd"),
        ({"price": None}, None, "usd"),
        ({"currency": None}, None, None),
        ({"currency": "$"}, None, None),
        ({"price": None, "currency": None}, None, None),
        ({"multiSeatInfo": {"invitationManagement": "APPLE"}}, None, "usd"),
    ],
)
def test_what_was_paid(transaction, amount, currency):
    """Milliunits become minor units of the currency; seats have an average price, and family members none."""
    facts = said("REFUND", **transaction).facts

    assert (amount, currency) == (facts.amount, facts.currency)


@given(st.integers(0, 10**9), st.sampled_from(["USD", "JPY", "KWD", "CLF"]), st.integers(0, 100_000))
def test_no_refund_is_more_than_was_paid(price, currency, share):
    """Whatever the price, currency and share, the estimate is at most what was paid, in the same currency."""
    entry = said("REFUND", price=price, currency=currency, revocationPercentage=share)

    assert entry.refund is not None
    assert 0 <= (entry.refund.amount or 0) <= (entry.facts.amount or 0)
    assert entry.facts.currency == entry.refund.currency


def test_every_word_about_one_refund_names_the_same_refund():
    """A second partial refund and the reversal are about the refund of that transaction."""
    reversal = bought("REFUND_REVERSED")

    assert K.REFUND_REVERSED == reversal.kind
    assert reversal.refund is not None
    assert refunded(revocationPercentage=40_000).platform_refund_id == reversal.refund.platform_refund_id
    assert refunded().platform_refund_id == reversal.refund.platform_refund_id


@pytest.mark.parametrize(("code", "reason"), [(0, "other"), (1, "app_issue"), (7, None), (None, None)])
def test_why_it_was_refunded(code, reason):
    """In Apple's two reasons; a third one is no obstacle."""
    assert reason == refunded(revocationReason=code).reason


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
        ("RENEWAL_EXTENDED", None, K.RENEWED),
        ("EXPIRED", None, K.EXPIRED),
        ("EXPIRED", "VOLUNTARY", K.EXPIRED),
        ("GRACE_PERIOD_EXPIRED", None, K.EXPIRED),
        ("REVOKE", None, K.REVOKED),
        ("REFUND_REVERSED", None, K.REFUND_REVERSED),
    ],
)
def test_what_happened_to_the_transaction(type_, subtype, kind):
    """Each type says one thing of the transaction it carries, with everything known of the purchase."""
    entry = bought(type_, subtype)

    assert kind == entry.kind
    assert "2000000900000001" == entry.subject.purchase_id
    assert ("com.acme.pro.annual", 4999) == (entry.facts.product_id, entry.facts.amount)
    assert AT_MS == entry.occurred_at_ms


@pytest.mark.parametrize(
    ("type_", "subtype", "transaction", "reason"),
    [
        ("EXPIRED", "VOLUNTARY", {}, "voluntary"),
        ("EXPIRED", "BILLING_RETRY", {}, "billing_retry"),
        ("EXPIRED", None, {}, "expired"),
        ("GRACE_PERIOD_EXPIRED", None, {}, "grace_period_expired"),
        ("REVOKE", None, {"revocationType": "FAMILY_REVOKE"}, "family_revoke"),
        ("REVOKE", None, {}, "revoke"),
    ],
)
def test_why_access_ended(type_, subtype, transaction, reason):
    """In Apple's words: the subtype, or the kind of revocation."""
    assert reason == said(type_, subtype, **transaction).reason


def test_a_family_members_access_is_their_own():
    """REVOKE is about the member's transaction; the purchaser's refund comes by itself, as REFUND."""
    entry = said(
        "REVOKE",
        transactionId="2000000900000777",
        originalTransactionId="2000000900000776",
        inAppOwnershipType="FAMILY_SHARED",
        revocationType="FAMILY_REVOKE",
        appAccountToken=None,
        price=None,
        currency=None,
    )

    assert K.REVOKED == entry.kind
    assert Subject(purchase_id="2000000900000777", lineage=("original:2000000900000776",)) == entry.subject
    assert (None, None, None) == (entry.facts.user_id, entry.facts.amount, entry.refund)


@pytest.mark.parametrize("type_", ["DID_CHANGE_RENEWAL_PREF", "OFFER_REDEEMED"])
def test_an_upgrade_ends_the_old_plan_and_begins_the_new(type_):
    """What the lineage bought before ends a moment before the new plan begins: its rest was paid back."""
    answer = meaning(type_, chains.transaction(revocationDate=None), subtype="UPGRADE")

    assert isinstance(answer, Meaning)
    ended, began = answer.said
    assert (K.EXPIRED, K.PURCHASED) == (ended.kind, began.kind)
    assert ended.subject.whole_lineage
    assert Subject(lineage=("original:2000000900000000",)) == ended.subject
    assert (BOUGHT_MS - 1, "upgraded") == (ended.occurred_at_ms, ended.reason)
    assert "2000000900000001" == began.subject.purchase_id


def test_an_upgrade_that_names_no_lineage_begins_only():
    """Without an original transaction nothing older is known to end."""
    entry = bought("DID_CHANGE_RENEWAL_PREF", "UPGRADE", originalTransactionId=None)

    assert (K.PURCHASED, ()) == (entry.kind, entry.subject.lineage)


@pytest.mark.parametrize("type_", ["SUBSCRIBED", "DID_CHANGE_RENEWAL_PREF"])
def test_a_transaction_that_was_upgraded_has_ended(type_):
    """`isUpgraded` marks the old plan, whatever notification carries it."""
    entry = bought(type_, "UPGRADE", isUpgraded=True)

    assert (K.EXPIRED, "upgraded", "2000000900000001") == (entry.kind, entry.reason, entry.subject.purchase_id)


@pytest.mark.parametrize(
    ("type_", "subtype", "reason"),
    [
        ("TEST", None, "test"),
        ("REFUND", "SEATS", "seats_refunded"),
        ("REFUND_DECLINED", None, "refund_declined"),
        ("CONSUMPTION_REQUEST", None, "consumption_request"),
        ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_DISABLED", "renewal_status"),
        ("DID_CHANGE_RENEWAL_PREF", None, "renewal_preference"),
        ("DID_CHANGE_RENEWAL_PREF", "DOWNGRADE", "plan_changes_at_renewal"),
        ("OFFER_REDEEMED", "DOWNGRADE", "plan_changes_at_renewal"),
        ("DID_FAIL_TO_RENEW", "GRACE_PERIOD", "billing_grace_period"),
        ("DID_FAIL_TO_RENEW", None, "billing_retry"),
        ("PRICE_INCREASE", "PENDING", "price_increase"),
        ("PRICE_CHANGE", None, "price_change"),
        ("RENEWAL_EXTENSION", "SUMMARY", "renewal_extension"),
        ("METADATA_UPDATE", None, "metadata_update"),
        ("MIGRATION", None, "migration"),
        ("MIGRATE", None, "migration"),
        ("EXTERNAL_PURCHASE_TOKEN", "UNREPORTED", "external_purchase_token"),
        ("EXTERNAL_PURCHASE_TOKEN", "ACTIVE_TOKEN_REMINDER", "external_purchase_token"),
        ("RESCIND_CONSENT", None, "consent_rescinded"),
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
        ("REVOKE", "HALF", "unknown_subtype"),
        ("UNCLAIM_SEATS", None, "seats_unclaimed"),
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
        ("REFUND", {"advancedCommerceInfo": {"items": []}}, "advanced_commerce_refund"),
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
    assert {type_.value for type_ in NotificationTypeV2} - set(MEANING) == set()


def test_every_revocation_type_of_apples_library_is_known():
    """Apple's kinds of revocation are the two of refunds, and the one of families that REVOKE carries."""
    assert {"REFUND_FULL", "REFUND_PRORATED", "FAMILY_REVOKE"} == {type_.value for type_ in RevocationType}


TYPES = st.sampled_from([*MEANING, "REFUND_PONDERED"])
SUBTYPES = st.none() | st.sampled_from(["", "SEATS", "UPGRADE", "DOWNGRADE", "HALF", "*"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    [*chains.transaction(), "isUpgraded", "revocationType", "revocationPercentage", "multiSeatInfo"]
)


@given(TYPES, SUBTYPES, st.dictionaries(FIELDS, VALUES, max_size=4))
def test_normalize_is_total(type_, subtype, changes):
    """Whatever stands in a transaction, the answer is a meaning, a reason to ignore or to wait, or malformed."""
    try:
        answer = meaning(type_, {**chains.transaction(), **changes}, subtype=subtype)
    except Malformed:
        return

    assert isinstance(answer, Meaning | Ignored | Quarantined)
    if isinstance(answer, Meaning):
        assert answer.said
