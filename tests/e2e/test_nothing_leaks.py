"""Whatever happens, no log line, no span, no answer to a stranger and no queue holds a secret, a token or a body.

Real: every process, every story, every platform's forgeries, a subscriber that breaks, operators, strangers, the log of
each process at debug level, the broker's own files. Double: the backend. Asserted: that nothing of what went over the
wire is there, and that something would have been found.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.cli.processes import clawback
from tests.e2e.collector import Collector
from tests.e2e.running import Installation, install, until
from tests.e2e.spill import PIECE, Spills
from tests.services import require_valkey
from tests.worker.backend import Backend, Told
from worker.demo.trust import APP, LIFETIME_PRODUCT, PRODUCT
from worker.simulator.play import Player, Stage
from worker.simulator.registry import SPEAKERS
from worker.simulator.sales import Till
from worker.simulator.stories import STORIES, scripts

pytestmark = pytest.mark.e2e

EMAIL = "erika.mustermann@example.net"
STRANGER_S_TOKEN = "mallory-tries-this-token-0123456789"
AT_ONCE = 6
DEBUG = """
import logging, structlog
_set, _make = logging.Logger.setLevel, structlog.make_filtering_bound_logger
_set(logging.getLogger("sqlalchemy"), logging.WARNING)
logging.Logger.setLevel = lambda self, level: _set(self, logging.DEBUG)
structlog.make_filtering_bound_logger = lambda level: _make(logging.DEBUG)
"""
"""No operator can turn this on: all lines are written, of libraries too, but for SQLAlchemy's: those show rows."""


@pytest.fixture(name="spills")
def _spills() -> Spills:
    return Spills(words={EMAIL, STRANGER_S_TOKEN})


@pytest.fixture(name="backend")
async def _backend() -> AsyncIterator[Backend]:
    """Open a backend that is often broken, and then talks too much."""
    numbers = itertools.count()

    def answer(told: Told) -> web.Response:
        if next(numbers) % 3:
            return web.Response(text="thanks")
        return web.Response(status=500, text=f"{EMAIL} {told.headers['webhook-signature']} {told.body.decode()}")

    async with Backend(answer) as opened:
        yield opened


@pytest.fixture(name="collector")
async def _collector() -> AsyncIterator[Collector]:
    async with Collector() as opened:
        yield opened


async def test_nothing_is_spilled(tmp_path: Path, spills: Spills, backend: Backend, collector: Collector) -> None:
    """After every story, forgery, broken answer and bad request, what was written down holds nothing of them."""
    require_valkey()
    (tmp_path / "debug").mkdir()
    (tmp_path / "debug" / "sitecustomize.py").write_text(DEBUG)
    home = tmp_path / "house"
    home.mkdir()
    environment = {"PYTHONPATH": str(tmp_path / "debug"), "PYTHONASYNCIODEBUG": "1"}
    at = install(home, backend=backend.url, environment={**environment, "CLAWBACK_TRACES__ENDPOINT": collector.url})
    backend.secrets = at.settings.subscribers[0].secrets
    async with at.service() as service, aiohttp.ClientSession(trace_configs=[spills.tracing()]) as http:
        await play_everything(at, http, spills)
        answers = [*await misbehave(at, http), *await operate(at, http, spills)]
        assert await until(lambda: len([line for line in at.lines() if line["event"] == "deliver.attempted"]) > 30)
        assert await service.healthy()
    spills.add(*configured(at), *(told.headers["webhook-signature"] for told in backend.told))
    doctor = clawback("doctor", *at.options)
    log = at.log.read_text("utf-8")

    assert {"ingest.accepted", "ingest.rejected", "process.decided", "deliver.attempted"} <= {
        line["event"] for line in at.lines()
    }
    assert '"level": "debug"' in log
    assert [] == spills.found_in(log)
    assert {"POST", "verify", "decide notifications"} <= {span.name for span in collector.spans}
    assert [] == spills.found_in("\n".join(map(repr, collector.spans)))
    assert [] == spills.found_in("\n".join(map(str, collector.requests)))
    assert [] == spills.found_in(doctor.stdout + doctor.stderr)
    assert [] == spills.found_in("\n".join(answers))
    assert [] == spills.found_in("".join(file.read_text("latin-1") for file in files_of_broker(home)))


def test_a_spill_is_found() -> None:
    """One line with a piece of a body, or with a token, is enough."""
    spills = Spills({"whsec_abc"}, {b'{"signedPayload": "eyJhbGciOiJFUzI1NiIs..."}'})
    line = '{"event": "ingest.accepted", "app": "demo", "said": "%s"}'

    assert [] == spills.found_in(line % "nothing")
    assert spills.found_in(line % "whsec_abc")
    assert spills.found_in(line % "eyJhbGciOiJFUzI1NiIs"[:PIECE])


