"""The simulated App Store is believed by the real verifier, by Apple's own library, and its forgeries by neither."""

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.signed_data_verifier import SignedDataVerifier, VerificationException
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.platforms import Apple
from handlers.apple import PLATFORM
from handlers.errors import Rejected
from schemas.entry import EntryKind
from schemas.meaning import Ignored, Meaning
from schemas.received import Received
from worker.simulator import apple
from worker.simulator.apple_pki import open_unverified
from worker.simulator.sale import Sale, Shot

pytestmark = pytest.mark.unit

NOW = datetime(2026, 9, 21, tzinfo=UTC).timestamp()
DAY_MS = 86_400_000
ANNUAL = Sale(
    user_id="7e3fb204-2ef5-4d5c-8f2a-6b1f3c7d9e10",
    product_id="com.example.demo.pro.annual",
    purchase_id="2000000900000001",
    original_purchase_id="2000000900000001",
    amount=4999,
    currency="usd",
    purchased_at_ms=int(NOW * 1000) - 270 * DAY_MS,
    expires_at_ms=int(NOW * 1000) + 95 * DAY_MS,
)
GEMS = Sale(
    user_id="gem-collector-42",
    product_id="com.example.demo.gems",
    purchase_id="2000000900000099",
    original_purchase_id="2000000900000099",
    amount=1200,
    currency="jpy",
    purchased_at_ms=int(NOW * 1000),
    expires_at_ms=None,
    subscription=False,
    quantity=3,
)


SEATS = replace(ANNUAL, amount=4995, quantity=5, seats=True)
COPY = replace(ANNUAL, user_id="2b0f9c1e-5a77-4d0c-9a3e-1f2e3d4c5b6a", purchase_id="2000000900000077", family=True)


@pytest.fixture(name="directory")
def _directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trust")


@pytest.fixture(name="settings")
def _settings(directory: Path) -> Apple:
    section = apple.create(directory, app="demo", public_url="http://127.0.0.1:8080")
    return Apple.model_validate_json(_as_json(section))


def _as_json(section: dict) -> str:
    """Pass the section through text, as a configuration file does."""
    return json.dumps(section)


@pytest.fixture(name="store")
def _store(directory: Path, settings: Apple) -> apple.AppleSimulator:
    return apple.AppleSimulator(directory, settings)


def root_of(settings: Apple) -> x509.Certificate:
    """Load the one root that is configured."""
    return x509.load_pem_x509_certificate(settings.root_certificates[0].read_bytes())


def meaning_of(shot: Shot, settings: Apple, now: float = NOW):
    """Verify and normalize a shot as the service does."""
    keys = {"root": root_of(settings)}
    payload = PLATFORM.verify(Received("demo", shot.body), settings=settings, keys=keys, now=now)
    return PLATFORM.normalize(payload, {}, settings=settings)


def token_of(shot: Shot) -> str:
    """Take the JWS out of the envelope."""
    return shot.body.decode().split('"')[3]


def oracle(settings: Apple) -> SignedDataVerifier:
    """Make Apple's own verifier, trusting the demo's root."""
    return SignedDataVerifier(
        [root_of(settings).public_bytes(Encoding.DER)],
        enable_online_checks=False,
        environment=Environment.PRODUCTION,
        bundle_id=settings.bundle_id,
        app_apple_id=settings.app_apple_id,
    )


def test_private_keys_are_for_their_owner_only(directory, settings):
    """Keys have mode 0600, and the root's key was never written."""
    keys = sorted(path for path in directory.iterdir() if path.suffix == ".key")

    assert ["apple-intermediate.key", "apple-leaf.key"] == [path.name for path in keys]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys)


def test_trust_can_be_made_anew(directory, settings):
    """A second set of keys replaces the first, and what is signed with it is believed."""
    section = apple.create(directory, app="demo", public_url="http://127.0.0.1:8080")
    again = Apple.model_validate_json(_as_json(section))
    store = apple.AppleSimulator(directory, again)

    assert isinstance(meaning_of(store.purchase(ANNUAL, NOW), again), Meaning)


def test_paths_are_absolute(settings):
    """The section can be used from any working directory."""
    assert all(path.is_absolute() for path in settings.root_certificates)


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        ("purchase", EntryKind.PURCHASED),
        ("renew", EntryKind.RENEWED),
        ("refund", EntryKind.REFUND_SUCCEEDED),
        ("undo_refund", EntryKind.REFUND_REVERSED),
        ("expire", EntryKind.EXPIRED),
    ],
)
def test_every_notification_says_what_it_should(store, settings, act, kind):
    """What the store says of a sale is what the service understands of it, id by id and cent by cent."""
    answer = meaning_of(getattr(store, act)(ANNUAL, NOW), settings)

    assert isinstance(answer, Meaning)
    (said,) = answer.said
    assert kind == said.kind
    assert ANNUAL.purchase_id == said.subject.purchase_id
    assert (f"original:{ANNUAL.original_purchase_id}",) == said.subject.lineage
    assert (ANNUAL.user_id, ANNUAL.product_id) == (said.facts.user_id, said.facts.product_id)
    assert (ANNUAL.amount, ANNUAL.currency) == (said.facts.amount, said.facts.currency)
    assert (ANNUAL.purchased_at_ms, ANNUAL.expires_at_ms) == (said.facts.purchased_at_ms, said.facts.expires_at_ms)


