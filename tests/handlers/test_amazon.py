"""Which Real-Time Notifications are believed, and what they call themselves."""

import json
from typing import Any

import pytest

from config.platforms import Amazon
from handlers.amazon import PLATFORM
from handlers.errors import Malformed, Rejected, TooSoon, Unauthentic, WrongApp
from schemas.meaning import Lookup, Quarantined
from schemas.platforms.amazon import AmazonPayload
from schemas.received import Identity, KeyWanted, Received
from tests.handlers.appstore import NOW, NOW_MS, RECEIPT, USER, Appstore, edited
from worker.simulator.sale import Shot

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", name="appstore")
def _appstore(tmp_path_factory: pytest.TempPathFactory) -> Appstore:
    return Appstore(tmp_path_factory.mktemp("amazon"))


def test_what_amazon_signed_for_this_app_is_believed(appstore: Appstore) -> None:
    """A genuine notification verifies, and reading its bytes again gives the same payload."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED")

    payload = appstore.verify(shot)

    assert isinstance(payload, AmazonPayload)
    assert payload == PLATFORM.read(shot.body, shot.headers)


def test_headers_decide_nothing(appstore: Appstore) -> None:
    """Without headers, or with lying ones, the verdict and the payload are the same."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED")
    lying = {"x-amz-sns-message-type": "SubscriptionConfirmation", "x-amz-sns-topic-arn": "arn:aws:sns:x"}

    for headers in ({}, lying):
        assert appstore.verify(shot) == appstore.verify(Shot(shot.type, shot.body, headers))


def test_what_nobody_signed_is_not_read(appstore: Appstore) -> None:
    """Unsigned fields of the envelope change nothing."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED")
    attributes = {"notificationType": {"Type": "String", "Value": "SUBSCRIPTION_CANCELLED"}}

    for unsigned in ({"MessageAttributes": attributes}, {"UnsubscribeURL": "https://evil.example"}, {"x": 1}):
        assert appstore.verify(shot) == appstore.verify(edited(shot, **unsigned))


@pytest.mark.parametrize("field", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Signature"])
def test_each_byte_of_a_signed_field_counts(appstore: Appstore, field: str) -> None:
    """Any single character changed in a signed field, or in the signature, is refused."""
    shot = appstore.simulator.publish(
        json.loads(appstore.rtn("SUBSCRIPTION_PURCHASED").body)["Message"], NOW, Subject="Notice"
    )
    value = json.loads(shot.body)[field]
    for at, char in enumerate(value):
        flipped = value[:at] + chr(ord(char) ^ 1) + value[at + 1 :]
        with pytest.raises(Rejected):
            appstore.verify(edited(shot, **{field: flipped}))


@pytest.mark.parametrize("field", ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"])
@pytest.mark.parametrize("kind", ["subscription_confirmation", "unsubscribe_confirmation"])
def test_each_byte_of_a_signed_confirmation_counts(appstore: Appstore, kind: Any, field: str) -> None:
    """Any single character changed in a confirmation is refused."""
    shot = getattr(appstore.simulator, kind)(NOW)
    value = json.loads(shot.body)[field]
    for at, char in enumerate(value):
        flipped = value[:at] + chr(ord(char) ^ 1) + value[at + 1 :]
        with pytest.raises(Rejected):
            appstore.verify(edited(shot, **{field: flipped}))


@pytest.mark.parametrize("field", ["Subject", "Message"])
def test_a_signed_field_cannot_be_added_or_dropped(appstore: Appstore, field: str) -> None:
    """Taking a signed field away, or adding one that was not signed, is refused."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED")
    envelope = json.loads(shot.body)
    changed = {**envelope, "Subject": "added"} if field == "Subject" else {**envelope, "Message": ""}

    with pytest.raises(Rejected):
        appstore.verify(edited(shot, **changed))


