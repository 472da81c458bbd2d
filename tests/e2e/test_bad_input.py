"""Whatever is sent to a running service is answered by its own status, and leaves one line that repeats nothing of it.

Real: every process, the keys, the signatures of what is signed. Doubles: none. What may be asserted: the status, the
log file, and that the service is as well as before.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from random import Random
from time import time
from typing import Any

import pytest
import pytest_asyncio

from tests.cli.processes import clawback
from tests.e2e.running import Installation, Service, install, till
from worker.demo.trust import APP
from worker.simulator.sale import Shot
from worker.simulator.stories import ALL
from worker.simulator.stripe import sign

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

BODY_SECONDS_MAX = 1
MEBIBYTE = 1024 * 1024
DEPTH = 200

Change = Callable[[bytes], bytes]
MALFORMED: dict[str, tuple[int, str, Change]] = {
    "no_body": (400, "empty_body", lambda _: b""),
    "two_mebibytes": (413, "body_too_large", lambda _: b"mallory@example.com" * (2 * MEBIBYTE // 19)),
    "not_json": (400, "not_json", lambda _: b"refund=all&to=mallory@example.com"),
    "not_an_object": (400, "not_an_object", lambda _: b'["mallory@example.com"]'),
    "duplicate_key": (400, "duplicate_key", lambda body: body.replace(b"{", b'{"to":"mallory","to":"me",', 1)),
    "deep_nesting": (400, "too_deep", lambda _: b'{"to":' * DEPTH + b"1" + b"}" * DEPTH),
}

NOT_UNAUTHENTIC = {
    # Signed as it should be, and meant for another app, another subscription or another environment.
    "another_app": 403,
    "another_package": 403,
    "another_subscription": 403,
    "other_livemode": 403,
    "strangers_package": 403,
    "strangers_topic": 403,
    # Without the envelope that holds the signature there is nothing to check.
    "raw_delivery": 400,
}
"""Forgeries that are refused otherwise than with 401."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory) -> AsyncIterator[Service]:
    """Run everything once, with little patience for slow bodies; it has to be well until the end."""
    environment = {"CLAWBACK_SERVER__BODY_TIMEOUT_SECONDS": str(BODY_SECONDS_MAX)}
    installation = install(tmp_path_factory.mktemp("bad-input"), environment=environment)
    async with installation.service() as running:
        yield running
        assert await running.healthy()
        assert "Traceback" not in installation.log.read_text("utf-8")
        assert (200, False) == await _post(running, "stripe", good(installation, "stripe"))


def good(installation: Installation, platform: str) -> Shot:
    """Sign the refund of a month that nobody sold."""
    sale = till(platform, Random(platform)).sell(0, bought_ms=int(time() * 1000), subscription=platform != "amazon")
    return installation.simulator(platform).refund(sale, time())


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("platform", ALL)
async def test_malformed_is_refused_before_it_is_believed(platform, case, service):
    """What nobody can read is 400 or 413 on every platform, also from someone who can sign."""
    status, reason, change = MALFORMED[case]
    shot = good(service.installation, platform)
    bad = replace(shot, body=change(shot.body))
    if platform == "stripe":
        bad = _signed(bad, service.installation, at=time())

    line = await refused(service, platform, bad)

    assert (status, reason) == (line["status"], line["reason"])


@pytest.mark.parametrize("platform", ALL)
async def test_wrong_shape_is_malformed(platform, service):
    """JSON that is none of the platform's notifications is 400."""
    bad = replace(good(service.installation, platform), body=b'{"message":{"refund":"mallory@example.com"}}')
    if platform == "stripe":
        bad = _signed(bad, service.installation, at=time())

    assert 400 == (await refused(service, platform, bad))["status"]


@pytest.mark.parametrize("platform", ALL)
async def test_every_forgery_is_refused(platform, service):
    """No forgery is believed: 403 for what is signed and meant for another app or environment, else 401."""
    shot = good(service.installation, platform)

    for name, forged in service.installation.simulator(platform).forge(shot, time()):
        line = await refused(service, platform, forged)

        assert (name, NOT_UNAUTHENTIC.get(name, 401)) == (name, line["status"]), line["reason"]


@pytest.mark.parametrize(("seconds", "reason"), [(-310, "signed_too_long_ago"), (360, "signed_in_the_future")])
async def test_stripes_signature_is_of_now(seconds, reason, service):
    """A Stripe signature of more than five minutes ago or ahead is 401."""
    stale = _signed(good(service.installation, "stripe"), service.installation, at=time() + seconds)

    line = await refused(service, "stripe", stale)

    assert (401, reason) == (line["status"], line["reason"])


