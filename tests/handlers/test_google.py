"""Google Play: who may speak, what is in a push, and what it means for purchases.

Real tokens from keys made here; no network, no clock. The numbers and words are written out as the reference has
them (developer.android.com/google/play/billing/rtdn-reference), so the table under test is not its own witness.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.platforms import Google
from handlers.errors import Malformed, Unauthentic, WrongApp
from handlers.google import PLATFORM
from handlers.pubsub import KEPT_HEADERS
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Said, Subject
from schemas.meaning import Confirm, Facts, Ignored, Lookup, Meaning, Quarantined
from schemas.received import Identity, KeyWanted, Received
from tests.handlers.test_oidc import ACCOUNT, AUDIENCE, JWKS, KID, NOW, claims, signing_key, token

pytestmark = pytest.mark.unit

PACKAGE = "com.acme.weather"
SUBSCRIPTION = "projects/acme-1/subscriptions/play-rtdn"
SETTINGS = Google(package_name=PACKAGE, audience=AUDIENCE, service_account_email=ACCOUNT, subscriptions=(SUBSCRIPTION,))
TOKEN = "kfpjhbgnmcloikjhgdsa.AO-J1OxEXAMPLE"
ORDER = "GPA.3345-1234-5678-90123..8"
PRODUCT = "com.acme.weather.pro.annual"
VOIDED_AT_MS = 1_794_000_123_456
MESSAGE_ID = "2070443601311540"


def rtdn(**special: Any) -> dict[str, Any]:
    """Give a notification as Google publishes it; what is None is left out."""
    usual = {"version": "1.0", "packageName": PACKAGE, "eventTimeMillis": str(VOIDED_AT_MS)}
    return {name: value for name, value in (usual | special).items() if value is not None}


def subscription(number: Any, **changes: Any) -> dict[str, Any]:
    """Give a subscription notification without the legacy product field."""
    special = {"version": "1.0", "notificationType": number, "purchaseToken": TOKEN}
    return rtdn(subscriptionNotification=special | changes)


def one_time(number: Any, **changes: Any) -> dict[str, Any]:
    """Give a one-time product notification."""
    special = {"version": "1.0", "notificationType": number, "purchaseToken": TOKEN, "sku": "com.acme.weather.lifetime"}
    return rtdn(oneTimeProductNotification=special | changes)


def voided(**changes: Any) -> dict[str, Any]:
    """Give the void of an annual plan's ninth renewal."""
    special = {"purchaseToken": TOKEN, "orderId": ORDER, "productType": 1, "refundType": 1}
    return rtdn(voidedPurchaseNotification=special | changes)


def wrapped(notification: Any, **changes: Any) -> bytes:
    """Wrap it as Pub/Sub does, twins included; `changes` are those of the message."""
    data = notification if isinstance(notification, bytes) else json.dumps(notification).encode()
    message = {
        "attributes": {},
        "data": base64.b64encode(data).decode(),
        "messageId": MESSAGE_ID,
        "message_id": MESSAGE_ID,
        "publishTime": "2026-11-08T09:22:04.123456789Z",
        "publish_time": "2026-11-08T09:22:04.123456789Z",
    }
    changed = {name: value for name, value in (message | changes).items() if value is not None}
    return json.dumps({"message": changed, "subscription": SUBSCRIPTION}).encode()


def push(notification: Any, headers: Mapping[str, str] | None = None) -> Any:
    """Read a notification out of its envelope."""
    return PLATFORM.read(wrapped(notification), headers or {})


def verify(body: bytes, *, settings=SETTINGS, headers=None, now=NOW, bearer=None) -> Any:
    """Verify with the subscription's own token, or as told."""
    received = Received("acme", body, {"authorization": f"Bearer {bearer or token()}", **(headers or {})})
    return PLATFORM.verify(received, settings=settings, keys={KID: signing_key().public_key()}, now=now)


def meaning_of(notification: Any, facts: Any = None) -> Any:
    """Normalize a notification, with the answers that could be had."""
    return PLATFORM.normalize(push(notification), facts or {}, settings=SETTINGS)


def said_by(notification: Any, facts: Any = None) -> Said:
    """Give the one thing that a notification with a meaning says."""
    meaning = meaning_of(notification, facts)
    assert isinstance(meaning, Meaning)
    (said,) = meaning.said
    return said


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


