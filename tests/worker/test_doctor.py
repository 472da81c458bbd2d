"""What is wrong is found, named, and comes with what to do."""

from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import update

from config.load import load
from config.settings import Settings
from tests.services import require_valkey, valkey
from tests.store.later import at_9999
from tests.store.outbox_story import SECRET, subscribe, subscriber
from tests.worker.desk import arrival
from tests.worker.platform_api import write_key
from worker import keyring
from worker.bodies import Bodies
from worker.broker import connect
from worker.doctor import CHECKS, Finding, examine, healthy
from worker.doctor_seals import EXAMPLE
from worker.inbox import Inbox
from worker.ownership import collisions, strays
from worker.sealing import Sealer
from worker.start import migrate, settle
from worker.store import inbox
from worker.store.engine import Store
from worker.store.tables import subscribers
from worker.valkey import EmbeddedValkey

__all__ = ["valkey"]

CONFIG = """
[admin]
tokens = ["a-token-of-more-than-16-characters"]
[apps.acme.stripe]
webhook_secrets = ["whsec_annual"]
[apps.acme.products.pro]
entitlements = ["pro"]
"""


@pytest.fixture
def look(tmp_path):
    """Write a configuration, bring its database up to date, and examine it."""

    def look(text: str = CONFIG, *, migrated: bool = True) -> list[Finding]:
        file = tmp_path / "clawback.toml"
        file.write_text(text, encoding="utf-8")
        settings = settle(load(file, {}), tmp_path)
        if migrated:
            migrate(settings)
        return examine(settings, tmp_path)

    return look


def of(findings: list[Finding], check: str) -> list[Finding]:
    """Pick one check's findings."""
    return [finding for finding in findings if finding.check == check]


def test_good_installation_is_healthy(look):
    """Nothing is wrong with what is as it should be, and every check says so."""
    require_valkey()

    findings = look(f"{CONFIG}\n[store]\nencryption_keys = ['{Fernet.generate_key().decode()}']")

    assert healthy(findings), findings
    assert {*CHECKS, "clock"} == {finding.check for finding in findings}
    assert not [finding for finding in findings if finding.verdict == "warning"]


def seal_with(settings: Settings, key: str) -> None:
    """Have a subscriber of the API whose secret this key sealed."""
    store = Store(settings.store.url)
    subscribe(store, subscriber())
    kept = keyring.write([keyring.keep(SECRET, Sealer([key]))])
    with store.write() as connection:
        connection.execute(update(subscribers).values(id="sub_sealed", origin="api", secrets=kept))
    store.close()


def test_a_lost_key_and_an_idle_one_are_named(look, tmp_path):
    """Secrets that no key opens are a failure that names their subscriber; a key that opens nothing may go."""
    keys = [Fernet.generate_key().decode() for _ in range(3)]
    text = f"{CONFIG}\n[store]\nencryption_keys = "
    look()
    seal_with(settle(load(tmp_path / "clawback.toml", {}), tmp_path), keys[2])

    (lost,), none = of(look(f"{text}['{keys[0]}']"), "seals"), of(look(), "seals")
    idle, fine = of(look(f"{text}{[keys[0], keys[1], keys[2]]}"), "seals")

    assert ("failed", True) == (lost.verdict, "sub_sealed" in lost.detail)
    assert "failed" == none[0].verdict
    assert ("warning", True) == (idle.verdict, "key 2 of 3" in idle.detail)
    assert ("ok", "1 sealed secrets of subscribers, all can be opened") == (fine.verdict, fine.detail)
    assert not any(key in finding.detail for key in keys for finding in (lost, *none, idle, fine))