@pytest.mark.parametrize(
    ("seconds", "status", "reason"), [(-4600, 401, "timestamp_too_old"), (360, 503, "timestamp_in_the_future")]
)
async def test_amazons_message_is_of_the_last_hour(seconds, status, reason, service):
    """An SNS message of more than 75 minutes ago is 401; one of our future is genuine, and is to come again."""
    sale = till("amazon", Random(75)).sell(0, bought_ms=int(time() * 1000), subscription=False)
    stale = service.installation.simulator("amazon").refund(sale, time() + seconds)

    line = await refused(service, "amazon", stale)

    assert (status, reason) == (line["status"], line["reason"])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_wrong_method_is_not_allowed(method, service):
    """Notifications are POSTed; any other method is 405 and is told so."""
    before = len(_ingested(service.installation))

    address = f"{service.installation.url}/webhooks/apple/{APP}"
    async with service.http.request(method, address, data=b"{}") as response:
        assert (405, "POST") == (response.status, response.headers["Allow"])

    (line,) = _ingested(service.installation)[before:]
    assert ("ingest.rejected", 405) == (line["event"], line["status"])


@pytest.mark.parametrize(("platform", "app"), [("paypal", APP), ("stripe", "acme"), ("paypal", "acme")])
async def test_unknown_platform_or_app_is_not_found(platform, app, service):
    """What is not configured is 404, and its name is in no line: it would be a stranger's text."""
    line = await refused(service, platform, good(service.installation, "stripe"), app=app)

    assert (404, "unknown_app") == (line["status"], line["reason"])
    assert not {"paypal", "acme"} & set(map(str, line.values()))


async def test_slow_body_is_asked_for_again(service):
    """A body that does not arrive in time is 503 with Retry-After: it may be the network's fault."""
    before = len(_ingested(service.installation))
    server = service.installation.settings.server
    head = f"POST /webhooks/apple/{APP} HTTP/1.1\r\nHost: {server.host}\r\nContent-Length: 1000\r\n\r\n"

    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(head.encode() + b'{"signedPayload":"')
    async with asyncio.timeout(20 * BODY_SECONDS_MAX):
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()

    assert b" 503 " in answer.splitlines()[0]
    assert b"Retry-After: " in answer
    (line,) = _ingested(service.installation)[before:]
    assert ("ingest.rejected", "slow_body") == (line["event"], line["reason"])


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (
            '[apps.acme.stripe]\nwebhook_secret = ["whsec_annual"]',
            "apps.acme.stripe.webhook_secret is not a key; did you mean apps.acme.stripe.webhook_secrets?",
        ),
        (
            '[apps.acme]\n[[subscribers]]\napp = "acme"\nurl = "https://api.acme.example/refunds"',
            "subscribers[0].secrets is empty, and what is sent is always signed",
        ),
        ('[server]\nport = "eighty"', "server.port: input should be a valid integer"),
        ("[server", "is not TOML"),
    ],
    ids=["unknown_key", "missing_secret", "wrong_type", "not_toml"],
)
async def test_wrong_configuration_starts_nothing(config, line, tmp_path):
    """A configuration with an unknown key or a missing secret is one line that names it, and nothing is started."""
    (tmp_path / "clawback.toml").write_text(config)

    done = clawback("run", "--config", str(tmp_path / "clawback.toml"), "--data-dir", str(tmp_path / "data"))

    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert line in done.stderr
    assert not (tmp_path / "data" / "clawback.db").exists()


async def test_missing_secret_file_starts_nothing(tmp_path):
    """A secret that is to be read from a file that is not there is one line that names the variable."""
    variable = "CLAWBACK_APPS__ACME__STRIPE__WEBHOOK_SECRETS_FILE"

    done = clawback("run", "--data-dir", str(tmp_path / "data"), environment={variable: str(tmp_path / "nowhere")})

    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert f"{variable}: cannot read the file it names" in done.stderr


async def refused(service: Service, platform: str, bad: Shot, *, app: str = APP) -> dict[str, Any]:
    """POST what must be refused; give the one line it left, which repeats nothing of it."""
    before = len(_ingested(service.installation))

    status, answer = await service.post(platform, bad, app=app)

    (line,) = _ingested(service.installation)[before:]
    assert ("ingest.rejected", status, answer["error"]["code"]) == (line["event"], line["status"], line["reason"])
    text = json.dumps(line)
    assert "mallory" not in text
    assert bad.body[:40].decode(errors="replace") not in text or not bad.body
    assert [] == [name for name, value in bad.headers.items() if len(value) > 20 and value in text]
    return line


async def _post(service: Service, platform: str, shot: Shot) -> tuple[int, bool]:
    status, answer = await service.post(platform, shot)
    return status, answer["duplicate"]


def _ingested(installation: Installation) -> list[dict[str, Any]]:
    """Read what the endpoint logged; an answer is sent after its line was written."""
    return [line for line in installation.lines() if line["event"].startswith("ingest.")]


def _signed(shot: Shot, installation: Installation, *, at: float) -> Shot:
    """Sign a body as Stripe would have at a moment."""
    stripe = installation.settings.apps[APP].stripe
    assert stripe
    return replace(
        shot, headers={**shot.headers, "stripe-signature": sign(shot.body, secret=stripe.webhook_secrets[0], now=at)}
    )
