"""What the configuration says of asking the platforms' APIs, and refuses to be told."""

from pathlib import Path

import pytest

from config.load import load
from config.platforms import Amazon, Apple, Google, Stripe
from config.problems import ConfigError

CREDENTIALS = """
[lookups]
per_second = 2.5
[apps.acme.google]
service_account_key = "keys/reader.json"
[apps.acme.stripe]
api_key = "rk_live_annual"
"""


def test_a_key_file_is_found_beside_the_configuration(tmp_path: Path):
    """Its path is relative to the file that names it."""
    file = tmp_path / "clawback.toml"
    file.write_text(CREDENTIALS, encoding="utf-8")
    settings = load(file, {})
    google = settings.apps["acme"].google

    assert google is not None
    assert str(tmp_path / "keys" / "reader.json") == google.service_account_key
    assert (2.5, 10.0) == (settings.lookups.per_second, settings.lookups.timeout_seconds)


def test_a_secret_may_come_from_a_file(tmp_path: Path):
    """What asks Stripe can stay where the platform of the deployment keeps secrets."""
    (tmp_path / "stripe").write_text("rk_live_annual\n", encoding="utf-8")
    settings = load(None, {"CLAWBACK_APPS__ACME__STRIPE__API_KEY_FILE": str(tmp_path / "stripe")})
    stripe = settings.apps["acme"].stripe

    assert stripe is not None
    assert ("rk_live_annual", True) == (stripe.api_key, stripe.looks_up)


@pytest.mark.parametrize("platform", ["google", "stripe", "amazon"])
@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("https://api.acme.example", True),
        ("https://api.acme.example:8443/v7", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost", True),
        ("http://api.acme.example", False),
        ("http://127.0.0.1.acme.example", False),
        ("ftp://127.0.0.1", False),
        ("https://user@api.acme.example", False),
        ("https://api.acme.example?key=", False),
        ("https://[", False),
        ("http://localhost:0", False),
        ("api.acme.example", False),
    ],
)
def test_credentials_go_nowhere_in_the_clear(platform, address, good):
    """An address for credentials is HTTPS, or on this machine."""
    environ = {f"CLAWBACK_APPS__ACME__{platform.upper()}__API": address}
    if good:
        assert address == getattr(load(None, environ).apps["acme"], platform).api
    else:
        with pytest.raises(ConfigError, match="is not https://"):
            load(None, environ)


@pytest.mark.parametrize("section", [Apple(bundle_id="com.acme"), Google(), Stripe(), Amazon()])
def test_nothing_is_asked_without_credentials(section):
    """Absent credentials are a choice: the API is not asked. Apple's never is."""
    assert not section.looks_up
