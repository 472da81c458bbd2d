"""A whole installation as real processes, on a directory and a port of its own, and the ways to talk to it.

Real: every process, the broker, the database, HTTP, keys, signatures, the subscriber. Doubles: none. What may be
asserted: what HTTP answers, what a subscriber got, what is in the database and the log, which processes are there.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import redis

from config.load import load
from config.settings import Settings
from tests.cli.processes import ROOT, belonging_to, clawback
from tests.services import require_valkey
from worker.bodies import Bodies
from worker.demo.trust import APP, LIFETIME_PRODUCT, PRODUCT, demo_directory, prepare
from worker.keyfile import with_key_file
from worker.simulator.registry import SPEAKERS
from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.sales import Till
from worker.start import settle
from worker.store.engine import Store
from worker.valkey import EmbeddedValkey, socket_path

UP_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 90.0
DONE_SECONDS_MAX = 120.0
"""Whoever takes longer hangs. To wait costs nothing where all is well, and machines may be slow and busy."""
SWEEP_AFTER_SECONDS = 2.0
"""An operator's choice, made here so that what fell through is found while a test waits for it."""

MARKS = {
    "worker.cli run": "run",
    "worker.cli serve": "serve",
    "worker.cli work": "work",
    "guard.py": "guard",
    "-server": "valkey",
}
"""What a command line says of its process. The guard's names the server as well, so it is looked for first."""


@dataclass(frozen=True)
class Installation:
    """A configuration with the demo's trust and a data directory; nothing runs yet.

    Attributes:
        home: the data directory.
        log: where every process writes its log lines.
    """

    home: Path
    config: Path
    settings: Settings
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """Name the log file."""
        return self.home / "clawback.log"

    @property
    def url(self) -> str:
        """Write the endpoint's address."""
        return f"http://{self.settings.server.host}:{self.settings.server.port}"

    @property
    def token(self) -> str:
        """Give a bearer token of the API."""
        return self.settings.admin.tokens[0]

    @property
    def options(self) -> tuple[str, ...]:
        """Name it on a command line."""
        return ("--config", str(self.config), "--data-dir", str(self.home))

    def simulator(self, platform: str) -> Simulator:
        """Speak as a platform that this installation trusts."""
        section = self.settings.apps[APP].platform(platform)
        return SPEAKERS[platform].simulator(demo_directory(self.home), section)

    def store(self) -> Store:
        """Open the database beside the running processes, to look."""
        return Store(self.environment.get("CLAWBACK_STORE__URL", self.settings.store.url))

    def bodies(self) -> Bodies:
        """Open what lies sealed there, with the key that `run` made beside SQLite, if it did."""
        return Bodies(with_key_file(self.settings, self.home).store.encryption_keys)

    def lines(self) -> list[dict[str, Any]]:
        """Read every line of the log."""
        text = self.log.read_text("utf-8") if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def processes(self) -> dict[str, int]:
        """Name the processes of this installation: run, serve, work, guard, valkey → pid."""
        named = {
            next((name for mark, name in MARKS.items() if mark in command), "other"): pid
            for pid, command in belonging_to(self.home).items()
        }
        return {name: pid for name, pid in named.items() if name != "other"}

    @contextmanager
    def parts(self) -> Iterator[None]:
        """Run the broker alone and make the tables, for verbs that are started one by one."""
        valkey = EmbeddedValkey(self.home)
        valkey.start()
        try:
            assert 0 == clawback("migrate", *self.options).returncode
            yield
        finally:
            valkey.stop()

    @contextmanager
    def broker(self) -> Iterator[Any]:
        """Talk to the broker over its private socket."""
        client = redis.Redis(unix_socket_path=str(socket_path(self.home)))
        try:
            yield client
        finally:
            client.close()

    @asynccontextmanager
    async def up(self, verb: str = "run", *more: str) -> AsyncIterator[subprocess.Popen[str]]:
        """Keep a verb running: by itself `run`, with everything. What is left of it in the end is killed."""
        said, logged = self.home / f"{verb}.json", len(self.lines())
        process = self._start([verb, *more, *self.options], said)
        try:
            await self._started(process, verb, said, logged)
            yield process
        finally:
            await asyncio.to_thread(end, process)

    @asynccontextmanager
    async def service(self) -> AsyncIterator["Service"]:
        """Run everything, and be its client."""
        async with self.up("run", "--json") as process, client(self) as service:
            service.process = process
            yield service

    def _start(self, arguments: Sequence[str], said: Path) -> subprocess.Popen[str]:
        """Start a verb that writes to files: nobody needs to read them for it to go on."""
        with said.open("w") as out, self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "worker.cli", *arguments],
                cwd=ROOT,
                env=_environment(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                text=True,
            )

    async def _started(self, process: subprocess.Popen[str], verb: str, said: Path, logged: int) -> None:
        """Wait until everything that was started says that it is ready."""

        def ready() -> bool:
            if verb == "run":
                return said.read_text().rstrip().endswith("}")
            return any(line["event"] == f"{verb}.started" for line in self.lines()[logged:])

        if not await until(lambda: ready() or process.poll() is not None, UP_SECONDS_MAX) or process.poll() is not None:
            raise AssertionError(f"{verb} did not come up: {self.log.read_text('utf-8')[-2000:]}")