def test_what_is_bought_once_is_a_one_time_charge(store, settings):
    """A consumable has its quantity and the price of all of it, in a currency without decimals too, and no end."""
    shot = store.purchase(GEMS, NOW)
    (said,) = meaning_of(shot, settings).said

    assert "ONE_TIME_CHARGE" == shot.type
    assert ("consumable", 3, 1200, "jpy") == (
        said.facts.kind, said.facts.quantity, said.facts.amount, said.facts.currency,
    )  # fmt: skip
    assert store.expire(GEMS, NOW) is None


@pytest.mark.parametrize(
    ("act", "sale", "type_", "subtype", "said"),
    [
        ("refund_unused_time", ANNUAL, "REFUND", None, {"revocationType": "REFUND_PRORATED"}),
        ("refund_unused_time", ANNUAL, "REFUND", None, {"revocationPercentage": 50_000}),
        ("refund_one_unit", GEMS, "REFUND", None, {"revocationPercentage": 33_333, "quantity": 3}),
        ("request_refund", ANNUAL, "CONSUMPTION_REQUEST", None, {"revocationDate": None}),
        ("decline_refund", ANNUAL, "REFUND_DECLINED", None, {"revocationDate": None}),
        ("refund_seats", SEATS, "REFUND", "SEATS", {"revocationDate": None, "quantity": 5}),
        ("remove_member", COPY, "REVOKE", None, {"revocationType": "FAMILY_REVOKE"}),
        ("remove_member", COPY, "REVOKE", None, {"inAppOwnershipType": "FAMILY_SHARED"}),
        ("upgrade", ANNUAL, "DID_CHANGE_RENEWAL_PREF", "UPGRADE", {"transactionReason": "PURCHASE"}),
        ("fail_payment", ANNUAL, "DID_FAIL_TO_RENEW", "GRACE_PERIOD", {"expiresDate": ANNUAL.expires_at_ms}),
        ("hold", ANNUAL, "DID_FAIL_TO_RENEW", None, {"expiresDate": ANNUAL.expires_at_ms}),
        ("recover", ANNUAL, "DID_RENEW", "BILLING_RECOVERY", {"revocationDate": None}),
    ],
)
def test_what_only_the_app_store_says_is_said_in_its_words(store, settings, act, sale, type_, subtype, said):
    """Type, subtype and the fields that decide stand where Apple puts them, and every signature is believed."""
    shot = getattr(store, act)(sale, NOW)
    payload = open_unverified(token_of(shot))
    transaction = open_unverified(payload["data"]["signedTransactionInfo"])

    meaning_of(shot, settings)
    assert (type_, type_, subtype) == (shot.type, payload["notificationType"], payload.get("subtype"))
    assert sale.purchase_id == transaction["transactionId"]
    assert said == {name: transaction.get(name) for name in said}


def test_a_grace_period_ends_later_than_what_was_paid(store):
    """The renewal information names the end of the grace period, sixteen days after the period's."""
    payload = open_unverified(token_of(store.fail_payment(ANNUAL, NOW)))
    renewal = open_unverified(payload["data"]["signedRenewalInfo"])

    assert 4 == payload["data"]["status"]
    assert 16 * DAY_MS == renewal["gracePeriodExpiresDate"] - (ANNUAL.expires_at_ms or 0)