async def play_everything(at: Installation, http: aiohttp.ClientSession, spills: Spills) -> None:
    """Tell every story on one of its platforms and the forgeries on each, a few at a time."""
    stage, gate = Stage(http, at.url, at.url, at.token, APP), asyncio.Semaphore(AT_ONCE)

    async def play(number: int, platform: str, name: str) -> None:
        names = {"product_id": PRODUCT, "lifetime_product_id": LIFETIME_PRODUCT}
        till = Till(platform, Random(number), **names)
        first = till.sell(0, bought_ms=0)
        if platform in ("google", "amazon"):
            spills.add(first.original_purchase_id)  # the purchase token, the receipt
        async with gate:
            await Player(stage, platform, SPEAKERS[platform], at.simulator(platform), till).play(STORIES[name])

    async with asyncio.TaskGroup() as group:
        for number, (platform, name) in enumerate(chosen()):
            group.create_task(play(number, platform, name))


def chosen() -> list[tuple[str, str]]:
    """Give each story a platform, so that each platform has its share."""
    where: dict[str, list[str]] = {}
    for platform, story in scripts():
        where.setdefault(story.name, []).append(platform)
    turns = [(platforms[number % len(platforms)], name) for number, (name, platforms) in enumerate(where.items())]
    return sorted({*turns, *((platform, "forged") for platform in SPEAKERS)})


async def misbehave(at: Installation, http: aiohttp.ClientSession) -> list[str]:
    """Send what no platform sends, and ask as nobody may; give the answers."""
    said = f'{{"email": "{EMAIL}", "token": "{STRANGER_S_TOKEN}"'
    bad: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", f"/webhooks/{platform}/{app}", {"data": BytesIO(data.encode()), "headers": headers})
        for platform in SPEAKERS
        for app in (APP, EMAIL)
        for data, headers in (
            (said, {}),
            (said + "}", {"authorization": f"Bearer {STRANGER_S_TOKEN}", "stripe-signature": f"t=1,v1={'ab' * 32}"}),
            ("x" * (1 << 20) + EMAIL, {}),
        )
    ]
    stranger = {"headers": {"authorization": f"Bearer {STRANGER_S_TOKEN}"}}
    bad += [("GET", f"/v1/{what}", stranger) for what in ("refunds", f"customers/{EMAIL}/timeline", "nothing")]
    bad += [("GET", f"/v1/refunds?token={STRANGER_S_TOKEN}", {})]
    answers = []
    for method, path, more in bad:
        async with http.request(method, f"{at.url}{path}", **more) as answer:
            assert answer.status in (400, 401, 403, 404, 413), (path, answer.status)
            answers.append(f"{answer.headers} {await answer.text()}")
    reader, writer = await asyncio.open_connection(at.settings.server.host, at.settings.server.port)
    writer.write(f"NONSENSE {EMAIL} {STRANGER_S_TOKEN}\r\nauthorization {STRANGER_S_TOKEN}\r\n\r\n".encode())
    await (
        reader.read()
    )  # aiohttp shows whoever sends no HTTP what it did not understand: their own bytes, and nobody else's
    writer.close()
    return answers


async def operate(at: Installation, http: aiohttp.ClientSession, spills: Spills) -> list[str]:
    """Make and rotate a subscriber, tell nonsense, repeat requests; give the answers that refuse."""
    operator = {"authorization": f"Bearer {at.token}", "idempotency-key": "a-key-that-names-somebody"}
    wanted = {"app": APP, "url": "https://user:a-password-in-a-url@hooks.example.net/x", "types": ["*"]}
    refused = []
    for path, body in (
        ("/v1/subscribers", {**wanted, "url": "https://hooks.example.net/in"}),
        ("/v1/subscribers", wanted),
        ("/v1/purchases", {"app": APP, "platform": "apple", "user_id": EMAIL, "purchase_token": STRANGER_S_TOKEN}),
        ("/v1/purchases", {"app": APP, EMAIL: STRANGER_S_TOKEN}),
    ):
        key = f"{operator['idempotency-key']}-{len(spills.bodies)}"
        async with http.post(f"{at.url}{path}", json=body, headers={**operator, "idempotency-key": key}) as answer:
            said = await answer.json()
        if answer.status < 300:
            spills.add(*said.get("secrets", ()), said.get("secret", ""))
        else:
            refused.append(json.dumps(said["error"]["code"]))
    return refused


def configured(at: Installation) -> list[str]:
    """List the secrets of the configuration and of the data directory."""
    section, subscriber = at.settings.apps[APP].stripe, at.settings.subscribers[0]
    key = (at.home / "encryption.key").read_text().strip()
    return [at.token, key, *(section.webhook_secrets if section else ()), *subscriber.secrets]


def files_of_broker(home: Path) -> list[Path]:
    """Find what the broker writes to disk."""
    return [file for file in home.rglob("*") if file.is_file() and ("appendonly" in file.name or file.suffix == ".rdb")]
