"""The simulated Google Play is believed by the real verifier, and none of its forgeries is."""

import json
import stat
from types import SimpleNamespace

import pytest

from config.platforms import Google
from handlers.errors import Rejected
from handlers.google import PLATFORM
from schemas.entry import EntryKind
from schemas.meaning import Ignored, Meaning
from schemas.received import KeyWanted, Received
from worker.key_formats import read_key_set
from worker.simulator.google import KEY_FILE, GoogleSimulator, create, told
from worker.simulator.sale import Sale

pytestmark = pytest.mark.unit

NOW = 1_794_000_000.25
RENEWAL = Sale(
    user_id="u_4711",
    product_id="com.acme.weather.pro.annual",
    purchase_id="GPA.3345-1234-5678-90123..0",
    original_purchase_id="kfpjhbgnmcloikjhgdsa.AO-J1OxEXAMPLE",
    amount=4999,
    currency="eur",
    purchased_at_ms=1_793_900_000_000,
    expires_at_ms=1_825_436_000_000,
    period=1,
)
GEMS = Sale(
    user_id="u_4711",
    product_id="com.acme.weather.gems",
    purchase_id="GPA.3345-0000-1111-22222",
    original_purchase_id="bnmcloikjhgdsakfpjhg.AO-J1OxGEMS",
    amount=1000,
    currency="usd",
    purchased_at_ms=1_793_900_000_000,
    expires_at_ms=None,
    subscription=False,
    quantity=10,
)


@pytest.fixture(name="demo", scope="module")
def _demo(tmp_path_factory):
    directory = tmp_path_factory.mktemp("google")
    settings = Google(**create(directory, app="acme", public_url="http://127.0.0.1:8080/"))
    with open(settings.jwks, "rb") as file:  # noqa: PTH123 - the setting is text
        keys = read_key_set(file.read())
    return SimpleNamespace(directory=directory, settings=settings, keys=keys, play=GoogleSimulator(directory, settings))


def verify(demo, shot, now=NOW):
    """Verify a shot as the endpoint does."""
    headers = {name.lower(): value for name, value in shot.headers.items()}
    received = Received("acme", shot.body, headers)
    return PLATFORM.verify(received, settings=demo.settings, keys=demo.keys, now=now)


def meaning_of(demo, shot):
    """Verify a shot and say what it means."""
    return PLATFORM.normalize(verify(demo, shot), {}, settings=demo.settings)


def test_the_private_key_is_nobody_elses(demo):
    """The key file is readable by its owner only, and making it again replaces it."""
    mode = (demo.directory / KEY_FILE).stat().st_mode

    assert 0o600 == stat.S_IMODE(mode)


def test_creating_again_replaces_the_trust(tmp_path):
    """A second `create` in the same place makes a new key, and its own section trusts that."""
    first = create(tmp_path, app="acme", public_url="http://127.0.0.1:8080")
    before = (tmp_path / KEY_FILE).read_bytes()

    assert first == create(tmp_path, app="acme", public_url="http://127.0.0.1:8080")
    assert before != (tmp_path / KEY_FILE).read_bytes()


def test_the_section_names_the_endpoint_as_its_audience(demo):
    """Pub/Sub's default audience is the address that it pushes to."""
    assert "http://127.0.0.1:8080/webhooks/google/acme" == demo.settings.audience
    assert demo.settings.enabled


@pytest.mark.parametrize(
    ("verb", "sale", "event_type", "kind"),
    [
        ("purchase", RENEWAL, "SUBSCRIPTION_PURCHASED", EntryKind.PURCHASED),
        ("renew", RENEWAL, "SUBSCRIPTION_RENEWED", EntryKind.RENEWED),
        ("refund", RENEWAL, "VOIDED_PURCHASE", EntryKind.REFUND_SUCCEEDED),
        ("revoke", RENEWAL, "SUBSCRIPTION_REVOKED", EntryKind.REVOKED),
        ("expire", RENEWAL, "SUBSCRIPTION_EXPIRED", EntryKind.EXPIRED),
        ("purchase", GEMS, "ONE_TIME_PRODUCT_PURCHASED", EntryKind.PURCHASED),
        ("refund", GEMS, "VOIDED_PURCHASE", EntryKind.REFUND_SUCCEEDED),
        ("refund_some_units", GEMS, "VOIDED_PURCHASE", EntryKind.REFUND_SUCCEEDED),
    ],
)
def test_what_it_says_is_believed_and_understood(demo, verb, sale, event_type, kind):
    """Every story of Google Play verifies and means what its name says, at the time it was said."""
    shot = getattr(demo.play, verb)(sale, NOW)
    meaning = meaning_of(demo, shot)

    assert event_type == shot.type == PLATFORM.identify(verify(demo, shot)).type
    assert isinstance(meaning, Meaning)
    assert (kind, 1_794_000_000_250) == (meaning.said[0].kind, meaning.said[0].occurred_at_ms)
    assert (f"token:{sale.original_purchase_id}",) == meaning.said[0].subject.lineage


def test_a_refund_names_the_order_of_its_sale(demo):
    """The void of a renewal names the renewal's order, its scope and nothing of the rest."""
    said = meaning_of(demo, demo.play.refund(RENEWAL, NOW)).said[0]
    some = meaning_of(demo, demo.play.refund_some_units(GEMS, NOW)).said[0]

    assert (RENEWAL.purchase_id, "full") == (said.subject.purchase_id, said.refund.scope)
    assert (GEMS.purchase_id, "quantity") == (some.subject.purchase_id, some.refund.scope)


