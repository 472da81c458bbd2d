"""Credentials go to the platform that they are for and nowhere else, and without them nothing is asked.

Real: `Lookups` with its thread, clients, sockets, a server on this machine. Double: the clock, which is moved by hand.
"""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from structlog.testing import capture_logs

from config.platforms import Apple, Google, Stripe
from schemas.meaning import Lookup
from tests.worker.lookup_desk import NOW, RECEIPT, SECRET, USER, about, amazon, desk, open_api
from tests.worker.platform_api import ACCESS_TOKEN, ACCOUNT_KEY, Api, write_key
from worker.lookups import Question

__all__ = ["open_api"]


@pytest.mark.parametrize(
    "question",
    [
        Question("acme", "apple", Lookup("rvs", "a/b"), "ntf_1", NOW),
        Question("acme", "stripe", Lookup("invoice_payments", "pi_1"), "ntf_1", NOW),
        Question("acme", "google", Lookup("orders", "GPA.1"), "ntf_1", NOW),
        Question("acme", "amazon", Lookup("prices", "a/b"), "ntf_1", NOW),
        Question("other", "amazon", Lookup("rvs", "a/b"), "ntf_1", NOW),
    ],
    ids=lambda q: f"{q.app}-{q.platform}-{q.lookup.kind}",
)
async def test_without_credentials_nothing_is_asked(api: Api, question: Question):
    """An app without credentials, a kind nobody knows, an app that is gone: no request, and it can be told before."""
    stripe = Stripe(webhook_secrets=("whsec_x",), api=api.url)
    google = Google(package_name="com.acme", audience="https://a", service_account_email="a@b", api=api.url)
    with desk(apple=Apple(bundle_id="com.acme"), stripe=stripe, google=google, **amazon(api)) as at:
        assert not at.lookups.can_ask(question.app, question.platform, question.lookup.kind)
        assert [None] == await at.ask(question)
    assert [] == api.asked


async def test_a_broken_key_file_is_an_alarm_and_is_read_again(api: Api, tmp_path: Path):
    """What cannot be read is refused like a wrong secret; once it is mended, the next question goes out."""
    google = Google(
        package_name="com.acme.app",
        audience="https://hooks.acme.example",
        service_account_email="push@acme.iam.gserviceaccount.com",
        service_account_key=str(tmp_path / "key.json"),
        api=api.url,
    )
    question = Question("acme", "google", Lookup("orders", "GPA.3345"), "ntf_1", NOW)
    with desk(google=google) as at, capture_logs() as lines:
        assert [None] == await at.ask(question)
        write_key(tmp_path / "key.json", api)
        at.now += 61
        assert [RECEIPT] == await at.ask(question)
    assert [("error", "key_file"), ("info", None)] == [(line["log_level"], line["reason"]) for line in lines]


async def test_no_line_holds_a_key_a_token_or_a_secret(api: Api, tmp_path: Path):
    """Whatever comes of a question, its line has names and numbers only."""
    google = Google(
        package_name="com.acme.app",
        audience="https://hooks.acme.example",
        service_account_email="push@acme.iam.gserviceaccount.com",
        service_account_key=str(write_key(tmp_path / "key.json", api)),
        api=api.url,
    )
    stripe = Stripe(webhook_secrets=("whsec_x",), api_key="rk_live_secret", api=api.url)
    with capture_logs() as lines:
        for status in (200, 302, 400, 401, 404, 410, 429, 496, 500):
            api.status = status
            with desk(google=google, stripe=stripe, **amazon(api)) as at:
                await at.ask(
                    about("q1YqVr"),
                    Question("acme", "stripe", Lookup("invoice_payments", "pi_secret"), "ntf_2", NOW),
                    Question("acme", "google", Lookup("orders", "GPA.secret"), "ntf_3", NOW),
                )
    assert 27 == len(lines)
    told = str(lines)
    assert [] == [s for s in (SECRET, USER, "q1YqVr", "secret", ACCESS_TOKEN, "http", "eyJ") if s in told]
    assert {"event", "log_level", "notification", "platform", "app", "kind", "outcome", "status", "reason", "ms"} == {
        *lines[0]
    }


async def test_a_redirect_is_not_followed(api: Api):
    """Credentials go to the configured address and nowhere else."""
    api.status, api.headers = 302, {"Location": f"{api.url}/elsewhere"}
    with desk(**amazon(api)) as at:
        assert [None] == await at.ask(about())
    assert 1 == len(api.asked)


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path):
    """TLS is verified: an address that answers with a certificate of its own making is told no secret."""
    heard: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.json_response(RECEIPT)

    application = web.Application()
    application.router.add_get("/{path:.*}", receive)
    async with TestServer(application, scheme="https") as server:
        await server.start_server(ssl=_self_signed(tmp_path))
        with desk(**amazon(Api(url=str(server.make_url("")).rstrip("/")))) as at, capture_logs() as lines:
            assert [None] == await at.ask(about())
    assert ([], ["unreachable"]) == (heard, [line["reason"] for line in lines])


def _self_signed(directory: Path) -> ssl.SSLContext:
    name = x509.Name([])
    now = datetime.now(UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(ACCOUNT_KEY.public_key())
        .serial_number(4711)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=True)
        .sign(ACCOUNT_KEY, SHA256())
    )
    file = directory / "own.pem"
    key = ACCOUNT_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(key + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