def test_another_topic_is_refused_before_any_key_is_wanted(appstore: Appstore) -> None:
    """A validly signed message of a topic that nobody allowed asks for no certificate."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED")
    received = Received(app="acme", body=shot.body, headers=shot.headers)
    settings = appstore.settings.model_copy(update={"topic_arns": ("arn:aws:sns:us-east-1:123456789012:other",)})

    with pytest.raises(WrongApp, match="topic_not_allowed"):
        PLATFORM.verify(received, settings=settings, keys={}, now=NOW)


def test_another_package_is_refused(appstore: Appstore) -> None:
    """A notification for another app on an allowed topic is refused as such."""
    with pytest.raises(WrongApp, match="package_name_mismatch"):
        appstore.verify(appstore.rtn("SUBSCRIPTION_PURCHASED", appPackageName="com.example.other"))


def test_nothing_is_verified_against_an_empty_section(appstore: Appstore) -> None:
    """Without topics or a package nothing is believed, even if the message says nothing too."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED", appPackageName="")

    assert not Amazon().enabled
    with pytest.raises(WrongApp):
        appstore.verify(shot, topic_arns=())
    payload = appstore.verify(shot, package_name="")
    assert Quarantined("unexpected_shape") == PLATFORM.normalize(payload, {}, settings=Amazon())


def test_a_missing_certificate_is_wanted_by_its_address(appstore: Appstore) -> None:
    """An allowed topic with an unknown certificate answers with the key to fetch."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED")
    url = json.loads(shot.body)["SigningCertURL"]
    received = Received(app="acme", body=shot.body, headers=shot.headers)

    wanted = PLATFORM.verify(received, settings=appstore.settings, keys={}, now=NOW)

    assert KeyWanted(source=url, name=url, format="pem") == wanted


@pytest.mark.parametrize("now", [NOW - 300, NOW, NOW + 4500])
def test_both_edges_of_the_age_are_accepted(appstore: Appstore, now: float) -> None:
    """A message is believed from five minutes before its time to `max_age_seconds` after it, edges included."""
    assert isinstance(appstore.verify(appstore.rtn("SUBSCRIPTION_PURCHASED"), now=now), AmazonPayload)


@pytest.mark.parametrize(
    ("now", "refusal", "reason"),
    [(NOW - 300.001, TooSoon, "timestamp_in_the_future"), (NOW + 4500.001, Unauthentic, "timestamp_too_old")],
)
def test_just_beyond_the_edges_is_refused(appstore: Appstore, now: float, refusal: type[Rejected], reason: str) -> None:
    """One millisecond beyond either edge is refused; what is genuine and too early is to come again."""
    with pytest.raises(refusal, match=reason):
        appstore.verify(appstore.rtn("SUBSCRIPTION_PURCHASED"), now=now)


def test_only_what_is_proved_may_come_again(appstore: Appstore) -> None:
    """A signature of nobody's, another topic's or under a key that is not here says nothing about our clock."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED")
    early = NOW - 3600
    received = Received(app="acme", body=shot.body, headers=shot.headers)

    with pytest.raises(Unauthentic, match="signature_mismatch"):
        appstore.verify(edited(shot, Subject="added"), now=early)
    with pytest.raises(WrongApp, match="topic_not_allowed"):
        appstore.verify(shot, now=early, topic_arns=())
    assert isinstance(PLATFORM.verify(received, settings=appstore.settings, keys={}, now=early), KeyWanted)


def test_age_has_no_limit_where_the_operator_set_none(appstore: Appstore) -> None:
    """`max_age_seconds = 0` believes old messages, and still none from the future."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED")

    assert isinstance(appstore.verify(shot, now=NOW + 10**8, max_age_seconds=0), AmazonPayload)
    with pytest.raises(TooSoon, match="timestamp_in_the_future"):
        appstore.verify(shot, now=NOW - 301, max_age_seconds=0)


def test_raw_delivery_is_refused(appstore: Appstore) -> None:
    """A notification without its envelope carries no signature."""
    raw = json.loads(appstore.rtn("SUBSCRIPTION_PURCHASED").body)["Message"].encode()

    with pytest.raises(Malformed, match="not_an_sns_message"):
        appstore.verify(Shot("raw", raw, {"x-amz-sns-rawdelivery": "true"}))


def test_a_duplicate_key_is_refused(appstore: Appstore) -> None:
    """An envelope that says one thing twice is refused, even if one of them was signed."""
    body = appstore.rtn("SUBSCRIPTION_PURCHASED").body
    doubled = body.replace(b'"Type":', b'"Message": "{}", "Type":', 1)
    assert body != doubled

    with pytest.raises(Malformed, match="duplicate_key"):
        appstore.verify(Shot("doubled", doubled))


def test_every_forgery_is_refused(appstore: Appstore) -> None:
    """None of the simulator's forgeries is believed, and none makes us fetch anything."""
    shot = appstore.rtn("SUBSCRIPTION_PURCHASED")
    forgeries = appstore.simulator.forge(shot, NOW)

    assert 8 == len({name for name, _ in forgeries})
    for _, forged in forgeries:
        with pytest.raises(Rejected):
            appstore.verify(forged)