def test_bodies_are_held_against_the_keys(look, tmp_path):
    """Bodies that no key opens are a failure; those of a later key, or open ones, a warning that says how to seal."""
    keys = [Fernet.generate_key().decode() for _ in range(3)]
    text = f"{CONFIG}\n[store]\nencryption_keys = "
    look()
    store = Store(settle(load(tmp_path / "clawback.toml", {}), tmp_path).store.url)
    with store.write() as connection:
        said = ((1, keys[0]), (2, keys[1]), (3, keys[1]), (4,))
        inbox.insert_absent(connection, [a_row(store, number, *by) for number, *by in said])
    store.close()

    closed, stale, *_ = of(look(f"{text}{[keys[0], keys[2]]}"), "seals")
    fine = of(look(f"{text}{[keys[0], keys[1]]}"), "seals")

    assert ("failed", "no key opens the bodies of 2 notifications") == (closed.verdict, closed.detail)
    assert ("warning", True, "clawback reseal") == (stale.verdict, stale.detail.startswith("1 bodies"), stale.advice)
    assert ["3 bodies"] == [finding.detail[:8] for finding in fine if finding.verdict == "warning"]


def test_what_lies_open_for_want_of_a_key_is_a_warning(look, tmp_path):
    """Nothing fails without a key, and nothing is sealed: how much lies open is said, and what to do."""
    look()
    store = Store(settle(load(tmp_path / "clawback.toml", {}), tmp_path).store.url)
    with store.write() as connection:
        inbox.insert_absent(connection, [a_row(store, 1), a_row(store, 2)])
    store.close()

    (found,) = of(look(), "seals")

    assert ("warning", True) == (found.verdict, "2 bodies of notifications lie open" in found.detail)
    assert "store.encryption_keys" in found.advice


def a_row(store: Store, number: int, *keys: str) -> dict[str, Any]:
    """Make a row of the inbox as the door would, with these keys."""
    return Inbox(store, cast("Any", None), bodies=Bodies(keys))._row(arrival(number))


def test_the_example_s_key_is_nobody_s(look):
    """A key that stands in the repository is found out."""
    found = of(look(f"{CONFIG}\n[store]\nencryption_keys = ['{EXAMPLE}']"), "seals")

    assert EXAMPLE in (Path(__file__).parents[2] / "clawback.example.toml").read_text()
    assert ("failed", "make one of your own, put it in front") == (found[0].verdict, found[0].advice)


def test_running_broker_is_asked(look, valkey: EmbeddedValkey):
    """A broker that runs is asked for its version, its eviction policy and its time."""
    findings = look(f"{CONFIG}\n[broker]\nurl = '{valkey.url}'\n")

    details = " ".join(finding.detail for finding in of(findings, "broker"))
    assert "valkey 9." in details or "answers" in details
    assert "noeviction" in details
    assert 2 == len(of(findings, "clock"))


def test_evicting_broker_fails(look, tmp_path):
    """A broker that may drop what is queued is a failure."""
    server = EmbeddedValkey(tmp_path, require_valkey())
    server.start()
    client = connect(server.url)
    client.config_set("maxmemory-policy", "allkeys-lru")

    findings = look()

    client.close()
    server.stop()
    assert not healthy(findings)
    assert "set it to noeviction" in [finding.advice for finding in of(findings, "broker")]


def test_absent_broker_fails(look, tmp_path):
    """A broker that does not answer is a failure with a way on."""
    findings = look(f"{CONFIG}\n[broker]\nurl = 'unix://{tmp_path}/nobody.sock'\n")

    assert [("failed", "start it, or set broker.url")] == [(f.verdict, f.advice) for f in of(findings, "broker")]


def test_pending_migration_fails(look):
    """A database that this code does not fit is a failure, and nothing is read from it."""
    findings = look(migrated=False)

    assert [("failed", "run `clawback migrate`")] == [(f.verdict, f.advice) for f in of(findings, "migrations")]
    assert ["skipped"] == [finding.verdict for finding in of(findings, "ledger")]


@pytest.mark.parametrize(("fits_from", "verdict"), [("0000", "warning"), ("9999", "failed")])
def test_a_newer_database_asks_for_an_update(look, tmp_path, fits_from, verdict):
    """A database ahead of this code is to be followed soon, or at once where the tables do not fit any more."""
    look()
    store = Store(f"sqlite:///{tmp_path / 'clawback.db'}")
    at_9999(store, fits_from)
    store.close()
    findings = look(migrated=False)

    assert [(verdict, "update Clawback on this host")] == [(f.verdict, f.advice) for f in of(findings, "migrations")]


