"""Where keys come from: the real `Trust` and `HttpFetch` against real files and a real server on this machine.

Real: files, sockets, certificates, signatures (tokens of the simulated Google Play). Doubles: the clock, which is a
number, and for the counting tests a `fetch` that answers from a list. Nothing is patched.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.serialization import Encoding

from config.platforms import Amazon, Apple, Google
from handlers.errors import Unauthentic
from handlers.google import PLATFORM as GOOGLE
from handlers.platform import Platform, nothing_needed
from schemas.received import KeyWanted, Received
from tests.worker.certificates import NOW, certificate, pem
from worker.fetch import Fetched, FetchFailed, HttpFetch
from worker.simulator.google import GoogleSimulator, create
from worker.simulator.sale import Sale
from worker.trust import CERTIFICATES_MAX, Recent, Trust, TrustError, TrustUnavailable, load

pytestmark = pytest.mark.unit

JWKS = "https://www.googleapis.com/oauth2/v3/certs"
CERT_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"
SALE = Sale(
    user_id="u_4711",
    product_id="com.acme.weather.pro.annual",
    purchase_id="GPA.3345-1234-5678-90123",
    original_purchase_id="kfpjhbgnmcloikjhgdsa.AO-J1OxEXAMPLE",
    amount=4999,
    currency="eur",
    purchased_at_ms=1_793_900_000_000,
    expires_at_ms=1_825_436_000_000,
)


def app(apple=None, google=None, amazon=None):
    """Give an app with the sections that are told."""
    return SimpleNamespace(apple=apple, google=google, amazon=amazon)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        """Read the clock."""
        return self.now


class Publisher:
    """Answer each fetch with what is next, the last one for ever, and count."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.was_asked = asyncio.Event()

    async def __call__(self, url):
        """Answer after giving others their turn."""
        self.asked.append(url)
        self.was_asked.set()
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(name="play", scope="module")
def _play(tmp_path_factory):
    """Give a Google Play whose key set is published at Google's address."""
    directory = tmp_path_factory.mktemp("google")
    section = create(directory, app="acme", public_url="https://hooks.acme.example")
    key_set = (directory / "google-jwks.json").read_bytes()
    settings = Google(**section | {"jwks": JWKS})
    return SimpleNamespace(
        simulator=GoogleSimulator(directory, settings), settings=settings, key_set=key_set, file=section["jwks"]
    )


@pytest.fixture(name="strangers_set", scope="module")
def _strangers_set(tmp_path_factory):
    """Give a key set with one key that nobody here signs with."""
    directory = tmp_path_factory.mktemp("stranger")
    create(directory, app="stranger", public_url="https://hooks.stranger.example")
    return (directory / "google-jwks.json").read_bytes()


def received(play, *, forged=""):
    """Give a push as it arrives, or the named forgery of it."""
    shot = play.simulator.refund(SALE, NOW)
    shot = dict(play.simulator.forge(shot, NOW))[forged] if forged else shot
    return Received("acme", shot.body, {name.lower(): value for name, value in shot.headers.items()})


def trusting(play, publisher, clock=None):
    """Give a `verify` that needs only what was received."""
    trust = Trust({"acme": app(google=play.settings)}, publisher, clock=clock or Clock())
    return lambda what: trust.verify(GOOGLE, what, play.settings, NOW)


