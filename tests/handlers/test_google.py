"""Google Play: who may speak, and what is in a push.

Real tokens from keys made here; no network, no clock. What notifications mean is in `test_google_meaning.py`
and in the files beside it, one for each kind of thing that they tell.
"""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.errors import Malformed, Unauthentic, WrongApp
from handlers.google import PLATFORM
from handlers.pubsub import KEPT_HEADERS
from schemas.meaning import Quarantined
from schemas.received import Identity, KeyWanted, Received
from tests.handlers.play import (
    MESSAGE_ID,
    PACKAGE,
    SETTINGS,
    SUBSCRIPTION,
    VOIDED_AT_MS,
    meaning_of,
    one_time,
    push,
    rtdn,
    subscription,
    voided,
    wrapped,
)
from tests.handlers.test_oidc import JWKS, KID, NOW, claims, signing_key, token

pytestmark = pytest.mark.unit


def verify(body: bytes, *, settings=SETTINGS, headers=None, now=NOW, bearer=None) -> Any:
    """Verify with the subscription's own token, or as told."""
    received = Received("acme", body, {"authorization": f"Bearer {bearer or token()}", **(headers or {})})
    return PLATFORM.verify(received, settings=settings, keys={KID: signing_key().public_key()}, now=now)


class TestVerify:
    def test_a_push_by_the_apps_own_subscription_is_believed(self):
        """Token, subscription and package are right: the payload is what `read` makes of the same bytes."""
        body = wrapped(voided())

        assert PLATFORM.read(body, {}) == verify(body)

    def test_a_bare_push_is_believed_by_its_headers(self):
        """An unwrapped push has its subscription in a header, and must have the right one too."""
        headers = {"x-goog-pubsub-subscription-name": SUBSCRIPTION}

        assert SUBSCRIPTION == verify(json.dumps(voided()).encode(), headers=headers).subscription

    def test_an_unknown_key_is_wanted_only_for_good_claims(self):
        """A stranger's token never causes a fetch, whatever kid it names."""
        good = Received("acme", b"", {"authorization": f"Bearer {token()}"})
        forged = Received("acme", b"", {"authorization": f"Bearer {token(body=claims(aud='https://example.com'))}"})

        assert KeyWanted(JWKS, KID, "jwks") == PLATFORM.verify(good, settings=SETTINGS, keys={}, now=NOW)
        with pytest.raises(Unauthentic, match="wrong_audience"):
            PLATFORM.verify(forged, settings=SETTINGS, keys={}, now=NOW)

    def test_the_sender_is_proved_before_the_body_is_read(self):
        """Who proves nothing learns nothing of what is wrong with the body."""
        with pytest.raises(Unauthentic, match="expired"):
            verify(b"not even JSON", now=NOW + 86_400)

    @pytest.mark.parametrize("package", ["com.mallory.app", "", None, 7, PACKAGE.upper(), PACKAGE + "\u00e9"])
    def test_another_apps_notification_is_refused(self, package):
        """One service account may push for many apps; only this package is answered for here."""
        with pytest.raises(WrongApp, match="wrong_package"):
            verify(wrapped(voided() | {"packageName": package}))

    @pytest.mark.parametrize("name", ["projects/mallory-1/subscriptions/mine", "", SUBSCRIPTION + "-2"])
    def test_another_subscription_is_refused_where_subscriptions_are_configured(self, name):
        """A configured list of subscriptions is exhaustive, in both shapes of a push."""
        outer = json.loads(wrapped(voided())) | {"subscription": name}

        with pytest.raises(WrongApp, match="wrong_subscription"):
            verify(json.dumps(outer).encode())
        with pytest.raises(WrongApp, match="wrong_subscription"):
            verify(json.dumps(voided()).encode(), headers={"x-goog-pubsub-subscription-name": name})

    def test_without_a_list_any_subscription_that_proves_the_account_may_push(self):
        """Audience and account are mandatory, the list of subscriptions is not."""
        anyone = SETTINGS.model_copy(update={"subscriptions": ()})
        outer = json.loads(wrapped(voided()))
        del outer["subscription"]

        assert "" == verify(json.dumps(outer).encode(), settings=anyone).subscription

    def test_an_app_without_a_package_is_answered_for_by_nobody(self):
        """An empty package name in the configuration matches no notification, not even an empty one."""
        nobody = SETTINGS.model_copy(update={"package_name": ""})

        with pytest.raises(WrongApp, match="wrong_package"):
            verify(wrapped(voided() | {"packageName": ""}), settings=nobody)


