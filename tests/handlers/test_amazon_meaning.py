"""What Real-Time Notifications mean: one table, whatever the JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.platforms import Amazon
from handlers import amazon_meaning
from handlers.amazon import PLATFORM
from handlers.errors import Malformed
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Said, Subject
from schemas.meaning import Confirm, Ignored, Lookup, Meaning, Missing, Quarantined
from schemas.received import Identity
from tests.handlers.appstore import NOW, NOW_MS, RECEIPT, USER, Appstore

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", name="appstore")
def _appstore(tmp_path_factory: pytest.TempPathFactory) -> Appstore:
    return Appstore(tmp_path_factory.mktemp("amazon"))


def entry(kind: EntryKind, product: str, **more: Any) -> Said:
    """Say what every entry about the annual plan's receipt has in common."""
    facts = {"kind": product, "user_id": USER, "user_authority": "guess", **more.pop("facts", {})}
    return Said(
        kind=kind,
        occurred_at_ms=NOW_MS,
        subject=Subject(purchase_id=more.pop("receipt", RECEIPT)),
        environment="production",
        facts=PurchaseFacts.model_validate(facts),
        **more,
    )


def _refunded(word: str) -> dict[str, Any]:
    refund = RefundFacts(platform_refund_id=RECEIPT, scope="full", reason=word, created_at_ms=NOW_MS)
    return {"refund": refund, "reason": word}


_BOUGHT = {"facts": {"purchased_at_ms": NOW_MS}}
MEANING = {
    "SUBSCRIPTION_PURCHASED": entry(EntryKind.PURCHASED, "subscription", **_BOUGHT),
    "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID": entry(EntryKind.RENEWED, "subscription"),
    "SUBSCRIPTION_RENEWED": entry(EntryKind.RENEWED, "subscription"),
    "SUBSCRIPTION_AUTO_RENEWAL_OFF": entry(EntryKind.SIGNALED, "subscription", reason="auto_renewal_off"),
    "SUBSCRIPTION_SCHEDULED_TO_END": entry(EntryKind.SIGNALED, "subscription", reason="scheduled_to_end"),
    "SUBSCRIPTION_IN_GRACE_PERIOD": entry(EntryKind.RESCHEDULED, "subscription", reason="in_grace_period"),
    "SUBSCRIPTION_OUT_OF_GRACE_PERIOD": entry(EntryKind.RENEWED, "subscription"),
    "SUBSCRIPTION_CANCELLED": entry(EntryKind.REVOKED, "subscription", reason="SUBSCRIPTION_CANCELLED"),
    "SUBSCRIPTION_EXPIRED": entry(EntryKind.EXPIRED, "subscription", reason="SUBSCRIPTION_EXPIRED"),
    "CONSUMABLE_PURCHASED": entry(EntryKind.PURCHASED, "consumable", **_BOUGHT),
    "CONSUMABLE_CANCELLED": entry(EntryKind.REFUND_SUCCEEDED, "consumable", **_refunded("CONSUMABLE_CANCELLED")),
    "ENTITLEMENT_PURCHASED": entry(EntryKind.PURCHASED, "non_consumable", **_BOUGHT),
    "ENTITLEMENT_CANCELLED": entry(EntryKind.REFUND_SUCCEEDED, "non_consumable", **_refunded("ENTITLEMENT_CANCELLED")),
}
IGNORED = {
    "SUBSCRIPTION_AUTO_RENEWAL_ON": "auto_renewal_on",
    "SUBSCRIPTION_MODIFIED_DEFERRED": "modified_deferred",
}


def test_all_sixteen_types_are_known() -> None:
    """Every type that Amazon documents stands in exactly one of the two tables, and nothing else does."""
    assert {*MEANING, "SUBSCRIPTION_MODIFIED_IMMEDIATE"} == set(amazon_meaning.MEANING)
    assert IGNORED == amazon_meaning.IGNORED
    assert 16 == len({**amazon_meaning.MEANING, **amazon_meaning.IGNORED})


