"""When Google's key set is fetched, how long it is believed, and what is answered while it cannot be had.

Real: `Trust`, signatures (tokens of the simulated Google Play), at the end a socket. Double: the clock, and a `fetch`
that answers from a list. Nothing is patched.
"""

import asyncio
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from config.platforms import Google
from handlers.errors import Unauthentic
from handlers.google import PLATFORM as GOOGLE
from schemas.received import Received
from tests.worker.certificates import NOW
from tests.worker.publisher import Clock, Publisher, app
from worker.fetch import Fetched, FetchFailed, HttpFetch
from worker.simulator.google import GoogleSimulator, create
from worker.simulator.sale import Sale
from worker.trust import Trust, TrustUnavailable

pytestmark = pytest.mark.unit

JWKS = "https://www.googleapis.com/oauth2/v3/certs"
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


def said(push):
    """How a push calls itself, read without any proof."""
    return GOOGLE.identify(GOOGLE.read(push.body, push.headers))


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
            assert said(push) == await verify(push)
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

        push = received(play)
        assert said(push) == await trust.verify(GOOGLE, push, settings, NOW)
        with pytest.raises(Unauthentic, match="unknown_key"):
            await trust.verify(GOOGLE, received(play, forged="unknown_kid"), settings, NOW)
        assert [] == publisher.asked


async def test_keys_come_over_a_real_socket(play):
    """From a push to its payload, with nothing between but HTTP."""

    async def publish(_request):
        return web.Response(body=play.key_set)

    routes = web.Application()
    routes.router.add_get("/jwks", publish)
    async with TestServer(routes) as publisher, HttpFetch() as fetch:
        settings = play.settings.model_copy(update={"jwks": str(publisher.make_url("/jwks"))})
        trust = Trust({"acme": app(google=settings)}, fetch)

        push = received(play)
        assert said(push) == await trust.verify(GOOGLE, push, settings, NOW)
