"""The receivers of docs/receivers as real processes: exactly the text that people copy."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.running import end, until
from tests.house.tree import ROOT

RECEIVERS = ROOT / "docs" / "receivers"
UP_SECONDS_MAX = 90.0
BUILD_SECONDS_MAX = 300.0
"""Go's first build compiles its library, too. The next take a second."""

GO_PORT = ":8090"


@dataclass(frozen=True)
class Receiver:
    """One that runs.

    Attributes:
        url: where it takes events.
        database: where it keeps what it knows.
    """

    name: str
    url: str
    database: Path

    @property
    def taken(self) -> int:
        """Say what it answers to what is genuine: Go's own default, where another line would be one too many."""
        return 200 if self.name == "go" else 204

    def remembers(self, event_type: str) -> bool:
        """Tell whether it keeps the ids of such events: what Go's does nothing about leaves nothing to keep."""
        return self.name != "go" or event_type.startswith("entitlement.")

    def seen(self) -> set[str]:
        """List the events that it has acted on."""
        if self.name == "node":
            return set(self._book()["seen"])
        if self.name == "go":
            return {row.name.split()[2] for row in self._directories()}
        return {row[0] for row in self._rows("select id from seen")}

    def access(self) -> dict[tuple[str, str], bool]:
        """Tell who may use what, as far as it knows: user and key → whether."""
        if self.name == "node":
            held = self._book()["access"]
            return {tuple(json.loads(name)): one["active"] for name, one in held.items()}
        if self.name == "go":
            rows = ((*map(_unhex, row.parts[-3:-1]), row.name.split()[1]) for row in self._directories())
            return {(user, key): active == "true" for user, key, active in rows}
        return {(user, key): bool(active) for user, key, active in self._rows("select user, key, active from access")}

    def _book(self) -> dict[str, dict]:
        if not self.database.exists():
            return {"seen": {}, "access": {}}
        return dict(json.loads(self.database.read_text("utf-8")))

    def _directories(self) -> list[Path]:
        return sorted(self.database.glob("*/*/*"))

    def _rows(self, query: str) -> list[tuple]:
        with closing(sqlite3.connect(self.database)) as database:
            return database.execute(query).fetchall()


def command(name: str, port: int, directory: Path) -> Sequence[str]:
    """Write the command that its first line names; what is not installed is skipped at home and missed in CI."""
    match name:
        case "aiohttp":
            return (sys.executable, str(RECEIVERS / "aiohttp_receiver.py"))
        case "fastapi":
            if find_spec("fastapi") is None or find_spec("uvicorn") is None:
                _missing("FastAPI and uvicorn are not installed: make install")
            served = ("fastapi_receiver:app", "--app-dir", str(RECEIVERS), "--port", str(port))
            return (sys.executable, "-m", "uvicorn", *served)
        case "go":
            return (_built(port, directory),)
    if (node := shutil.which("node")) is None:
        _missing("Node is not on PATH: https://nodejs.org, 20 or newer")
    return (str(node), str(RECEIVERS / "node_receiver.mjs"))


@asynccontextmanager
async def receiving(name: str, secret: str, directory: Path) -> AsyncIterator[Receiver]:
    """Run a receiver with its database in a directory of the test's."""
    port = _free_port()
    kept = "access" if name == "go" else f"{name}.access"
    receiver = Receiver(name, f"http://127.0.0.1:{port}/events", directory / kept)
    told = {"CLAWBACK_SECRET": secret, "DATABASE": str(receiver.database), "PORT": str(port)}
    log = directory / f"{name}.log"
    process = _start(await asyncio.to_thread(command, name, port, directory), told, log, directory)
    try:
        up = await until(lambda: _answers(port) or process.poll() is not None, UP_SECONDS_MAX)
        assert up and process.poll() is None, log.read_text()[-2000:]  # noqa: PT018 - one reason to fail, with its log
        yield receiver
    finally:
        await asyncio.to_thread(end, process, signal.SIGTERM)


def _start(arguments: Sequence[str], told: Mapping[str, str], log: Path, home: Path) -> subprocess.Popen[str]:
    with log.open("w") as out:
        return subprocess.Popen(arguments, env={**os.environ, **told}, stdout=out, stderr=out, text=True, cwd=home)


def _built(port: int, directory: Path) -> str:
    """Compile its text as it stands but for the port, which others may have. Without Go it is skipped, in CI too."""
    if (go := shutil.which("go")) is None:
        pytest.skip("Go is not on PATH: https://go.dev/dl, 1.19 or newer")
    source, made = directory / "receiver.go", directory / "receiver"
    text = (RECEIVERS / "receiver.go").read_text("utf-8")
    assert 1 == text.count(GO_PORT)
    source.write_text(text.replace(GO_PORT, f":{port}"))
    asked = [str(go), "build", "-o", str(made), str(source)]
    apart = {**os.environ, "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": ""}
    done = subprocess.run(asked, env=apart, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False)
    assert 0 == done.returncode, done.stderr[-2000:]
    return str(made)


def _unhex(name: str) -> str:
    return bytes.fromhex(name).decode()


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