@pytest.mark.parametrize(("word", "expected"), MEANING.items())
def test_each_type_says_one_thing_of_its_receipt(appstore: Appstore, word: str, expected: Said) -> None:
    """Every type with an effect becomes exactly the entry that the table promises."""
    lookup = Lookup("rvs", f"{USER}/{RECEIPT}")

    assert Meaning((expected,), unlearned=(lookup,)) == appstore.meaning(appstore.rtn(word))


@pytest.mark.parametrize(("word", "reason"), IGNORED.items())
def test_what_leaves_access_as_it_is_is_ignored_by_name(appstore: Appstore, word: str, reason: str) -> None:
    """The wish to renew after all, and a plan for later, change nothing about the receipt as it is."""
    assert Ignored(reason) == appstore.meaning(appstore.rtn(word))


def test_empty_related_receipts_may_be_a_list(appstore: Appstore) -> None:
    """Amazon calls them a map, and an array where nothing is in it: neither is a reason not to understand."""
    empty: tuple[Any, ...] = ({}, [], None)
    for related in empty:
        shot = appstore.rtn("SUBSCRIPTION_MODIFIED_DEFERRED", relatedReceipts=related)
        assert Ignored("modified_deferred") == appstore.meaning(shot)


def test_a_tier_change_ends_one_receipt_and_begins_another(appstore: Appstore) -> None:
    """SUBSCRIPTION_MODIFIED_IMMEDIATE expires the replaced receipt and purchases the new one."""
    shot = appstore.rtn("SUBSCRIPTION_MODIFIED_IMMEDIATE", relatedReceipts={"cancelledReceiptId": "basic-plan"})

    expected = (
        entry(EntryKind.EXPIRED, "subscription", receipt="basic-plan", reason="replaced"),
        entry(EntryKind.PURCHASED, "subscription", facts={"purchased_at_ms": NOW_MS}),
    )

    assert expected == appstore.meaning(shot).said


@pytest.mark.parametrize(
    "related", [None, [], {}, {"cancelledReceiptId": ""}, {"cancelledReceiptId": 1}, {"cancelledReceiptId": RECEIPT}]
)
def test_a_tier_change_without_its_old_receipt_is_kept(appstore: Appstore, related: Any) -> None:
    """Without a receipt to end, nothing is guessed."""
    shot = appstore.rtn("SUBSCRIPTION_MODIFIED_IMMEDIATE", relatedReceipts=related)

    assert Quarantined("unexpected_shape", "SUBSCRIPTION_MODIFIED_IMMEDIATE") == appstore.meaning(shot)


def test_an_unknown_type_is_kept_and_has_no_effect(appstore: Appstore) -> None:
    """The set of types is open: a new one is quarantined by its name."""
    assert Quarantined("unknown_type", "SUBSCRIPTION_PAUSED") == appstore.meaning(appstore.rtn("SUBSCRIPTION_PAUSED"))


@pytest.mark.parametrize("receipt", [None, "", 7])
def test_an_effect_without_a_receipt_is_kept(appstore: Appstore, receipt: Any) -> None:
    """An entry that would concern no purchase, and so perhaps every one, is never made."""
    meaning = appstore.meaning(appstore.rtn("SUBSCRIPTION_CANCELLED", receiptId=receipt))

    assert isinstance(meaning, Quarantined)
    assert "unexpected_shape" == meaning.reason


@pytest.mark.parametrize(
    ("message", "flaw"),
    [
        ("", "message_not_json"),
        ("Hello world!", "message_not_json"),
        ('{"notificationType": "CONSUMABLE_PURCHASED",}', "message_not_json"),
        ('{"notificationType": "A", "notificationType": "B"}', "message_not_json"),
        ("[]", "message_not_json"),
        ("{}", "unexpected_shape"),
        ('{"notificationType": "CONSUMABLE_CANCELLED"}', "unexpected_shape"),
        ('{"notificationType": 1, "appPackageName": "com.example.acme"}', "unexpected_shape"),
    ],
)
def test_an_authentic_message_that_is_not_understood_is_kept(appstore: Appstore, message: Any, flaw: str) -> None:
    """Amazon repeats nothing that got a 4xx, so what its topic signed is kept, without effect."""
    shot = appstore.simulator.publish(message, NOW)

    assert Quarantined(flaw) == appstore.meaning(shot)
    assert "Notification" == PLATFORM.identify(appstore.verify(shot)).type
    assert () == PLATFORM.needs(appstore.verify(shot))