def test_unreadable_key_fails(look):
    """A key file that is not there is named with its setting."""
    text = "[apps.acme.apple]\nbundle_id = 'com.acme'\napp_apple_id = 1\nroot_certificates = ['gone.pem']\n"

    (finding,) = of(look(text), "keys")

    assert "failed" == finding.verdict
    assert "apps.acme.apple.root_certificates" in finding.detail


ON = {
    "google": "package_name = 'com.acme'\naudience = 'https://a'\nservice_account_email = 'push@acme'",
    "stripe": "webhook_secrets = ['whsec_annual']",
    "amazon": "package_name = 'com.acme'\ntopic_arns = ['arn:aws:sns:us-east-1:123456789012:acme']",
}


@pytest.mark.parametrize(
    ("platform", "credentials", "verdict", "says"),
    [
        ("google", "", "ok", "apps.acme.google: off"),
        ("google", "service_account_key = 'key.json'", "ok", "on, as play-reader@acme.iam.gserviceaccount.com"),
        ("google", "service_account_key = 'gone.json'", "failed", "gone.json cannot be read"),
        ("google", "service_account_key = 'clawback.toml'", "failed", "is not JSON"),
        ("stripe", "", "ok", "apps.acme.stripe: off"),
        ("stripe", "api_key = 'rk_live_annual'", "ok", "a restricted key"),
        ("stripe", "api_key = 'sk_live_annual'", "ok", "the secret key"),
        ("stripe", "api_key = 'sk_test_annual'", "failed", "is not of live mode"),
        ("stripe", "api_key = 'pk_live_annual'", "failed", "no secret or restricted key"),
        ("amazon", "", "ok", "apps.acme.amazon: off"),
        ("amazon", "shared_secret = '2:annual'", "ok", "on, with a shared secret"),
        ("amazon", "shared_secret = '2:annual/'", "failed", "a slash or space at an end"),
    ],
)
def test_credentials_for_look_ups_are_looked_at(look, tmp_path, platform, credentials, verdict, says):
    """For each app and platform it is said whether the API is asked, and whether its credentials look like some."""
    write_key(tmp_path / "key.json")

    (finding,) = of(look(f"[apps.acme.{platform}]\n{ON[platform]}\n{credentials}\n"), "lookups")

    assert verdict == finding.verdict
    assert says in finding.detail
    assert "annual" not in finding.detail
    assert ("failed" == verdict) == bool(finding.advice)


def test_section_without_its_secret_is_a_warning(look):
    """A platform that is there and off is hardly meant."""
    findings = look("[apps.acme.stripe]\nwebhook_secrets = ['']\n[apps.acme.products.pro]\n")

    assert any("apps.acme.stripe is there without" in finding.detail for finding in of(findings, "configuration"))


class TestOwnership:
    @pytest.fixture
    def environment(self, tmp_path: Path) -> Path:
        """Build an environment in which another distribution brought a `config` of its own."""
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "__init__.py").write_text("")
        about = tmp_path / "config-0.5.1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: config\nVersion: 0.5.1\n")
        (about / "RECORD").write_text("config/__init__.py,,\nconfig-0.5.1.dist-info/METADATA,,\n")
        return tmp_path

    def test_collision_is_found(self, environment):
        """A package of ours that another distribution claims is named with that distribution."""
        assert {"config": ["config"]} == collisions([str(environment)])

    def test_old_metadata_is_read_too(self, environment):
        """A distribution that only lists its top-level names is found as well."""
        about = environment / "config-0.5.1.dist-info"
        (about / "RECORD").write_text("")
        (about / "top_level.txt").write_text("config\n")

        assert {"config": ["config"]} == collisions([str(environment)])

    def test_our_own_distribution_collides_with_nothing(self, environment):
        """What we installed ourselves is no collision."""
        about = environment / "config-0.5.1.dist-info"
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: clawback\nVersion: 0.1.0\n")

        assert {} == collisions([str(environment)])

    def test_package_from_elsewhere_is_found(self, environment):
        """A package that would be imported from another place than the rest is named with it."""
        home = Path(__file__).parents[2]

        assert {"config": str(environment / "config")} == strays(home, [str(environment), str(home)])
