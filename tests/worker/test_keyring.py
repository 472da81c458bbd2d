"""What a delivery is signed with comes from the configuration of this process, or sealed from the store."""

from dataclasses import dataclass

import pytest

from tests.store.outbox_story import NOW, NOW_MS, SEALER, SECRET, subscriber
from worker.keyring import NOTHING_KEPT, KeptSecret, Keyring, read, write
from worker.sealing import NO_KEYS, NoEncryptionKey

OLD = "whsec_b25lIHRoYXQgd2FzIHJlcGxhY2VkLCAzMiBieXRlcyE="


@dataclass
class Addressee:
    """A subscriber, as far as its signature goes."""

    origin: str = "api"
    secrets: str = NOTHING_KEPT
    app: str = "acme"
    url: str = "https://api.acme.example/refunds"


def test_the_configuration_s_own_need_no_key():
    """Subscribers of the configuration are signed for with what it says, whatever a row holds."""
    ring = Keyring([subscriber(secrets=(SECRET, OLD))], NO_KEYS)

    assert (SECRET, OLD) == ring.secrets(Addressee("config", secrets='["whsec_forgotten"]'), NOW)
    assert () == ring.secrets(Addressee("config", url="https://removed.acme.example/"), NOW)
    assert () == ring.secrets(Addressee("config", app="other"), NOW)


def test_a_replaced_secret_signs_until_its_end():
    """Several secrets sign at once, the newest first, and a replaced one ends by the clock alone."""
    kept = (KeptSecret(SEALER.seal(SECRET)), KeptSecret(SEALER.seal(OLD), ends_at_ms=NOW_MS + 1000))
    whose, ring = Addressee(secrets=write(kept)), Keyring([], SEALER)

    assert (SECRET, OLD) == ring.secrets(whose, NOW + 0.999)
    assert (SECRET,) == ring.secrets(whose, NOW + 1)
    assert kept == read(whose.secrets)


def test_without_the_key_a_subscriber_of_the_api_is_signed_for_by_nobody():
    """A process that cannot open a secret says so, and never sends unsigned."""
    with pytest.raises(NoEncryptionKey):
        Keyring([], NO_KEYS).secrets(Addressee(secrets=write([KeptSecret(SEALER.seal(SECRET))])), NOW)


def test_what_lay_in_clear_is_not_read():
    """Secrets that an earlier version wrote into the store count for nothing."""
    assert () == read('["whsec_in_clear"]')
