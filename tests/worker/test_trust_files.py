"""Which keys an operator's files hold, whom they are for, and what a start says of those that cannot be used.

Real: `Trust`, files, certificates. Double: a platform that tells which keys it was given, and a `fetch` that fails.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from config.platforms import Amazon, Apple, Google
from handlers.google import PLATFORM as GOOGLE
from handlers.platform import Platform, nothing_needed
from schemas.received import Received
from tests.worker.certificates import NOW, certificate, pem
from tests.worker.publisher import CERT_URL, SHOP, Publisher, app, itself
from worker.fetch import FetchFailed
from worker.trust import Trust, TrustError, load

pytestmark = pytest.mark.unit


def tell_keys(_received, *, settings, keys, now):
    """Verify nothing, and tell which keys there are."""
    return dict(keys)


class TestFiles:
    def test_roots_come_in_either_encoding_and_any_number(self, tmp_path):
        """A PEM file may hold several roots, a DER file holds one; each has a name of its own."""
        (tmp_path / "two.pem").write_bytes(pem(certificate("one"), certificate("two", "ec")))
        (tmp_path / "three.cer").write_bytes(certificate("three").public_bytes(Encoding.DER))
        paths = (tmp_path / "two.pem", tmp_path / "three.cer")
        loaded = load({"acme": app(apple=Apple(bundle_id="com.acme.weather", root_certificates=paths))})

        assert {
            f"{tmp_path}/two.pem#0": certificate("one"),
            f"{tmp_path}/two.pem#1": certificate("two", "ec"),
            f"{tmp_path}/three.cer#0": certificate("three"),
        } == loaded["acme", "apple"]

    async def test_a_platform_gets_the_roots_of_its_app(self, tmp_path):
        """Trust hands each app's own roots to its verifier, and nothing to an app that has none."""
        (tmp_path / "root.pem").write_bytes(pem(certificate("one")))
        section = Apple(bundle_id="com.acme.weather", root_certificates=(tmp_path / "root.pem",))
        trust = Trust({"acme": app(apple=section), "beta": app()}, Publisher(FetchFailed("unreachable")))
        tell = Platform(
            "apple",
            tell_keys,
            itself,
            nothing_needed,
            GOOGLE.normalize,
            GOOGLE.read,
        )
        ask: Callable[[Received], Awaitable[Any]] = partial(trust.verify, tell, settings=section, now=NOW)

        assert {f"{tmp_path}/root.pem#0": certificate("one")} == await ask(Received("acme", b""))
        assert {} == await ask(Received("beta", b""))

    @pytest.mark.parametrize(
        ("sections", "message"),
        [
            ({"apple": Apple(bundle_id="a", root_certificates=("gone.pem",))}, r"apps\.acme\.apple\.root_certificates"),
            ({"apple": Apple(bundle_id="a", root_certificates=("text",))}, "neither a PEM nor a DER certificate"),
            ({"apple": Apple(bundle_id="a", root_certificates=("broken.pem",))}, "not a PEM certificate"),
            ({"apple": Apple(bundle_id="a", root_certificates=(".",))}, "cannot be read"),
            ({"google": ("gone.json",)}, r"apps\.acme\.google\.jwks: .*gone\.json cannot be read \(No such file"),
            ({"google": ("text",)}, "is not JSON; give another file"),
            ({"google": ("http://www.googleapis.com/oauth2/v3/certs",)}, "give an https:// address or the path"),
            ({"google": ("ftp://127.0.0.1/certs",)}, "is not fetched"),
            ({"amazon": {CERT_URL: "gone.pem"}}, r"apps\.acme\.amazon\.certificates: .*gone\.pem"),
            ({"amazon": {CERT_URL: "two.pem"}}, "holds 2 certificates instead of one"),
        ],
    )
    def test_a_key_that_cannot_be_used_is_named_with_its_setting(self, tmp_path, monkeypatch, sections, message):
        """Start-up ends with one sentence: which setting, which file, what is wrong and what to do."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "text").write_text("certificates are in the other folder")
        (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        (tmp_path / "two.pem").write_bytes(pem(certificate("one"), certificate("two", "ec")))
        given = dict(sections)
        if "google" in given:
            given["google"] = Google(package_name="a", audience="b", service_account_email="c", jwks=given["google"][0])
        if "amazon" in given:
            given["amazon"] = SHOP.model_copy(
                update={"certificates": Amazon(certificates=given["amazon"]).certificates}
            )

        with pytest.raises(TrustError, match=message):
            Trust({"acme": app(**given)}, Publisher(FetchFailed("unreachable")))

    def test_a_section_that_is_off_loads_nothing(self):
        """An endpoint that answers 404 needs no files."""
        off = app(
            apple=Apple(root_certificates=("gone.pem",)),
            google=Google(jwks="gone.json"),
            amazon=Amazon(certificates={CERT_URL: "gone.pem"}),
        )

        assert {} == load({"acme": off})
