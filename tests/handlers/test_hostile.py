"""What a genuine signature does not prove: that what it signs is ours to act on."""

import pytest

from config.platforms import Amazon, Google, Stripe
from config.settings import App
from handlers.errors import Unauthentic
from handlers.stripe import PLATFORM
from schemas.meaning import Quarantined
from schemas.received import Received
from tests.handlers.stripe_story import CHARGE, REFUND, SETTINGS, event_of
from worker.simulator.stripe import sign

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("kind", "subject"), [("charge.succeeded", CHARGE), ("refund.created", REFUND)])
def test_what_happened_on_a_connected_account_waits_for_a_person(kind, subject):
    """An event of a connected account changes no purchase and asks for nothing, whatever its metadata says."""
    # A Connect endpoint's secret signs the events of every account that is connected. The owner of one could charge his
    # own card ten cents, write any user and any product into the metadata, and own the annual plan.
    event = event_of(kind, subject, account="acct_stranger")

    assert Quarantined("connected_account", kind) == PLATFORM.normalize(event, {}, settings=SETTINGS)
    assert () == PLATFORM.needs(event)


@pytest.mark.parametrize("secrets", [("",), (" ",), ("\t\n",), ("", "  ")])
def test_what_an_empty_secret_signs_is_never_believed(secrets):
    """Empty and blank secrets switch nothing on, and even handed to `verify` directly they verify nothing."""
    blank = Stripe.model_construct(webhook_secrets=secrets, livemode=True)
    for secret in secrets:
        received = Received("acme", b"{}", {"stripe-signature": sign(b"{}", secret=secret, now=1000)})
        with pytest.raises(Unauthentic):
            PLATFORM.verify(received, settings=blank, keys={}, now=1000)

    assert App(stripe=Stripe(webhook_secrets=secrets)).platform("stripe") is None


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blank_settings_switch_no_platform_on(blank):
    """Topics, audiences and accounts that are blank are none."""
    google = {
        "package_name": "com.acme.app",
        "audience": "https://a.example",
        "service_account_email": "push@a.example",
    }
    for name in google:
        assert App(google=Google(**{**google, name: blank})).platform("google") is None
    assert App(amazon=Amazon(package_name="com.acme.app", topic_arns=(blank,))).platform("amazon") is None
