"""The simulated Appstore: what it says is genuinely signed, and what it forges is not."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from config.platforms import Amazon
from handlers.amazon import PLATFORM
from handlers.errors import Rejected
from schemas.platforms.amazon import AmazonPayload
from schemas.received import Received
from worker.simulator.amazon import AmazonSimulator, create, told
from worker.simulator.sale import Sale, Shot

pytestmark = pytest.mark.unit

NOW = 1_795_000_000.0
MONTHLY = Sale(
    user_id="ines",
    product_id="com.acme.pro.monthly",
    purchase_id="amzn1.receipt.monthly",
    original_purchase_id="amzn1.receipt.monthly",
    amount=499,
    currency="usd",
    purchased_at_ms=1_795_000_000_000,
    expires_at_ms=1_797_592_000_000,
)
LEVEL_PACK = Sale(
    user_id="ines",
    product_id="com.acme.levels",
    purchase_id="amzn1.receipt.levels",
    original_purchase_id="amzn1.receipt.levels",
    amount=299,
    currency="usd",
    purchased_at_ms=1_795_000_000_000,
    expires_at_ms=None,
    subscription=False,
)
YEARLY = replace(MONTHLY, purchase_id="amzn1.receipt.yearly", replaces="amzn1.receipt.monthly")
PACK = replace(LEVEL_PACK, product_id="com.acme.coins", purchase_id="amzn1.receipt.pack", consumable=True)
COINS = replace(LEVEL_PACK, product_id="com.acme.coins", purchase_id="amzn1.receipt.coins", quantity=3)


@pytest.fixture(scope="module", name="directory")
def _directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("amazon")


@pytest.fixture(scope="module", name="settings")
def _settings(directory: Path) -> Amazon:
    return Amazon.model_validate(create(directory, app="acme", public_url="https://hooks.acme.example"))


@pytest.fixture(params=["1", "2"], name="simulator")
def _simulator(request: pytest.FixtureRequest, directory: Path, settings: Amazon) -> AmazonSimulator:
    return AmazonSimulator(directory, settings, signature_version=request.param)


def verified(shot: Shot, settings: Amazon) -> AmazonPayload:
    """Verify a shot with nothing but what the section names."""
    keys = {url: x509.load_pem_x509_certificate(path.read_bytes()) for url, path in settings.certificates.items()}
    received = Received(app="acme", body=shot.body, headers=shot.headers)
    payload = PLATFORM.verify(received, settings=settings, keys=keys, now=NOW)
    assert isinstance(payload, AmazonPayload)
    return payload


def test_create_makes_a_section_that_is_on(settings: Amazon) -> None:
    """The section validates, is enabled, and names files that exist."""
    assert settings.enabled
    assert all(path.is_absolute() and path.is_file() for path in settings.certificates.values())


def test_the_private_key_is_private(directory: Path) -> None:
    """Nobody but the owner reads the signing key."""
    assert 0o600 == stat.S_IMODE((directory / "amazon-sns-key.pem").stat().st_mode)


def test_create_can_be_repeated(tmp_path: Path) -> None:
    """A second call replaces the trust instead of failing on what the first one left."""
    first, second = (create(tmp_path, app="acme", public_url="https://hooks.acme.example") for _ in range(2))

    assert first["topic_arns"] == second["topic_arns"]
    assert not first["certificates"].keys() & second["certificates"].keys()


def test_the_key_must_be_rsa(tmp_path: Path, directory: Path, settings: Amazon) -> None:
    """A key file of another kind is an error at once, not at the first signature."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - only here

    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "amazon-sns-key.pem").write_bytes(pem)

    with pytest.raises(TypeError, match="no RSA key"):
        AmazonSimulator(tmp_path, settings)