class TestNeeds:
    @pytest.mark.parametrize(
        ("notification", "lookups"),
        [
            (subscription(4), (Lookup("subscriptionsv2", TOKEN),)),
            (subscription(12), (Lookup("subscriptionsv2", TOKEN),)),
            (one_time(1), (Lookup("productsv2", TOKEN),)),
            (voided(), (Lookup("subscriptionsv2", TOKEN), Lookup("orders", ORDER))),
            (voided(productType=2), (Lookup("productsv2", TOKEN), Lookup("orders", ORDER))),
            (subscription(5), ()),
            (one_time(2), ()),
            (subscription(99), ()),
            (voided(orderId=None), ()),
            (rtdn(testNotification={}), ()),
        ],
    )
    def test_what_has_a_meaning_is_asked_about(self, notification, lookups):
        """A notification says that something changed; whose and what it was, the API says."""
        assert lookups == PLATFORM.needs(push(notification))

    def test_what_could_not_be_learned_is_reported(self):
        """Without answers the meaning stands, and names every look-up that is missing."""
        meaning = meaning_of(voided())

        assert (Lookup("subscriptionsv2", TOKEN), Lookup("orders", ORDER)) == meaning.unlearned

    def test_what_was_answered_is_not_missing(self):
        """Only look-ups without an answer are reported."""
        facts: Facts = {Lookup("subscriptionsv2", TOKEN): {}}

        assert (Lookup("orders", ORDER),) == meaning_of(voided(), facts).unlearned


