"""A key of one's own in the data directory, where nobody configured one."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from config.problems import ConfigError
from config.settings import Settings, Store, Subscriber
from tests.store.outbox_story import SECRET, subscribe_by_api, subscriber
from tests.worker.backend import Clock, new_runtime
from worker import keyring
from worker.bootstrap import introduce_subscribers
from worker.filters import refuse_empty_filters
from worker.keyfile import KEY_FILE, make_key_file, with_key_file
from worker.sealing import Sealer
from worker.start import settle
from worker.store.subscribers import change_subscriber, sealed_secrets

KEYS = ("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",)
"""Those of the runtime that tests make."""
STRANGE = "c29tZWJvZHkgZWxzZSdzIGtleSwgMzIgYnl0ZXMgbG8="
OTHER = "Q2hhbmdlIG1lISAzMiByYW5kb20gYnl0ZXMgaGVyZS4="


def test_a_key_is_made_once_for_this_user_alone(tmp_path: Path):
    """The first start makes a key that nobody else may read; every later one, and every process, finds that one."""
    settings = settle(Settings(), tmp_path)
    made = make_key_file(settings, tmp_path).store.encryption_keys

    assert 1 == len(made)
    assert 0o600 == stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode)
    assert [KEY_FILE] == [file.name for file in tmp_path.iterdir()]
    assert made == make_key_file(settle(Settings(), tmp_path), tmp_path).store.encryption_keys
    assert SECRET == Sealer(made).open(Sealer(made).seal(SECRET))


def test_a_configured_key_seals_and_the_file_s_still_opens(tmp_path: Path):
    """Where a key is configured none is made, and one that was made before comes after it."""
    configured = Settings(store=Store(url="sqlite:///there.db", encryption_keys=(OTHER,)))
    assert (OTHER,) == make_key_file(configured, tmp_path).store.encryption_keys
    assert [] == list(tmp_path.iterdir())

    (own,) = make_key_file(settle(Settings(), tmp_path), tmp_path).store.encryption_keys
    assert (OTHER, own) == with_key_file(configured, tmp_path).store.encryption_keys


def test_no_key_is_made_beside_a_database_of_others(tmp_path: Path):
    """On PostgreSQL other hosts would not have it: the operator has to give them all the same."""
    settings = Settings(store=Store(url="postgresql://clawback@db/clawback"))

    assert () == make_key_file(settings, tmp_path).store.encryption_keys


@pytest.mark.parametrize("text", ["", "no key", "\u00fc"])
def test_a_broken_file_is_told(tmp_path: Path, text: str):
    """A file that holds no key stops the start with one line that names it."""
    (tmp_path / KEY_FILE).write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=KEY_FILE):
        with_key_file(Settings(), tmp_path)


def test_a_directory_in_its_place_is_told(tmp_path: Path):
    """What cannot be read is told with its reason."""
    (tmp_path / KEY_FILE).mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        with_key_file(Settings(), tmp_path)


def test_a_start_seals_anew_what_an_older_key_sealed(tmp_path: Path):
    """After a start with a new key in front that key alone opens everything; what no key opens is left as it is."""
    made = new_runtime(tmp_path, Clock())
    ours, lost = subscribe_by_api(made.store, subscriber(), subscriber("https://b.acme.example/"))
    stranger = keyring.write([keyring.keep(SECRET, Sealer([STRANGE]))])
    with made.store.write() as connection:
        change_subscriber(connection, lost, {"secrets": stranger})
    runtime = replace(made, sealer=Sealer([OTHER, *KEYS]))
    introduce_subscribers(runtime)
    with runtime.store.read() as connection:
        found = sealed_secrets(connection)
    runtime.store.close()

    assert [SECRET] == [Sealer([OTHER]).open(one.sealed) for one in keyring.read(found[ours])]
    assert stranger == found[lost]


def test_a_configured_filter_that_lets_nothing_through_is_refused():
    """A type that does not exist is told with its subscriber and the nearest that does."""
    fine = Subscriber(app="acme", url="https://a.example/", types=("*", "refund.*", "balance.restored"))
    wrong = Subscriber(app="acme", url="https://b.example/", types=("refunds.*",))
    refuse_empty_filters(Settings(subscribers=(fine,)))
    with pytest.raises(ConfigError, match=r"clawback.toml: subscribers\[1\].types: .*refund\.\*"):
        refuse_empty_filters(Settings(subscribers=(fine, wrong)).read_from("clawback.toml"))