def test_seats_are_counted_and_priced_one_by_one(store):
    """The price of several seats is that of one, and a refund of seats says how many."""
    bought, refunded = (open_unverified(token_of(act(SEATS, NOW))) for act in (store.purchase, store.refund_seats))
    one, left = (open_unverified(payload["data"]["signedTransactionInfo"]) for payload in (bought, refunded))

    assert (SEATS.amount * 10 // 5, 5) == (one["price"], one["quantity"])
    assert 2 == left["multiSeatInfo"]["revokedSeatQuantity"]


def test_a_family_members_copy_has_no_price_and_no_account(store):
    """Who shares paid nothing, and was never asked who they are: only the app's backend knows."""
    payload = open_unverified(token_of(store.purchase(COPY, NOW)))
    transaction = open_unverified(payload["data"]["signedTransactionInfo"])
    said = apple.told(COPY)

    assert {"price", "currency", "appAccountToken"}.isdisjoint(transaction)
    assert said is not None
    assert (COPY.user_id, COPY.purchase_id) == (said["user_id"], said["purchase_id"])
    assert {"amount", "currency"}.isdisjoint(said)


def test_a_late_notification_is_as_it_was(store):
    """Apple signs once, and repeats that for days."""
    shot = store.refund(ANNUAL, NOW)

    assert shot == store.reseal(shot, NOW + 86_400)


def test_the_test_notification_means_nothing(store, settings):
    """It is believed, and ignored by name."""
    assert Ignored("test") == meaning_of(store.test(NOW), settings)


@pytest.mark.parametrize("act", ["purchase", "renew", "refund", "undo_refund", "expire"])
def test_apples_library_believes_the_simulator(store, settings, act):
    """Outer and nested JWS are good enough for Apple's own verifier."""
    verifier = oracle(settings)
    notification = verifier.verify_and_decode_notification(token_of(getattr(store, act)(ANNUAL, NOW)))

    assert notification.data is not None
    assert (
        ANNUAL.purchase_id
        == verifier.verify_and_decode_signed_transaction(notification.data.signedTransactionInfo or "").transactionId
    )
    assert (
        ANNUAL.product_id
        == verifier.verify_and_decode_renewal_info(notification.data.signedRenewalInfo or "").productId
    )


def test_every_call_is_a_new_notification(store):
    """Two notifications about the same thing have two ids; sending one twice is the duplicate."""
    ids = {open_unverified(token_of(store.refund(ANNUAL, NOW)))["notificationUUID"] for _ in range(5)}

    assert 5 == len(ids)


def test_the_refund_of_an_old_period_leaves_the_subscription_active(store):
    """Apple's `status` is that of the subscription now, and not of the refunded period."""
    old = Sale(**{**_fields(ANNUAL), "expires_at_ms": int(NOW * 1000) - DAY_MS})

    assert 1 == open_unverified(token_of(store.refund(old, NOW)))["data"]["status"]
    assert 5 == open_unverified(token_of(store.refund(ANNUAL, NOW)))["data"]["status"]


def _fields(sale: Sale) -> dict:
    return {name: getattr(sale, name) for name in Sale.__dataclass_fields__}


@pytest.mark.parametrize("act", ["refund", "test"])
def test_every_forgery_is_refused(store, settings, act):
    """Each forgery of a good notification is refused, with a reason that belongs to it."""
    shot = store.refund(ANNUAL, NOW) if act == "refund" else store.test(NOW)
    reasons = {}
    for name, forged in store.forge(shot, NOW):
        with pytest.raises(Rejected) as caught:
            meaning_of(forged, settings)
        reasons[name] = caught.value.reason

    assert {
        "tampered_payload": "signature",
        "foreign_leaf_under_the_trusted_intermediate": "authority_key_identifier",
        "foreign_chain_with_the_trusted_root_appended": "authority_key_identifier",
        "algorithm_none": "algorithm",
        "algorithm_hs256_with_the_public_key": "algorithm",
        "expired_leaf": "certificate_not_valid_then",
        "signed_in_the_future": "signed_in_the_future",
        "another_app": "bundle_id",
        "nested_transaction_signed_by_a_stranger": "untrusted_root",
    } == reasons


def test_apples_library_refuses_the_forgeries_of_the_envelope(store, settings):
    """Apple's own verifier agrees about every forgery that it looks at; the future and nested parts it leaves to us."""
    left_to_us = {"signed_in_the_future", "nested_transaction_signed_by_a_stranger"}
    for name, forged in store.forge(store.refund(ANNUAL, NOW), NOW):
        if name not in left_to_us:
            with pytest.raises(VerificationException):
                oracle(settings).verify_and_decode_notification(token_of(forged))


def test_a_forgery_is_a_forgery_of_something_good(store, settings):
    """What is forged was good before: a refusal is due to the forgery and nothing else."""
    shot = store.refund(ANNUAL, NOW)

    assert isinstance(meaning_of(shot, settings), Meaning)
    assert all(forged.type == shot.type and forged.body != shot.body for _, forged in store.forge(shot, NOW))


def test_a_uuid_travels_with_the_transaction():
    """Where the user's id is a UUID Apple carries it, and the app's backend has nothing to add."""
    assert apple.told(ANNUAL) is None


@pytest.mark.parametrize("user_id", ["gem-collector-42", "", "{7e3fb204-2ef5-4d5c-8f2a-6b1f3c7d9e10}"])
def test_another_id_is_told_by_the_backend(store, settings, user_id):
    """Apple carries nothing but UUIDs: any other user comes from the app's backend, with the product."""
    sale = Sale(**{**_fields(GEMS), "user_id": user_id})
    (said,) = meaning_of(store.purchase(sale, NOW), settings).said

    assert said.facts.user_id is None
    assert {
        "platform": "apple",
        "purchase_id": "2000000900000099",
        "original_purchase_id": "2000000900000099",
        "product_id": "com.example.demo.gems",
        "user_id": user_id,
        "kind": "consumable",
        "quantity": 3,
        "amount": 1200,
        "currency": "jpy",
        "purchased_at": int(NOW),
    } == apple.told(sale)


def test_a_key_of_another_kind_is_named(directory, settings):
    """Whoever exchanges a key file for one of another kind learns which."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "apple-leaf.key").write_bytes(pem)

    with pytest.raises(TypeError, match=r"apple-leaf\.key"):
        apple.AppleSimulator(directory, settings)