class TestMeaning:
    @pytest.mark.parametrize(
        ("number", "kind"),
        [(2, EntryKind.RENEWED), (4, EntryKind.PURCHASED), (12, EntryKind.REVOKED), (13, EntryKind.EXPIRED)],
    )
    def test_a_subscription_notification_is_about_all_its_periods(self, number, kind):
        """A purchase token names the whole subscription, and RTDN names no order."""
        said = said_by(subscription(number))

        assert (kind, VOIDED_AT_MS) == (said.kind, said.occurred_at_ms)
        assert Subject(lineage=(f"token:{TOKEN}",)) == said.subject
        assert said.subject.whole_lineage
        assert said.environment is None

    def test_the_undocumented_product_is_used_where_it_is_still_sent(self):
        """`subscriptionId` left the reference and not the wire."""
        said = said_by(subscription(4, subscriptionId=PRODUCT))

        assert PurchaseFacts(kind="subscription", product_id=PRODUCT) == said.facts

    def test_a_one_time_purchase_names_its_product_and_not_its_kind(self):
        """Only the app knows whether a one-time product is consumable."""
        said = said_by(one_time(1))

        assert EntryKind.PURCHASED == said.kind
        assert Subject(lineage=(f"token:{TOKEN}",)) == said.subject
        assert PurchaseFacts(product_id="com.acme.weather.lifetime") == said.facts

    def test_a_full_void_takes_back_exactly_its_order(self):
        """The order is one billing period: refunding the eighth renewal leaves the ninth alone."""
        said = said_by(voided())

        assert EntryKind.REFUND_SUCCEEDED == said.kind
        assert Subject(purchase_id=ORDER, lineage=(f"token:{TOKEN}",)) == said.subject
        assert (
            RefundFacts(platform_refund_id=ORDER, type="void", scope="full", created_at_ms=VOIDED_AT_MS) == said.refund
        )
        assert "unknown" == said.refund.amount_source

    def test_voids_of_some_units_are_many_refunds_of_one_order(self):
        """A quantity-based void may repeat and never counts as the whole order."""
        first = said_by(voided(refundType=2, productType=2))
        second = said_by(voided(refundType=2, productType=2) | {"eventTimeMillis": str(VOIDED_AT_MS + 1)})

        assert first.refund is not None
        assert second.refund is not None
        assert ["quantity", "quantity"] == [first.refund.scope, second.refund.scope]
        assert f"{ORDER}:{VOIDED_AT_MS}" == first.refund.platform_refund_id
        assert first.refund.platform_refund_id != second.refund.platform_refund_id
        assert ORDER == first.subject.purchase_id

    def test_a_void_without_a_product_type_is_still_a_void(self):
        """What was paid back does not depend on what kind of product it was."""
        assert EntryKind.REFUND_SUCCEEDED == said_by(voided(productType=None)).kind

    @pytest.mark.parametrize(
        ("number", "reason"),
        [
            (1, "subscription_recovered"),
            (3, "subscription_canceled"),
            (5, "subscription_on_hold"),
            (6, "subscription_in_grace_period"),
            (7, "subscription_restarted"),
            (8, "subscription_price_change_confirmed"),
            (9, "subscription_deferred"),
            (10, "subscription_paused"),
            (11, "subscription_pause_schedule_changed"),
            (17, "subscription_items_changed"),
            (18, "subscription_cancellation_scheduled"),
            (19, "subscription_price_change_updated"),
            (20, "subscription_pending_purchase_canceled"),
            (22, "subscription_price_step_up_consent_updated"),
        ],
    )
    def test_what_takes_no_money_back_is_ignored_by_its_name(self, number, reason):
        """Canceled means "will not renew", and nothing else here ends what was paid for."""
        assert Ignored(reason) == meaning_of(subscription(number))

    def test_a_canceled_one_time_purchase_was_never_paid(self):
        """ONE_TIME_PRODUCT_CANCELED is a pending payment that was dropped, never a refund."""
        assert Ignored("pending_purchase_canceled") == meaning_of(one_time(2))

    def test_a_question_is_not_a_refund(self):
        """A pending refund review changes no access until a void follows."""
        asked = {"version": "1.0", "pendingRefundToken": "prt_1", "orderId": ORDER, "refundReason": 7}

        assert Ignored("refund_review_pending") == meaning_of(rtdn(pendingRefundReviewNotification=asked))

    def test_the_consoles_test_means_nothing(self):
        """A "Send test message" is answered like everything else, and has no effect."""
        assert Ignored("test") == meaning_of(rtdn(testNotification={"version": "1.0"}))

    @pytest.mark.parametrize(
        ("notification", "detail"),
        [
            (subscription(14), "subscriptionNotification notificationType 14"),
            (subscription("12"), "subscriptionNotification notificationType None"),
            (one_time(3), "oneTimeProductNotification notificationType 3"),
            (voided(refundType=3), "voidedPurchaseNotification refundType 3"),
            (rtdn(subscriptionNotification=[12]), "subscriptionNotification notificationType None"),
            (rtdn(walletNotification={"secret": "hush"}), "walletNotification"),
            (rtdn(), ""),
            (
                subscription(12) | voided(),
                "subscriptionNotification voidedPurchaseNotification",
            ),
        ],
    )
    def test_what_nobody_documented_is_kept_without_effect(self, notification, detail):
        """A new type is quarantined by its name; its contents are not repeated."""
        assert Quarantined("unknown_type", detail) == meaning_of(notification)

    @pytest.mark.parametrize(
        ("notification", "word"),
        [
            (subscription(12, purchaseToken=None), "SUBSCRIPTION_REVOKED"),
            (subscription(12, purchaseToken=""), "SUBSCRIPTION_REVOKED"),
            (one_time(1, purchaseToken=["a"]), "ONE_TIME_PRODUCT_PURCHASED"),
            (voided(orderId=""), "VOIDED_PURCHASE/FULL_REFUND"),
            (voided(orderId="G" * 5000), "VOIDED_PURCHASE/FULL_REFUND"),
        ],
    )
    def test_a_known_type_of_unknown_shape_is_kept_without_effect(self, notification, word):
        """A revocation that names nothing revokes nothing."""
        assert Quarantined("unexpected_shape", word) == meaning_of(notification)

    def test_null_is_absence(self):
        """A field that is null is not the field that says what a notification is about."""
        assert EntryKind.REVOKED == said_by(subscription(12) | {"voidedPurchaseNotification": None}).kind