@pytest.mark.parametrize(
    ("verb", "word", "field", "number"),
    [
        ("recover", "SUBSCRIPTION_RECOVERED", "subscriptionNotification", 1),
        ("hold", "SUBSCRIPTION_ON_HOLD", "subscriptionNotification", 5),
        ("fail_payment", "SUBSCRIPTION_IN_GRACE_PERIOD", "subscriptionNotification", 6),
    ],
)
def test_an_unpaid_renewal_is_said_in_googles_numbers(demo, verb, word, field, number):
    """The number of the reference stands beside the purchase token, and nothing says until when."""
    shot = getattr(demo.play, verb)(RENEWAL, NOW)
    said = verify(demo, shot).notification.content[field]

    assert (word, number) == (shot.type, said["notificationType"])
    assert RENEWAL.original_purchase_id == said["purchaseToken"]


def test_a_question_about_a_refund_names_its_order_only(demo):
    """A pending refund review names order and reason, and a token for the answer, but no purchase token."""
    said = verify(demo, demo.play.request_refund(RENEWAL, NOW)).notification.content["pendingRefundReviewNotification"]

    assert (RENEWAL.purchase_id, 7) == (said["orderId"], said["refundReason"])
    assert {"version", "pendingRefundToken", "orderId", "refundReason"} == set(said)


def test_what_arrives_late_is_pushed_with_a_new_token(demo):
    """Two days later the message is the same, and the token that pushes it has not expired."""
    late = NOW + 2 * 86_400
    shot = demo.play.refund(RENEWAL, NOW)
    again = demo.play.reseal(shot, late)

    assert shot.body == again.body
    assert PLATFORM.identify(verify(demo, shot)) == PLATFORM.identify(verify(demo, again, late))


def test_there_is_nothing_to_say_where_google_play_has_no_word(demo):
    """A refund is not taken back, and what was bought once does not expire."""
    assert None is demo.play.undo_refund(RENEWAL, NOW)
    assert None is demo.play.expire(GEMS, NOW)


def test_the_consoles_test_is_ignored_by_name(demo):
    """The test message verifies and has no effect."""
    assert Ignored("test") == meaning_of(demo, demo.play.test(NOW))


def test_every_call_is_a_new_message(demo):
    """Two calls for one sale are two notifications; sending one twice is one."""
    first, second = (verify(demo, demo.play.refund(RENEWAL, NOW)) for _ in range(2))

    assert PLATFORM.identify(first) != PLATFORM.identify(second)


def test_a_push_has_pubsubs_own_shape(demo):
    """Twins, publish time and subscription are where Pub/Sub has them."""
    outer = json.loads(demo.play.refund(RENEWAL, NOW).body)
    message = outer["message"]

    assert outer["subscription"] in demo.settings.subscriptions
    assert message["messageId"] == message["message_id"]
    assert "2026-11-06T21:20:00.250Z" == message["publishTime"] == message["publish_time"]


def test_no_forgery_is_believed(demo):
    """Each named forgery is refused, or wants a key that its own key set does not have."""
    shot = demo.play.refund(RENEWAL, NOW)
    answers = {}
    for name, forged in demo.play.forge(shot, NOW):
        try:
            answers[name] = verify(demo, forged)
        except Rejected as rejected:
            answers[name] = (rejected.outcome, rejected.reason)
    wanted = answers.pop("unknown_kid")

    assert isinstance(wanted, KeyWanted)
    assert {
        "another_key_under_the_known_kid": ("unauthentic", "signature"),
        "another_audience": ("unauthentic", "wrong_audience"),
        "a_list_of_audiences": ("unauthentic", "wrong_audience"),
        "email_not_verified": ("unauthentic", "account_not_verified"),
        "email_verified_as_text": ("unauthentic", "account_not_verified"),
        "another_account": ("unauthentic", "wrong_account"),
        "another_issuer": ("unauthentic", "wrong_issuer"),
        "expired": ("unauthentic", "expired"),
        "alg_none": ("unauthentic", "wrong_algorithm"),
        "hs256_with_the_public_key": ("unauthentic", "wrong_algorithm"),
        "no_token": ("unauthentic", "no_authorization"),
        "another_package": ("wrong_app", "wrong_package"),
        "another_subscription": ("wrong_app", "wrong_subscription"),
    } == answers


def test_the_backend_tells_what_no_notification_says(demo):
    """User, order, price and end of a sale come from the app's own backend."""
    assert {
        "platform": "google",
        "purchase_id": "GPA.3345-1234-5678-90123..0",
        "purchase_token": "kfpjhbgnmcloikjhgdsa.AO-J1OxEXAMPLE",
        "product_id": "com.acme.weather.pro.annual",
        "user_id": "u_4711",
        "kind": "subscription",
        "quantity": 1,
        "amount": 4999,
        "currency": "eur",
        "purchased_at": 1_793_900_000,
        "expires_at": 1_825_436_000,
    } == told(RENEWAL)
    assert ("consumable", False) == (told(GEMS)["kind"], "expires_at" in told(GEMS))


def test_a_key_of_another_kind_is_refused_at_once(tmp_path, demo):
    """A directory whose key file holds something else is a mistake that is said, not signed with."""
    (tmp_path / KEY_FILE).write_text(
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDETqWlzcJ7GGQ22vpWRFFvJRbu2EpUaZjPs1C9H3RSl\n"
        "-----END PRIVATE KEY-----\n"
    )

    with pytest.raises(TypeError, match="no RSA key"):
        GoogleSimulator(tmp_path, demo.settings)