@pytest.mark.parametrize(
    ("verb", "sale", "word"),
    [
        ("purchase", MONTHLY, "SUBSCRIPTION_PURCHASED"),
        ("purchase", LEVEL_PACK, "ENTITLEMENT_PURCHASED"),
        ("purchase", COINS, "CONSUMABLE_PURCHASED"),
        ("renew", MONTHLY, "SUBSCRIPTION_RENEWED"),
        ("refund", MONTHLY, "SUBSCRIPTION_CANCELLED"),
        ("refund", LEVEL_PACK, "ENTITLEMENT_CANCELLED"),
        ("refund", COINS, "CONSUMABLE_CANCELLED"),
        ("expire", MONTHLY, "SUBSCRIPTION_EXPIRED"),
        ("revoke", MONTHLY, "SUBSCRIPTION_CANCELLED"),
        ("upgrade", YEARLY, "SUBSCRIPTION_MODIFIED_IMMEDIATE"),
        ("fail_payment", MONTHLY, "SUBSCRIPTION_IN_GRACE_PERIOD"),
        ("recover", MONTHLY, "SUBSCRIPTION_RENEWED"),
        ("purchase", PACK, "CONSUMABLE_PURCHASED"),
    ],
)
def test_each_verb_is_said_in_amazons_words(
    simulator: AmazonSimulator, settings: Amazon, verb: str, sale: Sale, word: str
) -> None:
    """Every shot verifies, and names its type, its receipt and its time."""
    shot = getattr(simulator, verb)(sale, NOW)

    payload = verified(shot, settings)

    assert payload.notification is not None
    assert (word, word) == (shot.type, payload.notification.notification_type)
    assert sale.purchase_id == payload.notification.receipt_id
    assert int(NOW * 1000) == payload.notification.timestamp_ms == payload.sent_at_ms


def test_an_upgrade_names_the_receipt_that_it_ends(simulator: AmazonSimulator, settings: Amazon) -> None:
    """A new tier has a receipt of its own, and says whose place it takes."""
    said = verified(simulator.upgrade(YEARLY, NOW), settings).notification

    assert said is not None
    assert {"cancelledReceiptId": MONTHLY.purchase_id} == said.related_receipts


def test_a_late_message_is_published_anew(simulator: AmazonSimulator, settings: Amazon) -> None:
    """Five days later the words are the same, in another message whose signature is young enough."""
    shot = simulator.refund(LEVEL_PACK, NOW - 5 * 86_400)
    late = simulator.reseal(shot, NOW)
    outer, again = (json.loads(each.body) for each in (shot, late))

    with pytest.raises(Rejected, match="timestamp_too_old"):
        verified(shot, settings)
    assert verified(late, settings).notification is not None
    assert outer["Message"] == again["Message"]
    assert outer["MessageId"] != again["MessageId"]


def test_what_the_appstore_does_not_have_is_not_said(simulator: AmazonSimulator) -> None:
    """No refund is undone, and what was bought once never expires."""
    assert simulator.undo_refund(MONTHLY, NOW) is None
    assert simulator.expire(LEVEL_PACK, NOW) is None


@pytest.mark.parametrize("kind", ["subscription_confirmation", "unsubscribe_confirmation"])
def test_confirmations_are_signed_too(simulator: AmazonSimulator, settings: Amazon, kind: str) -> None:
    """Both kinds of confirmation verify."""
    assert verified(getattr(simulator, kind)(NOW), settings).notification is None


def test_each_call_makes_a_new_notification(simulator: AmazonSimulator) -> None:
    """Ids are never used twice; only sending the same shot again is a duplicate."""
    ids = [json.loads(simulator.purchase(MONTHLY, NOW).body)["MessageId"] for _ in range(20)]

    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("limit", [0, 4500])
def test_forgeries_of_anything_are_refused(
    simulator: AmazonSimulator, directory: Path, settings: Amazon, limit: int
) -> None:
    """Forgeries differ from the original and are refused, with and without an age limit."""
    settings = settings.model_copy(update={"max_age_seconds": limit})
    simulator = AmazonSimulator(directory, settings)
    for shot in (simulator.refund(LEVEL_PACK, NOW), simulator.subscription_confirmation(NOW)):
        for name, forged in simulator.forge(shot, NOW):
            assert shot.body != forged.body, name
            with pytest.raises(Rejected):
                verified(forged, settings)


@pytest.mark.parametrize("sale", [MONTHLY, LEVEL_PACK], ids=lambda sale: sale.product_id)
def test_the_backend_tells_what_amazon_leaves_out(sale: Sale) -> None:
    """Product, price and user come from the app; nothing unknown is said."""
    said = told(sale)

    assert ("amazon", sale.purchase_id, sale.product_id) == (said["platform"], said["purchase_id"], said["product_id"])
    assert (sale.user_id, sale.amount, sale.currency) == (said["user_id"], said["amount"], said["currency"])
    assert None not in said.values()
    assert sale.subscription == ("expires_at" in said)