@dataclass
class Service:
    """The client of a running installation: platforms, an app's backend and an operator in one."""

    installation: Installation
    http: aiohttp.ClientSession
    process: subprocess.Popen[str] | None = None

    async def post(self, platform: str, shot: Shot, *, app: str = APP) -> tuple[int, dict[str, Any]]:
        """POST as a platform; give the status and the JSON of the answer."""
        address = f"{self.installation.url}/webhooks/{platform}/{app}"
        async with self.http.post(address, data=BytesIO(shot.body), headers=dict(shot.headers)) as response:
            return response.status, await response.json()

    async def insist(self, platform: str, shot: Shot) -> tuple[str, int]:
        """POST like a platform that repeats itself until it gets a 200; give our id and how often that failed."""
        deadline = time.monotonic() + DONE_SECONDS_MAX
        failed = 0
        while time.monotonic() < deadline:
            try:
                status, body = await self.post(platform, shot)
            except (aiohttp.ClientError, TimeoutError):
                status, body = 0, {}
            if status == 200:
                return str(body["id"]), failed
            failed += 1
            await asyncio.sleep(0.1)
        raise AssertionError(f"no 200 within {DONE_SECONDS_MAX:.0f} s, the last answer was {status}: {body}")

    async def ask(self, path: str, /, **query: Any) -> dict[str, Any]:
        """GET from the API, and read the JSON of a 200."""
        async with self.http.get(f"{self.installation.url}{path}", params=query) as response:
            assert 200 == response.status, await response.text()
            return dict(await response.json())

    async def every(self, path: str, /, **query: Any) -> list[dict[str, Any]]:
        """GET every page of a list."""
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"has_more": True, "next_cursor": None}
        while page["has_more"]:
            more = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
            page = await self.ask(path, limit=500, **query, **more)
            found += page["data"]
        return found

    async def tell(self, platform: str, sale: Sale) -> None:
        """Tell as the app's backend what the platform does not say of a sale, if there is such a thing.

        A backend that is told to try again does: SQLite lets one write at a time, and may be busy for too long.
        """
        deadline = time.monotonic() + DONE_SECONDS_MAX
        while told := word_of_backend(platform, sale):
            async with self.http.post(f"{self.installation.url}/v1/purchases", json=told) as response:
                if response.status in (200, 201):
                    return
                assert (503, True) == (response.status, time.monotonic() < deadline), await response.text()
                await asyncio.sleep(float(response.headers["Retry-After"]))

    async def finished(self, notification: str) -> dict[str, Any]:
        """Wait until a worker is done with a notification."""
        deadline = time.monotonic() + DONE_SECONDS_MAX
        while (found := await self.ask(f"/v1/notifications/{notification}"))["status"] == "accepted":
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.02)
        return found

    async def told(self, platform: str, shot: Shot) -> dict[str, Any]:
        """POST as a platform, and wait until that is understood."""
        status, body = await self.post(platform, shot)
        assert 200 == status, body
        return await self.finished(body["id"])

    async def metric(self, sample: str) -> float:
        """Read one sample of `/metrics`, named with its labels."""
        async with self.http.get(f"{self.installation.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} "))

    async def healthy(self) -> bool:
        """Tell whether everything that the service needs is there."""
        return bool("ready" == (await self.ask("/readyz"))["status"])


@asynccontextmanager
async def client(installation: Installation) -> AsyncIterator[Service]:
    """Be the client of an installation that runs."""
    headers = {"Authorization": f"Bearer {installation.token}"}
    timeout = aiohttp.ClientTimeout(30)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout, trust_env=False) as http:
        yield Service(installation, http)


def install(
    directory: Path, *, backend: str = "", environment: Mapping[str, str] | None = None, processes: int = 1
) -> Installation:
    """Make the demo's trust and a configuration that names it.

    Args:
        directory: a new one.
        backend: the subscriber's URL; none: nobody is told.
        environment: more configuration, as an operator would give it.
        processes: of workers.
    """
    require_valkey()
    config = prepare(directory, any_port=True)
    text, listed, subscriber = config.read_text().partition("[[subscribers]]")
    if backend:
        (url,) = (line for line in subscriber.splitlines() if line.startswith("url"))
        # A delivery that a killed worker had taken is free again this long after, and 15 s.
        text += listed + subscriber.replace(url, f"url = {json.dumps(backend)}\ntimeout_seconds = 2")
    text += f"\n[work]\nprocesses = {processes}\nsweep_after_seconds = {SWEEP_AFTER_SECONDS}\n"
    config.write_text(text)
    return Installation(directory, config, settle(load(config, {}), directory), environment or {})


def till(platform: str, random: Random) -> Till:
    """Sell something in the style of a platform to somebody new."""
    return Till(platform, random, product_id=PRODUCT, lifetime_product_id=LIFETIME_PRODUCT)


def word_of_backend(platform: str, sale: Sale) -> dict[str, Any] | None:
    """Write the body of `POST /v1/purchases` that belongs to a sale; None: the platform says everything itself."""
    said = SPEAKERS[platform].told(sale)
    return None if said is None else {"app": APP, "environment": "sandbox", **{k: v for k, v in said.items() if v}}


async def until(true: Callable[[], Any], seconds: float = DONE_SECONDS_MAX, *, every_seconds: float = 0.02) -> bool:
    """Wait until something becomes true, and let everything else go on."""
    deadline = time.monotonic() + seconds
    while not (found := bool(await asyncio.to_thread(true))) and time.monotonic() < deadline:  # noqa: ASYNC110 - it is another process's news
        await asyncio.sleep(every_seconds)
    return found


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    """Stop a process as an operator does, and give its exit code; kill it if it does not want to."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CLAWBACK_", "PROMETHEUS_"))}
    return {**inherited, **more}
