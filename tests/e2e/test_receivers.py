"""Whoever copies a receiver from docs/subscribing.md has one that verifies, deduplicates and revokes.

Real: the service with every process, the receivers as processes of their own, HTTP, signatures. Doubles: a forger and a
bad network, played by the test. Asserted: what the receiver answers, and what it knows.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from handlers.samples import sample
from tests.e2e.receivers import RECEIVERS, Receiver, receiving
from tests.e2e.running import install, till, until
from tests.house.tree import ROOT
from worker.simulator.sales import DAY_MS

pytestmark = pytest.mark.e2e

NAMES = ("aiohttp", "fastapi", "node", "go")
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PRO = ("sample_customer", "pro")
LINES_MAX = 40


@pytest.fixture(params=NAMES)
async def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Receiver]:
    """Run each receiver."""
    async with receiving(request.param, SECRET, tmp_path) as running:
        yield running


def signed(body: bytes, *, id_: str, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """Sign by the text of Standard Webhooks alone, with nothing of ours."""
    stamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": id_, "webhook-timestamp": stamp, "webhook-signature": signature}


def event(event_type: str, **changes: Any) -> tuple[str, bytes]:
    """Make an event as it is sent; give its id, too."""
    made = sample(event_type, mark="7").model_copy(update=changes)
    return made.id, made.model_dump_json().encode()


async def post(receiver: Receiver, body: bytes, headers: dict[str, str]) -> int:
    """Send something to a receiver, as anybody could; give the status."""
    more = {"content-type": "application/json", **headers}
    async with aiohttp.ClientSession() as http, http.post(receiver.url, data=body, headers=more) as response:
        return response.status


@pytest.mark.parametrize("name", NAMES)
async def test_a_refund_revokes(name: str, tmp_path: Path) -> None:
    """Told by the running service of a purchase and of its refund, a receiver gives the access and takes it back."""
    home = tmp_path / "house"
    home.mkdir()
    draft = install(home, backend="http://127.0.0.1:9/events")
    (secret,) = draft.settings.subscribers[0].secrets
    async with receiving(name, secret, tmp_path) as receiver:
        draft.config.write_text(draft.config.read_text().replace("http://127.0.0.1:9/events", receiver.url))
        async with draft.service() as service:
            simulator = draft.simulator("stripe")
            sale = till("stripe", Random(5)).sell(0, bought_ms=int(time.time() * 1000) - 9 * DAY_MS)
            await service.told("stripe", simulator.purchase(sale, time.time()))
            given = await until(receiver.access)
            before = receiver.access()
            await service.told("stripe", simulator.refund(sale, time.time()))
            taken = await until(lambda: not any(receiver.access().values()))
            told = {each["id"] for each in await service.every("/v1/events") if receiver.remembers(each["type"])}
            assert await until(lambda: told == receiver.seen())

    assert (True, {(sale.user_id, "pro"): True}) == (given, before)
    assert (True, {(sale.user_id, "pro"): False}) == (taken, receiver.access())


async def test_what_is_not_ours_or_not_new_changes_nothing(receiver: Receiver) -> None:
    """A forged, altered, old, early or unsigned event is answered 401; the genuine one 2xx, however often it comes."""
    id_, body = event("entitlement.revoked")
    stranger = "whsec_" + base64.b64encode(b"x" * 32).decode()
    now = time.time()
    genuine = signed(body, id_=id_)
    refused = {
        "forged": signed(body, id_=id_, secret=stranger),
        "old": signed(body, id_=id_, at=now - 600),
        "early": signed(body, id_=id_, at=now + 600),
        "another id": {**genuine, "webhook-id": "evt_another"},
        "a new time": {**genuine, "webhook-timestamp": str(int(now) + 1)},
        "no number": {**genuine, "webhook-timestamp": "9" * 5000},
        "unsigned": {"webhook-id": id_, "webhook-timestamp": str(int(now))},
        "no base64": {**genuine, "webhook-signature": "v1,***"},
        "another version": {**genuine, "webhook-signature": genuine["webhook-signature"].replace("v1,", "v1a,")},
        "bare": {},
    }

    assert dict.fromkeys(refused, 401) == {name: await post(receiver, body, h) for name, h in refused.items()}
    assert 401 == await post(receiver, body.replace(b'"active":false', b'"active":true '), genuine)
    assert (set(), {}) == (receiver.seen(), receiver.access())

    assert [receiver.taken] * 3 == [await post(receiver, body, genuine) for _ in range(3)]
    assert ({id_}, {PRO: False}) == (receiver.seen(), receiver.access())


async def test_a_secret_that_is_being_changed(receiver: Receiver) -> None:
    """One signature that fits is enough, wherever it stands among those of other secrets and versions."""
    id_, body = event("entitlement.granted")
    headers = signed(body, id_=id_)
    among = f"v1a,AAAA v1,AAAA {headers['webhook-signature']} v2,AAAA"

    assert receiver.taken == await post(receiver, body, {**headers, "webhook-signature": among})
    assert {PRO: True} == receiver.access()


async def test_a_doubled_delivery_acts_once(receiver: Receiver) -> None:
    """Granted, revoked, and the grant once more, signed anew: it was acted on already, and what is revoked stays so."""
    for event_type, sequence in (("entitlement.granted", 1), ("entitlement.revoked", 2), ("entitlement.granted", 1)):
        id_, body = event(event_type, sequence=sequence)
        assert receiver.taken == await post(receiver, body, signed(body, id_=id_))

    assert {PRO: False} == receiver.access()
    assert 2 == len(receiver.seen())


async def test_an_older_event_that_comes_later(receiver: Receiver) -> None:
    """Without an order the revocation may overtake the grant: the newer of the two is what counts."""
    for event_type, sequence in (("entitlement.revoked", 2), ("entitlement.granted", 1)):
        id_, body = event(event_type, sequence=sequence)
        assert receiver.taken == await post(receiver, body, signed(body, id_=id_))

    assert {PRO: False} == receiver.access()


async def test_what_it_does_not_act_on_is_taken(receiver: Receiver) -> None:
    """A type that it does nothing about, or has never heard of, is answered 2xx, or it would be sent for days."""
    kinds = {"refund.succeeded": "refund.succeeded", "balance.restored": "gift.sent"}
    for event_type, named in kinds.items():
        id_, body = event(event_type, type=named)
        assert receiver.taken == await post(receiver, body, signed(body, id_=id_))

    assert (sum(map(receiver.remembers, kinds)), {}) == (len(receiver.seen()), receiver.access())


async def test_deliveries_at_once(receiver: Receiver) -> None:
    """Twenty copies at the same moment are one act, and none is refused."""
    id_, body = event("entitlement.granted")
    headers = signed(body, id_=id_)

    answers = await asyncio.gather(*(post(receiver, body, headers) for _ in range(20)))

    assert ({receiver.taken}, {id_}) == (set(answers), receiver.seen())


@pytest.mark.parametrize("name", NAMES)
async def test_what_it_knows_outlives_it(name: str, tmp_path: Path) -> None:
    """Started again, a receiver still knows what it has acted on."""
    id_, body = event("entitlement.granted", sequence=1)
    later, revoked = event("entitlement.revoked", sequence=2)
    async with receiving(name, SECRET, tmp_path) as receiver:
        assert receiver.taken == await post(receiver, body, signed(body, id_=id_))
        assert receiver.taken == await post(receiver, revoked, signed(revoked, id_=later))
    async with receiving(name, SECRET, tmp_path) as receiver:
        assert receiver.taken == await post(receiver, body, signed(body, id_=id_))

    assert ({id_, later}, {PRO: False}) == (receiver.seen(), receiver.access())


@pytest.mark.unit
def test_the_page_shows_the_very_receivers() -> None:
    """Every file of docs/receivers stands in docs/subscribing.md, word by word, and nothing else calls itself one."""
    page = (ROOT / "docs" / "subscribing.md").read_text("utf-8")
    files = {path.name: path.read_text("utf-8") for path in RECEIVERS.iterdir() if path.is_file()}
    shown = re.findall(r"^\[`receivers/([\w.]+)`\][^\n]*\n\n```\w+\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)

    assert files == dict(shown)


@pytest.mark.unit
@pytest.mark.parametrize("file", ["aiohttp_receiver.py", "fastapi_receiver.py", "node_receiver.mjs", "receiver.go"])
def test_a_receiver_is_short(file: str) -> None:
    """Under 40 lines, with everything."""
    assert len((RECEIVERS / file).read_text("utf-8").splitlines()) < LINES_MAX


@pytest.mark.unit
def test_go_is_written_as_go_writes_it(tmp_path: Path) -> None:
    """Go's formatter changes nothing, and its examiner finds nothing."""
    source = RECEIVERS / "receiver.go"
    if (go := shutil.which("go")) is None or (gofmt := shutil.which("gofmt")) is None:
        pytest.skip("Go is not on PATH: https://go.dev/dl, 1.19 or newer")
    ran = [
        subprocess.run(each, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
        for each in ([gofmt, "-l", "-s", str(source)], [go, "vet", str(source)])
    ]

    assert [(0, "", "")] * 2 == [(each.returncode, each.stdout, each.stderr) for each in ran]