class TestKeySet:
    async def test_the_set_is_fetched_once_and_then_known(self, play):
        """The first push fetches the key set, the following ones do not."""
        publisher = Publisher(Fetched(200, play.key_set))
        verify = trusting(play, publisher)

        for _ in range(3):
            push = received(play)
            assert GOOGLE.identify(GOOGLE.read(push.body, push.headers)) == await verify(push)
        assert [JWKS] == publisher.asked

    async def test_pushes_that_arrive_together_share_one_fetch(self, play):
        """A cold start under load asks the publisher once."""
        publisher = Publisher(Fetched(200, play.key_set))
        verify = trusting(play, publisher)

        payloads = await asyncio.gather(*(verify(received(play)) for _ in range(20)))

        assert 20 == len(payloads)
        assert [JWKS] == publisher.asked

    async def test_apps_with_the_same_source_share_its_keys(self, play):
        """Google's key set is one, however many apps are pushed for."""
        publisher = Publisher(Fetched(200, play.key_set))
        trust = Trust({"acme": app(google=play.settings), "beta": app(google=play.settings)}, publisher)
        push = received(play)
        for name in ("acme", "beta"):
            await trust.verify(GOOGLE, Received(name, push.body, push.headers), play.settings, NOW)

        assert [JWKS] == publisher.asked

    async def test_a_forgery_with_wrong_claims_fetches_nothing(self, play):
        """Only a token that claims everything right may cause a fetch."""
        publisher = Publisher(Fetched(200, play.key_set))
        verify = trusting(play, publisher)
        for forged in ("another_audience", "another_account", "expired", "alg_none", "no_token"):
            with pytest.raises(Unauthentic):
                await verify(received(play, forged=forged))

        assert [] == publisher.asked

    async def test_an_unknown_kid_refreshes_at_most_once_a_minute(self, play):
        """A flood of forged kids costs one fetch, and each of them is refused as unknown."""
        clock = Clock()
        publisher = Publisher(Fetched(200, play.key_set))
        verify = trusting(play, publisher, clock)
        await verify(received(play))
        clock.now += 61
        for _ in range(5):
            with pytest.raises(Unauthentic, match="unknown_key"):
                await verify(received(play, forged="unknown_kid"))

        assert 2 == len(publisher.asked)

    async def test_within_the_cool_down_an_unknown_kid_is_simply_unknown(self, play):
        """Nothing is fetched for a kid that was not there a moment ago."""
        clock = Clock()
        publisher = Publisher(Fetched(200, play.key_set))
        verify = trusting(play, publisher, clock)
        await verify(received(play))
        clock.now += 59
        with pytest.raises(Unauthentic, match="unknown_key"):
            await verify(received(play, forged="unknown_kid"))

        assert 1 == len(publisher.asked)

    async def test_a_rotated_key_is_found(self, play, strangers_set):
        """A kid that the publisher has added since is known after one refresh."""
        clock = Clock()
        publisher = Publisher(Fetched(200, strangers_set), Fetched(200, play.key_set))
        verify = trusting(play, publisher, clock)
        with pytest.raises(Unauthentic, match="unknown_key"):
            await verify(received(play))
        clock.now += 61

        assert await verify(received(play))

    async def test_a_withdrawn_key_is_believed_no_longer_than_the_set_is_fresh(self, play, strangers_set):
        """A refresh replaces the set: what the publisher took away is unknown from then on."""
        clock = Clock()
        publisher = Publisher(Fetched(200, play.key_set, 600), Fetched(200, strangers_set, 600))
        verify = trusting(play, publisher, clock)
        await verify(received(play))
        clock.now += 599
        await verify(received(play))
        clock.now += 1
        with pytest.raises(Unauthentic, match="unknown_key"):
            await verify(received(play))

    @pytest.mark.parametrize(("told", "fresh"), [(None, 3_600), (0, 60), (59, 60), (7_200, 7_200), (10**9, 86_400)])
    async def test_freshness_is_the_publishers_within_bounds(self, play, told, fresh):
        """`max-age` is honored between a minute and a day, and is an hour where nothing is said."""
        clock = Clock()
        publisher = Publisher(Fetched(200, play.key_set, told))
        verify = trusting(play, publisher, clock)
        await verify(received(play))
        clock.now += fresh - 0.5
        await verify(received(play))
        before = len(publisher.asked)
        clock.now += 0.5
        await verify(received(play))

        assert (1, 2) == (before, len(publisher.asked))

    @pytest.mark.parametrize(
        "trouble", [FetchFailed("timeout"), Fetched(500), Fetched(302), Fetched(200, b"<html>"), Fetched(404)]
    )
    async def test_old_keys_go_on_working_while_the_publisher_is_away(self, play, trouble):
        """A refresh that fails takes nothing away, and is not repeated with every push."""
        clock = Clock()
        publisher = Publisher(Fetched(200, play.key_set), trouble)
        verify = trusting(play, publisher, clock)
        await verify(received(play))
        clock.now += 90_000
        for _ in range(5):
            assert await verify(received(play))

        assert 2 == len(publisher.asked)

    async def test_a_new_kid_while_the_publisher_is_away_is_asked_to_come_again(self, play):
        """It may be a rotation that we cannot see: neither yes nor no, but later."""
        clock = Clock()
        verify = trusting(play, Publisher(Fetched(200, play.key_set), FetchFailed("timeout")), clock)
        await verify(received(play))
        clock.now += 90_000
        for _ in range(2):
            with pytest.raises(TrustUnavailable) as caught:
                await verify(received(play, forged="unknown_kid"))

            assert 60 == caught.value.retry_after_seconds

    async def test_with_nothing_known_a_failure_asks_to_come_again_soon(self, play):
        """A cold start without the publisher answers "later", and recovers within seconds."""
        clock = Clock()
        publisher = Publisher(FetchFailed("unreachable"), Fetched(200, play.key_set))
        verify = trusting(play, publisher, clock)
        for _ in range(3):
            with pytest.raises(TrustUnavailable) as caught:
                await verify(received(play))

            assert 5 == caught.value.retry_after_seconds
        clock.now += 5

        assert await verify(received(play))
        assert 2 == len(publisher.asked)

    async def test_who_hangs_up_does_not_take_the_fetch_along(self, play):
        """A push that is canceled while keys are fetched leaves the fetch to the others."""
        publisher = Publisher(Fetched(200, play.key_set))
        verify = trusting(play, publisher)
        first = asyncio.create_task(verify(received(play)))
        second = asyncio.create_task(verify(received(play)))
        await publisher.was_asked.wait()
        first.cancel()

        assert await second
        assert [JWKS] == publisher.asked

    async def test_a_file_is_read_once_and_never_fetched(self, play):
        """A key set by path knows what it knows: an unknown kid is refused without a fetch."""
        publisher = Publisher(FetchFailed("unreachable"))
        settings = play.settings.model_copy(update={"jwks": play.file})
        trust = Trust({"acme": app(google=settings)}, publisher)

        assert await trust.verify(GOOGLE, received(play), settings, NOW)
        with pytest.raises(Unauthentic, match="unknown_key"):
            await trust.verify(GOOGLE, received(play, forged="unknown_kid"), settings, NOW)
        assert [] == publisher.asked


