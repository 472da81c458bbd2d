"""When Amazon's certificates are fetched, how many are kept, and what is answered where one cannot be had.

Real: `Trust`, certificates, files. Double: a platform that wants one certificate, and a `fetch` that answers
from a list.
"""

import asyncio

import pytest

from handlers.errors import Unauthentic
from handlers.google import PLATFORM as GOOGLE
from handlers.platform import Platform, nothing_needed
from schemas.received import KeyWanted, Received
from tests.worker.certificates import NOW, certificate, pem
from tests.worker.publisher import CERT_URL, SHOP, Publisher, app, itself
from worker.fetch import Fetched, FetchFailed
from worker.trust import CERTIFICATES_MAX, Recent, Trust, TrustUnavailable

pytestmark = pytest.mark.unit


def sns_like(url=CERT_URL):
    """Give a platform that wants one certificate and answers with it."""

    def verify(_received, *, settings, keys, now):
        return keys.get(url) or KeyWanted(url, url, "pem")

    never = GOOGLE
    return Platform("amazon", verify, itself, nothing_needed, never.normalize, never.read)


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