def test_a_package_renamed_since_is_not_acted_on(appstore: Appstore) -> None:
    """What was accepted for one package has no effect once the section names another."""
    payload = appstore.verify(appstore.rtn("SUBSCRIPTION_CANCELLED"))
    settings = appstore.settings.model_copy(update={"package_name": "com.example.renamed"})

    assert Quarantined("package_name_mismatch") == PLATFORM.normalize(payload, {}, settings=settings)


def test_a_subscription_is_confirmed_with_its_token_and_address(appstore: Appstore) -> None:
    """A genuine SubscriptionConfirmation hands the operator what the two ways to confirm need."""
    shot = appstore.simulator.subscription_confirmation(NOW)
    said = json.loads(shot.body)

    expected = Confirm(url=said["SubscribeURL"], token=said["Token"], topic=said["TopicArn"])

    assert expected == appstore.meaning(shot)


def test_an_address_elsewhere_is_never_handed_on(appstore: Appstore) -> None:
    """Even a signed SubscribeURL that leads elsewhere is kept and not visited."""
    shot = appstore.simulator.subscription_confirmation(NOW, SubscribeURL="https://169.254.169.254/latest")

    assert Quarantined("subscribe_url_refused", appstore.settings.topic_arns[0]) == appstore.meaning(shot)


def test_an_unsubscription_raises_the_alarm_and_visits_nothing(appstore: Appstore) -> None:
    """An UnsubscribeConfirmation is kept for a person: its address would subscribe again."""
    shot = appstore.simulator.unsubscribe_confirmation(NOW)

    assert Quarantined("unsubscribed", appstore.settings.topic_arns[0]) == appstore.meaning(shot)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_ALMOST = st.fixed_dictionaries(
    {"notificationType": st.sampled_from([*MEANING, *IGNORED, "SUBSCRIPTION_MODIFIED_IMMEDIATE", "NEW"]) | _JSON},
    optional={
        "appPackageName": st.just("com.example.acme") | _JSON,
        "receiptId": st.text() | _JSON,
        "appUserId": st.text() | _JSON,
        "relatedReceipts": st.dictionaries(st.just("cancelledReceiptId"), st.text() | _JSON) | _JSON,
        "timestamp": st.integers() | _JSON,
        "betaProductTransaction": _JSON,
    },
)


_ANSWER = _JSON | st.fixed_dictionaries(
    {},
    optional={
        "termSku": st.text() | _JSON,
        "productType": st.sampled_from(["SUBSCRIPTION", "CONSUMABLE", "ENTITLED", "NEW"]) | _JSON,
        "cancelReason": st.integers(-1, 5) | _JSON,
        **{name: st.integers(NOW_MS - 2, NOW_MS + 2) | _JSON for name in ("cancelDate", "renewalDate")},
        "gracePeriodEndDate": st.integers() | _JSON,
    },
)
_ANSWERS = _ANSWER | st.builds(Missing, st.sampled_from([400, 410, 497]))


@given(message=_ALMOST | _JSON, answer=_ANSWERS)
def test_every_message_has_some_meaning(message: Any, answer: Any) -> None:
    """Whatever JSON the topic and the look-up carry, normalizing ends in a value or in `Malformed`."""
    envelope = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-east-1:033616359524:acme",
        "Message": json.dumps(message),
        "Timestamp": "2026-11-22T10:00:00.000Z",
        "SignatureVersion": "1",
        "Signature": "AA==",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-a.pem",
    }
    settings = Amazon(package_name="com.example.acme", topic_arns=("arn:aws:sns:us-east-1:033616359524:acme",))
    try:
        payload = PLATFORM.read(json.dumps(envelope).encode(), {})
        meaning = PLATFORM.normalize(payload, dict.fromkeys(PLATFORM.needs(payload), answer), settings=settings)
    except Malformed:
        return

    assert isinstance(meaning, Meaning | Ignored | Quarantined)
    assert isinstance(PLATFORM.identify(payload), Identity)
    if isinstance(meaning, Meaning):
        assert all(said.subject.purchase_id for said in meaning.said)
