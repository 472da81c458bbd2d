"""What containers of compose.yaml and of Kubernetes would run is run: the very commands, with their environments.

Real: every process, PostgreSQL, Valkey over TCP, HTTP, signatures, SIGTERM. Double: the container. Only what an engine
would decide is put in its place: names of hosts become loopback, mounted files and directories are the test's own, and
ports are free ones.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from config.load import load
from tests.cli.processes import ROOT
from tests.clusters import free_port
from tests.crash.burst import assert_each_took_effect_once, pour, sign_burst, tell_all
from tests.crash.sentinels import serving
from tests.e2e.running import Installation, Service, _environment, client, end, install, until
from tests.house.manifests import SECRETS, Role, configuration, roles
from worker.keyfile import KEY_FILE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

UP_SECONDS_MAX = 90.0


@pytest.fixture(name="broker")
def _broker(tmp_path: Path) -> Iterator[str]:
    """Run a Valkey that listens on TCP, as the one beside the containers does, and give its address."""
    port = free_port()
    with serving(tmp_path / "broker", port):
        yield f"redis://127.0.0.1:{port}/0"


def environment(role: Role, installation: Installation, home: Path) -> dict[str, str]:
    """Give a container's environment, with what an engine would decide in its place."""
    placed = {
        **installation.environment,
        "CLAWBACK_CONFIG": str(installation.config),
        "CLAWBACK_DATA_DIR": str(home),  # the image's own
    }
    if "CLAWBACK_WORK__METRICS_PORT" in role.environment:
        placed["CLAWBACK_WORK__METRICS_PORT"] = str(free_port())
    assert placed.keys() - {"CLAWBACK_DATA_DIR"} >= {name for name in role.environment if name.endswith("URL")}
    return {**role.environment, **placed}


@contextmanager
def started(
    role: Role, installation: Installation, home: Path, *more: tuple[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Run a container's command beside its log."""
    home.mkdir()
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.cli", *role.arguments],
            cwd=ROOT,
            env=_environment({**environment(role, installation, home), **dict(more)}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )
    try:
        yield process
    finally:
        end(process, signal.SIGTERM)


def says(home: Path, event: str) -> bool:
    """Tell whether a process has logged this."""
    lines = (home / "log").read_text("utf-8").splitlines()
    return any(json.loads(line).get("event") == event for line in lines if line.startswith("{"))


def pick(kind: str, verb: str) -> Role:
    """Find the first container of a deployment that runs a verb."""
    return next(one for one in roles() if one.name.startswith(kind) and one.arguments[0] == verb)


def configured(tmp_path: Path, kind: str, urls: Mapping[str, str]) -> Installation:
    """Make a house of the demo's trust, with the ConfigMap's own sections in it where there is one."""
    installation = install(tmp_path / "house", environment=dict(urls))
    # Containers have the key from their environment; whoever looks into what they sealed, from here.
    (installation.home / KEY_FILE).write_text(SECRETS["encryption-keys"])
    if kind == "kubernetes":
        server = load(configuration(tmp_path), {}).server
        ports = {"SERVER__HOST": server.host, "SERVER__ADMIN_PORT": str(free_port())}
        more = {f"CLAWBACK_{name}": value for name, value in ports.items()}
        return replace(installation, environment={**installation.environment, **more})
    return installation


async def probed(service: Service, installation: Installation) -> set[int]:
    """Ask what probes and scrapes ask, where they ask it, and give the statuses of the answers."""
    port = installation.settings.server.port
    admin = installation.environment.get("CLAWBACK_SERVER__ADMIN_PORT", port)
    asked = [
        f"http://127.0.0.1:{port}/healthz",
        f"http://127.0.0.1:{admin}/metrics",
        f"http://127.0.0.1:{admin}/readyz",
    ]
    return {await _status(service, address) for address in asked}


async def _status(service: Service, address: str) -> int:
    async with service.http.get(address) as response:
        return response.status


@pytest.mark.parametrize("kind", ["compose", "kubernetes"])
async def test_containers_of_a_deployment_work_together(kind: str, tmp_path: Path, new_database: str, broker: str):
    """Migrate, serve and work, each as its container would: what comes in takes effect, and all stop well."""
    urls = {"CLAWBACK_STORE__URL": new_database, "CLAWBACK_BROKER__URL": broker}
    installation = configured(tmp_path, kind, urls)
    homes = {verb: tmp_path / verb for verb in ("migrate", "serve", "work")}
    token = ("CLAWBACK_ADMIN__TOKENS", installation.token)

    with started(pick(kind, "migrate"), installation, homes["migrate"]) as once:
        assert 0 == await asyncio.to_thread(once.wait, UP_SECONDS_MAX)
    with (
        started(pick(kind, "serve"), installation, homes["serve"], token) as endpoint,
        started(pick(kind, "work"), installation, homes["work"]) as worker,
    ):
        assert await until(lambda: says(homes["serve"], "serve.started"), UP_SECONDS_MAX)
        assert await until(lambda: says(homes["work"], "work.started"), UP_SECONDS_MAX)
        async with client(installation) as service:
            assert {200} == await probed(service, installation)
            if kind == "compose":  # there the API is behind the same port
                burst = sign_burst(installation, notifications=16, seed=3)
                await tell_all(service, burst)
                await assert_each_took_effect_once(service, burst, set(await pour(service, burst.shots)))
        for process in (worker, endpoint):
            process.send_signal(signal.SIGTERM)
            assert 0 == await asyncio.to_thread(process.wait, UP_SECONDS_MAX)