def test_a_notification_calls_itself_by_its_message_id(appstore: Appstore) -> None:
    """Id, type, the Appstore's own time and the environment are what the message says."""
    shot = appstore.rtn("SUBSCRIPTION_RENEWED", timestamp=NOW_MS - 5)
    message_id = json.loads(shot.body)["MessageId"]

    expected = Identity(id=message_id, type="SUBSCRIPTION_RENEWED", occurred_at_ms=NOW_MS - 5, environment="production")

    assert expected == PLATFORM.identify(appstore.verify(shot))


def test_without_a_time_of_its_own_the_envelopes_counts(appstore: Appstore) -> None:
    """A notification without `timestamp` happened when SNS sent it."""
    shot = appstore.rtn("SUBSCRIPTION_RENEWED", timestamp=None)

    assert NOW_MS == PLATFORM.identify(appstore.verify(shot)).occurred_at_ms


@pytest.mark.parametrize(("beta", "environment"), [(True, "sandbox"), (False, "production"), (None, "production")])
def test_live_app_testing_is_the_sandbox(appstore: Appstore, beta: Any, environment: str) -> None:
    """`betaProductTransaction` alone tells tests from production."""
    shot = appstore.rtn("SUBSCRIPTION_RENEWED", betaProductTransaction=beta)

    assert environment == PLATFORM.identify(appstore.verify(shot)).environment
    assert environment == appstore.meaning(shot).said[0].environment


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("subscription_confirmation", "SubscriptionConfirmation"),
        ("unsubscribe_confirmation", "UnsubscribeConfirmation"),
    ],
)
def test_a_confirmation_belongs_to_no_environment(appstore: Appstore, kind: Any, word: str) -> None:
    """A confirmation is identified by its SNS type and time, and says nothing of tests."""
    identity = PLATFORM.identify(appstore.verify(getattr(appstore.simulator, kind)(NOW)))

    assert (word, NOW_MS, None) == (identity.type, identity.occurred_at_ms, identity.environment)


def test_the_receipt_is_asked_for(appstore: Appstore) -> None:
    """What has an effect needs the Receipt Verification Service, under user and receipt."""
    expected = (Lookup("rvs", f"{USER}/{RECEIPT}"),)

    assert expected == PLATFORM.needs(appstore.verify(appstore.rtn("SUBSCRIPTION_CANCELLED")))


def test_a_test_is_looked_for_in_production_and_in_the_sandbox(appstore: Appstore) -> None:
    """Live App Testing is known to the production service, App Tester to the Cloud Sandbox: both are asked."""
    key = f"{USER}/{RECEIPT}"
    shot = appstore.rtn("SUBSCRIPTION_CANCELLED", betaProductTransaction=True)

    assert (Lookup("rvs", key), Lookup("rvs_sandbox", key)) == PLATFORM.needs(appstore.verify(shot))


def test_what_has_no_effect_needs_nothing(appstore: Appstore) -> None:
    """Ignored types, unknown types and confirmations ask for nothing."""
    shots = (
        appstore.rtn("SUBSCRIPTION_AUTO_RENEWAL_ON"),
        appstore.rtn("SUBSCRIPTION_PAUSED"),
        appstore.rtn("SUBSCRIPTION_RENEWED", appUserId=None),
        appstore.simulator.subscription_confirmation(NOW),
    )

    assert {()} == {PLATFORM.needs(appstore.verify(shot)) for shot in shots}