class TestAnswers:
    SUBSCRIBED = Lookup("subscriptionsv2", TOKEN)
    ANSWER: Mapping[str, Any] = {
        "lineItems": [
            {
                "productId": PRODUCT,
                "expiryTime": "2027-11-08T09:22:04.123456789Z",
                "latestSuccessfulOrderId": ORDER,
            }
        ],
        "externalAccountIdentifiers": {"obfuscatedExternalAccountId": "u_4711"},
    }

    def test_an_answer_ties_a_renewal_to_its_order(self):
        """Order, product, person and end come from the API where the notification has none."""
        said = said_by(subscription(2), {self.SUBSCRIBED: self.ANSWER})

        assert Subject(purchase_id=ORDER, lineage=(f"token:{TOKEN}",)) == said.subject
        assert "production" == said.environment
        assert (
            PurchaseFacts(
                kind="subscription",
                product_id=PRODUCT,
                user_id="u_4711",
                user_authority="guess",
                expires_at_ms=1_825_665_724_123,
            )
            == said.facts
        )

    def test_what_ends_ends_for_the_whole_subscription(self):
        """The newest order of an answer may have been bought since: a revocation is not tied to it."""
        said = said_by(subscription(12), {self.SUBSCRIBED: self.ANSWER})

        assert said.subject.whole_lineage
        assert PurchaseFacts() == said.facts

    def test_a_test_purchase_is_sandbox(self):
        """The mere presence of `testPurchase` says so, even if it is empty."""
        facts = {self.SUBSCRIBED: {**self.ANSWER, "testPurchase": {}}}

        assert "sandbox" == said_by(voided(), facts).environment

    def test_of_a_void_only_the_person_is_learned(self):
        """Today's product and end are not those of the period that was voided."""
        said = said_by(voided(), {self.SUBSCRIBED: self.ANSWER})

        assert PurchaseFacts(user_id="u_4711", user_authority="guess") == said.facts
        assert ORDER == said.subject.purchase_id

    def test_several_line_items_are_not_one_purchase(self):
        """With add-ons no single item's order, product or end is the subscription's."""
        item = {"productId": "com.acme.weather.radar", "latestSuccessfulOrderId": "GPA.1"}
        facts = {self.SUBSCRIBED: {"lineItems": [*self.ANSWER["lineItems"], item]}}
        said = said_by(subscription(4), facts)

        assert said.subject.whole_lineage
        assert PurchaseFacts(kind="subscription", user_authority="guess") == said.facts

    def test_an_answer_ties_a_product_to_its_order(self):
        """A one-time purchase has one order, which the API names."""
        answer = {
            "orderId": "GPA.3345-0000-1111-22222",
            "productLineItem": [{"productId": "com.acme.weather.lifetime"}],
            "obfuscatedExternalAccountId": "u_4711",
            "testPurchaseContext": {"fopType": "TEST"},
        }
        said = said_by(one_time(1, sku=None), {Lookup("productsv2", TOKEN): answer})

        assert "GPA.3345-0000-1111-22222" == said.subject.purchase_id
        assert ("sandbox", "com.acme.weather.lifetime", "u_4711") == (
            said.environment,
            said.facts.product_id,
            said.facts.user_id,
        )

    @pytest.mark.parametrize("answer", [None, [], "gone", {"lineItems": {}, "externalAccountIdentifiers": 7}])
    def test_an_answer_without_sense_teaches_nothing(self, answer):
        """The meaning of a notification does not hang on what an API makes of it."""
        facts = {self.SUBSCRIBED: answer, Lookup("productsv2", TOKEN): answer}

        assert said_by(subscription(4), facts).subject.whole_lineage
        assert said_by(one_time(1), facts).subject.whole_lineage

    @pytest.mark.parametrize(
        "expiry", ["2027-13-01T00:00:00Z", "2027-11-08", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", 7, None]
    )
    def test_an_end_that_is_no_time_is_unknown(self, expiry):
        """Only an RFC 3339 time since 1970 is an expiry."""
        facts = {self.SUBSCRIBED: {"lineItems": [{"expiryTime": expiry}]}}

        assert said_by(subscription(4), facts).facts.expires_at_ms is None


TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["subscriptionNotification", "oneTimeProductNotification", "voidedPurchaseNotification", "eventTimeMillis"]
)
PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "notificationType": st.integers(0, 24) | JSON,
        "refundType": st.integers(0, 4) | JSON,
        "productType": st.integers(0, 3) | JSON,
        "purchaseToken": st.just(TOKEN) | JSON,
        "orderId": st.just(ORDER) | JSON,
    },
)


@settings(deadline=None)
@given(st.dictionaries(NAMES, PLAUSIBLE | JSON, max_size=3), JSON)
def test_every_notification_has_a_meaning_or_a_place(special, answer):
    """Whatever JSON is inside, it is understood, ignored or quarantined, with any answers or none."""
    payload = push(rtdn() | special)
    facts = dict.fromkeys(PLATFORM.needs(payload), answer)

    PLATFORM.identify(payload)
    for known in ({}, facts):
        meaning = PLATFORM.normalize(payload, known, settings=SETTINGS)
        assert isinstance(meaning, Meaning | Ignored | Quarantined | Confirm)


@settings(deadline=None)
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_every_body_is_read_or_malformed(body):
    """Any bytes at all are a push or `Malformed`, wrapped or bare."""
    for candidate in (body, wrapped(body)):
        try:
            PLATFORM.identify(PLATFORM.read(candidate, {}))
        except Malformed:
            continue