class TestRead:
    @pytest.mark.parametrize("spelling", ["messageId", "message_id"])
    def test_either_spelling_of_the_metadata_is_enough(self, spelling):
        """Pub/Sub writes camelCase and snake_case twins; one alone is the same notification."""
        other = {"messageId": "message_id", "message_id": "messageId"}[spelling]
        time = {"messageId": "publish_time", "message_id": "publishTime"}[spelling]

        assert push(voided()) == PLATFORM.read(wrapped(voided(), **{other: None, time: None}), {})

    @pytest.mark.parametrize("twin", ["message_id", "publish_time"])
    def test_twins_that_contradict_each_other_are_malformed(self, twin):
        """A message with two ids would be two messages to two readers."""
        with pytest.raises(Malformed, match="contradicting_metadata"):
            PLATFORM.read(wrapped(voided(), **{twin: "2070443601311541"}), {})

    def test_the_stored_headers_are_enough_to_read_again(self):
        """Body and `KEPT_HEADERS` give the payload that all headers gave, for a bare push."""
        headers = {
            "authorization": "Bearer gone",
            "x-goog-pubsub-message-id": MESSAGE_ID,
            "x-goog-pubsub-publish-time": "2026-11-08T09:22:04.123Z",
            "x-goog-pubsub-subscription-name": SUBSCRIPTION,
        }
        body = json.dumps(voided()).encode()
        kept = {name: value for name, value in headers.items() if name in KEPT_HEADERS}

        assert PLATFORM.read(body, headers) == PLATFORM.read(body, kept)
        assert 1_794_129_724_123 == PLATFORM.read(body, kept).publish_time_ms

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "not_json"),
            (b"[]", "not_an_object"),
            (b'{"message":[]}', "no_message"),
            (b'{"message":{}}', "no_data"),
            (b'{"message":{"data":7}}', "no_data"),
            (b'{"message":{"data":"e30"}}', "not_base64"),
            (b'{"message":{"data":"e3\\n0="}}', "not_base64"),
            (b'{"message":{"data":"e31="}}', "not_base64"),
            (b'{"message":{"data":"\xc3\xa9"}}', "not_base64"),
            (b'{"message":{"data":"W10="}}', "not_an_object"),
            (b'{"message":{"data":"e30=","messageId":7}}', "ill_formed_metadata"),
            (b'{"message":{"data":"e30="},"subscription":["projects"]}', "ill_formed_metadata"),
            (b'{"message":{"data":"e30="},"subscription":"\xc3\xa9"}', "ill_formed_metadata"),
            (b'{"message":{"data":"e30=","data":"e30="}}', "duplicate_key"),
        ],
    )
    def test_what_pubsub_never_sends_is_malformed(self, body, reason):
        """An envelope has one strict shape, and its base64 one spelling."""
        with pytest.raises(Malformed, match=reason):
            PLATFORM.read(body, {})

    def test_the_notification_inside_is_read_as_strictly_as_the_envelope(self):
        """A key that is there twice inside the data is refused too."""
        with pytest.raises(Malformed, match="duplicate_key"):
            PLATFORM.read(wrapped(b'{"packageName":"com.acme.weather","packageName":"com.mallory.app"}'), {})

    @pytest.mark.parametrize("value", ["\udcff", "a\nb", "x" * 1025])
    def test_a_header_that_no_store_holds_is_malformed(self, value):
        """A bare push's metadata are headers, which may hold any bytes."""
        with pytest.raises(Malformed, match="ill_formed_metadata"):
            PLATFORM.read(b"{}", {"x-goog-pubsub-message-id": value})

    @pytest.mark.parametrize("millis", [VOIDED_AT_MS, str(VOIDED_AT_MS)])
    def test_the_time_is_a_number_or_digits(self, millis):
        """The reference says long, Google sends a string: both are the same time."""
        assert VOIDED_AT_MS == push(voided() | {"eventTimeMillis": millis}).notification.event_time_ms

    @pytest.mark.parametrize("millis", [None, True, 1.5, -1, "-1", "1e3", "", "\u0661", 10**18, "9" * 40, {}])
    def test_a_time_that_is_none_is_not_made_up(self, millis):
        """Without a time there is no place in the ledger: kept, in quarantine, without effect."""
        notification = voided() | {"eventTimeMillis": millis}

        assert Quarantined("unexpected_shape", "VOIDED_PURCHASE/FULL_REFUND") == meaning_of(notification)


