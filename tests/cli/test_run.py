"""`clawback run` as a real process tree: it comes up, heals, and leaves nothing behind, however it ends.

Real: every process, the broker, the database, the signals. What may be asserted: which processes are there, what they
announce, what HTTP answers.
"""

import json
import os
import signal
import socket
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.processes import announced, belonging_to, clawback, eventually, running
from tests.services import require_valkey

pytestmark = [pytest.mark.crash, pytest.mark.e2e]

CONFIG = """
[server]
port = 0
[work]
processes = 2
[admin]
tokens = ["a-token-of-more-than-16-characters"]
[apps.acme.stripe]
webhook_secrets = ["whsec_annual"]
"""


@dataclass(frozen=True)
class Installation:
    """A configuration and a data directory of the test's own."""

    directory: Path

    @property
    def options(self) -> tuple[str, ...]:
        """Name both on a command line."""
        return ("--config", str(self.directory / "clawback.toml"), "--data-dir", str(self.directory / "data"))


def install(directory: Path) -> Installation:
    """Write a configuration."""
    require_valkey()
    (directory / "clawback.toml").write_text(CONFIG)
    return Installation(directory)


@pytest.fixture
def installation(tmp_path) -> Installation:
    """Configure, and start nothing."""
    return install(tmp_path)


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    """Run everything once for the tests that leave it running: process, installation, places."""
    installed = install(tmp_path_factory.mktemp("up"))
    with running("run", "--json", *installed.options) as process:
        yield process, installed, announced(process)


def children(directory) -> dict[str, int]:
    """Name the processes of an installation: serve, work, guard, valkey → pid (one of several)."""
    marks = {"worker.cli serve": "serve", "worker.cli work": "work", "guard.py": "guard", "valkey-server": "valkey"}
    return {
        next((name for mark, name in marks.items() if mark in command), "run"): pid
        for pid, command in belonging_to(directory).items()
    }


def answers(url: str) -> bool:
    """Tell whether the endpoint is alive."""
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - an address of our own
            return bool(answer.status == 200)
    except OSError:
        return False


def test_everything_comes_up(up):
    """One command starts the broker, the endpoint and the workers, and says where they are."""
    _, installed, places = up

    assert answers(places["health"])
    assert {"run", "serve", "work", "guard", "valkey"} == set(children(installed.directory))


@pytest.mark.parametrize("name", ["serve", "work", "valkey", "guard"])
def test_killed_process_comes_back(name, up):
    """Whichever process is killed is there again, and the others are still the same."""
    directory = up[1].directory
    before = belonging_to(directory)
    victim = children(directory)[name]
    together = {pid for pid, command in before.items() if name in {"valkey", "guard"} and "valkey" in command}

    os.kill(victim, signal.SIGKILL)

    assert eventually(lambda: len(belonging_to(directory)) == len(before) and victim not in belonging_to(directory))
    assert set(before) - together - {victim} <= set(belonging_to(directory))


def test_data_belongs_to_one_run(up):
    """A second run on the same data directory is refused in one line."""
    process, installed, _ = up

    second = clawback("run", *installed.options)

    assert 1 == second.returncode
    assert f"is in use by another clawback run (process {process.pid})" in second.stderr
    assert 1 == len(second.stderr.splitlines())


def test_port_in_use_ends_everything(installation):
    """An endpoint that cannot listen is no reason to go on: all stop, and one line says why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = clawback("run", *installation.options, environment={"CLAWBACK_SERVER__PORT": str(port)})

    assert 1 == done.returncode
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use; set " in done.stderr
    assert "Traceback" not in done.stderr
    assert eventually(lambda: not belonging_to(installation.directory))


def test_ctrl_c_ends_every_process(installation):
    """Ctrl-C ends everything that was started, with exit code 0."""
    with running("run", "--json", *installation.options) as process:
        announced(process)

        process.send_signal(signal.SIGINT)

        assert 0 == process.wait(60)
        assert eventually(lambda: not belonging_to(installation.directory)), belonging_to(installation.directory)


def test_killed_supervisor_leaves_no_orphan(installation):
    """When the supervisor itself is killed, every child notices and ends."""
    with running("run", "--json", *installation.options) as process:
        announced(process)

        process.kill()

        assert eventually(lambda: not belonging_to(installation.directory)), belonging_to(installation.directory)


def test_several_endpoints_share_a_port(installation):
    """`serve --processes N` answers on one port from several, says once what is about all, and ends with them."""
    clawback("migrate", *installation.options)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"CLAWBACK_SERVER__PORT": str(port)}
    here = installation.directory

    with running("serve", "--processes", "2", *installation.options, environment=environment) as process:
        assert eventually(lambda: sum("--share-port" in command for command in belonging_to(here).values()) == 2)
        assert eventually(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        said = events_until(process, "serve.started", times=2)

    assert 1 == said.count("start.unsealed")
    assert eventually(lambda: not belonging_to(here))


def events_until(process, event: str, *, times: int) -> list[str]:
    """Read what a verb and its children log, until one thing was said so many times."""
    said: list[str] = []
    while said.count(event) < times:
        line = process.stderr.readline()
        assert line, said
        said.append(json.loads(line)["event"])
    return said
