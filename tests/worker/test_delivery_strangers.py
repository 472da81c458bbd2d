"""What a subscriber may do to us, and what it may not: whatever answers, or does not, costs one attempt.

Real: backends on loopback, the HTTP client, TLS, the SQLite outbox. Double: the clock. Asserted: what the record of
attempts says, and what nobody was asked.
"""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.store.outbox_story import delivery_rows, event, subscribe_by_api, subscriber
from tests.worker.backend import Backend, Told, attempt_rows, happened, listens
from worker.post import EXCERPT_CHARACTERS_MAX


async def test_a_redirect_is_a_failure_and_is_not_followed(runtime, deliverer):
    """Where a subscriber points to is not where the operator said."""
    async with Backend() as elsewhere:
        async with Backend(lambda _told: web.Response(status=307, headers={"Location": elsewhere.url})) as backend:
            listens(runtime, backend)
            await deliverer.deliver(happened(runtime, event(1)))
            await deliverer.drained()

        assert [] == elsewhere.told
    assert [(307, "redirected")] == [(row.status_code, row.error) for row in attempt_rows(runtime)]


async def test_a_huge_answer_is_cut(runtime, deliverer):
    """Of a gigabyte two thousand characters are read and kept, without the NUL that a database cannot hold."""
    sent = 0

    async def boast(told: Told) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Length": str(2**30)})
        await response.prepare(told.request)
        try:
            while sent < 2**30:
                await response.write(b"\x00" + "é".encode() * 32_768)
                sent += 65_537
        except ConnectionError:
            pass
        return response

    async with Backend(boast) as backend:
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    (row,) = attempt_rows(runtime)
    assert (200, "é" * EXCERPT_CHARACTERS_MAX) == (row.status_code, row.response)
    assert sent < 2**30 // 16
    assert "delivered" == delivery_rows(runtime.store)[event(1).id].status


async def test_an_answer_whose_text_never_ends_is_still_an_answer(runtime, deliverer):
    """The status counts when it comes; a body that dribbles on costs two seconds and no more."""
    async with Backend() as backend:

        async def dribble(told: Told) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(told.request)
            await response.write(b"tha")
            await backend.hang(told)
            return response

        backend.answer = dribble
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    (row,) = attempt_rows(runtime)
    assert (200, "tha", None) == (row.status_code, row.response, row.error)


async def test_a_subscriber_that_answers_nothing_times_out(runtime, deliverer):
    """After `timeout_seconds` the attempt has failed, whatever the other side still intends."""
    async with Backend() as backend:
        backend.answer = backend.hang
        listens(runtime, backend, timeout_seconds=0.2)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    assert [(None, "timeout")] == [(row.status_code, row.error) for row in attempt_rows(runtime)]


async def test_private_addresses_are_refused_by_default(runtime, deliverer):
    """Without `allow_private` a subscriber on loopback is never connected to."""
    async with Backend() as backend:
        listens(runtime, backend, allow_private=False)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    assert [] == backend.told
    assert ["address_refused"] == [row.error for row in attempt_rows(runtime)]


async def test_what_may_go_to_private_addresses_shares_no_connection(runtime, deliverer):
    """An open connection of one subscriber never carries another's delivery past the address check."""
    async with Backend() as backend:
        told = [
            subscriber(backend.url, allow_private=True, order="none"),
            subscriber(backend.url + "?2", allow_private=False, order="none"),
        ]
        subscribe_by_api(runtime.store, *told, now=runtime.clock())
        await deliverer.deliver(happened(runtime, *(event(number) for number in range(1, 6))))
        await deliverer.drained()

    assert 5 == len(backend.told)
    assert 5 == sum(row.error == "address_refused" for row in attempt_rows(runtime))


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/", "not_connected"),
        ("http://" + "long" * 16 + ".example/", "name_not_resolved"),
        ("not a url", "invalid_url"),
        ("ftp://127.0.0.1/", "invalid_url"),
        ("http://2130706433/", "invalid_url"),
    ],
)
async def test_what_goes_wrong_has_a_name(runtime, deliverer, url, error):
    """A bad address is a failed attempt with a reason, never an exception."""
    subscribe_by_api(runtime.store, subscriber(url, allow_private=True), now=runtime.clock())
    await deliverer.deliver(happened(runtime, event(1)))
    await deliverer.drained()

    assert [(None, error)] == [(row.status_code, row.error) for row in attempt_rows(runtime)]


async def test_a_stranger_who_speaks_no_http_is_a_failed_attempt(runtime, deliverer):
    """Garbage instead of an answer, and a connection that just ends, have names too."""

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 smtp.acme.example ESMTP\r\n")
        writer.close()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    for handler in (garbage, hang_up):
        async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            told = subscriber(f"http://127.0.0.1:{port}/", allow_private=True, app=handler.__name__)
            subscribe_by_api(runtime.store, told)
            await deliverer.deliver(happened(runtime, event(1, app=handler.__name__)))
            await deliverer.drained()

    assert ["not_http", "disconnected"] == [row.error for row in attempt_rows(runtime)]


async def test_a_certificate_that_nobody_vouches_for_is_refused(runtime, deliverer, tmp_path):
    """TLS is verified: a self-signed backend is not told anything."""
    async with Backend(ssl_context=self_signed(tmp_path)) as backend:
        listens(runtime, backend)
        await deliverer.deliver(happened(runtime, event(1)))
        await deliverer.drained()

    assert [] == backend.told
    assert ["certificate_refused"] == [row.error for row in attempt_rows(runtime)]


def self_signed(directory: Path) -> ssl.SSLContext:
    """Make a certificate for 127.0.0.1 that nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today)
        .not_valid_after(today + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem = directory / "self-signed.pem"
    pem.write_bytes(key.private_bytes(*plain) + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