class TestIdentify:
    def test_a_message_is_named_by_its_id_within_its_subscription(self):
        """Redeliveries keep the message id; the type is Google's own word."""
        expected = Identity(
            id=MESSAGE_ID,
            scope=SUBSCRIPTION,
            type="VOIDED_PURCHASE",
            subtype="FULL_REFUND",
            occurred_at_ms=VOIDED_AT_MS,
            environment=None,
        )

        assert expected == PLATFORM.identify(push(voided()))
        assert PLATFORM.tells_environment is False

    def test_a_push_without_metadata_is_named_by_its_bytes(self):
        """A bare push without metadata is a duplicate exactly if its bytes are the same."""
        body = json.dumps(voided()).encode()
        digest = hashlib.sha256(body).hexdigest()

        assert f"sha256:{digest}" == PLATFORM.identify(PLATFORM.read(body, {})).id
        assert (
            f"sha256:{digest}"
            == PLATFORM.identify(PLATFORM.read(wrapped(body, messageId=None, message_id=None), {})).id
        )

    def test_without_its_own_time_a_notification_has_the_time_of_its_publication(self):
        """Pub/Sub's publish time stands in for showing; it never orders the ledger."""
        notification = voided() | {"eventTimeMillis": "yesterday"}

        assert 1_794_129_724_123 == PLATFORM.identify(push(notification)).occurred_at_ms
        assert 0 == PLATFORM.identify(PLATFORM.read(b"{}", {})).occurred_at_ms

    @pytest.mark.parametrize(
        ("notification", "event_type"),
        [
            (subscription(12), "SUBSCRIPTION_REVOKED"),
            (subscription(21), "SUBSCRIPTION_UNKNOWN"),
            (subscription(number=True), "SUBSCRIPTION_UNKNOWN"),
            (one_time(1), "ONE_TIME_PRODUCT_PURCHASED"),
            (voided(refundType=3), "VOIDED_PURCHASE_UNKNOWN"),
            (rtdn(testNotification={"version": "1.0"}), "TEST"),
            (rtdn(pendingRefundReviewNotification={}), "PENDING_REFUND_REVIEW"),
            (rtdn(), "UNKNOWN"),
        ],
    )
    def test_the_type_is_googles_word(self, notification, event_type):
        """What is documented has its documented name, and everything else is unknown."""
        assert event_type == PLATFORM.identify(push(notification)).type


TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_every_body_is_read_or_malformed(body):
    """Any bytes at all are a push or `Malformed`, wrapped or bare."""
    for candidate in (body, wrapped(body)):
        try:
            PLATFORM.identify(PLATFORM.read(candidate, {}))
        except Malformed:
            continue