def itself(payload):
    """Identify a payload by all that it is."""
    return payload


def sns_like(url=CERT_URL):
    """Give a platform that wants one certificate and answers with it."""

    def verify(_received, *, settings, keys, now):
        return keys.get(url) or KeyWanted(url, url, "pem")

    never = GOOGLE
    return Platform("amazon", verify, itself, nothing_needed, never.normalize, never.read)


SHOP = Amazon(package_name="com.acme.weather", topic_arns=("arn:aws:sns:us-east-1:123456789012:acme",))


class TestCertificates:
    def verify(self, publisher, settings=SHOP):
        """Give a `verify` by the platform that wants the certificate of an address."""
        trust = Trust({"acme": app(amazon=settings)}, publisher)
        return lambda url=CERT_URL: trust.verify(sns_like(url), Received("acme", b""), settings, NOW)

    async def test_a_certificate_is_fetched_once(self):
        """What was fetched is known, and requests that arrive together share the fetch."""
        publisher = Publisher(Fetched(200, pem(certificate())))
        verify = self.verify(publisher)

        assert [certificate()] * 5 == await asyncio.gather(*(verify() for _ in range(5)))
        assert certificate() == await verify()
        assert [CERT_URL] == publisher.asked

    async def test_a_preloaded_certificate_is_never_fetched(self, tmp_path):
        """A closed network verifies with what the operator put there."""
        path = tmp_path / "sns.pem"
        path.write_bytes(pem(certificate()))
        publisher = Publisher(FetchFailed("unreachable"))
        settings = SHOP.model_copy(update={"certificates": {CERT_URL: path}})

        assert certificate() == await self.verify(publisher, settings)()
        assert [] == publisher.asked

    @pytest.mark.parametrize("status", [404, 410])
    async def test_a_certificate_that_does_not_exist_proves_nothing(self, status):
        """That there is no such certificate is an answer: not authentic, and no reason to come again."""
        with pytest.raises(Unauthentic, match="unknown_key"):
            await self.verify(Publisher(Fetched(status)))()

    @pytest.mark.parametrize(
        "trouble",
        [
            FetchFailed("timeout"),
            Fetched(500),
            Fetched(403),
            Fetched(302),
            Fetched(200, b"<html>please log in</html>"),
            Fetched(200, pem(certificate(), certificate("other"))),
        ],
    )
    async def test_a_source_that_makes_no_sense_is_asked_again_later(self, trouble):
        """Amazon never repeats what was refused, so only certainty refuses; the next one tries again."""
        publisher = Publisher(trouble, Fetched(200, pem(certificate())))
        verify = self.verify(publisher)
        with pytest.raises(TrustUnavailable) as caught:
            await verify()

        assert 5 == caught.value.retry_after_seconds
        assert certificate() == await verify()

    async def test_a_flood_of_addresses_is_not_a_flood_of_fetches(self):
        """Beyond a few fetches at a time the answer is "later", at once."""
        publisher = Publisher(Fetched(404))
        verify = self.verify(publisher)
        outcomes = await asyncio.gather(
            *(verify(f"{CERT_URL}?{number}") for number in range(50)), return_exceptions=True
        )

        assert {Unauthentic: 8, TrustUnavailable: 42} == {
            kind: sum(isinstance(one, kind) for one in outcomes) for kind in (Unauthentic, TrustUnavailable)
        }
        assert 8 == len(publisher.asked)

    def test_of_many_certificates_the_ones_used_last_are_kept(self):
        """Memory is bounded; a look is a use; what is pinned stays."""
        recent = Recent({"pinned": certificate()})
        for number in range(CERTIFICATES_MAX):
            recent.keep(str(number), certificate())
        assert certificate() == recent["0"]
        recent.keep("one more", certificate())

        assert CERTIFICATES_MAX + 1 == len(recent) == len(list(recent))
        assert ("0" in recent, "1" in recent, "pinned" in recent) == (True, False, True)


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


async def test_keys_come_over_a_real_socket(play):
    """From a push to its payload, with nothing between but HTTP."""

    async def publish(_request):
        return web.Response(body=play.key_set)

    routes = web.Application()
    routes.router.add_get("/jwks", publish)
    async with TestServer(routes) as publisher, HttpFetch() as fetch:
        settings = play.settings.model_copy(update={"jwks": str(publisher.make_url("/jwks"))})
        trust = Trust({"acme": app(google=settings)}, fetch)

        assert await trust.verify(GOOGLE, received(play), settings, NOW)
