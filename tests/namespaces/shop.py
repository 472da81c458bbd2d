"""Six hosts and what runs on them: a database, a broker, two that serve, two that work."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import redis

from tests.cli.processes import ROOT, eventually
from tests.clusters import UNPRIVILEGED, find_programs
from tests.e2e.running import Installation, install
from tests.namespaces.hosts import Host, Network
from tests.services import require_valkey

NAMES = ("database", "broker", "serve-1", "serve-2", "work-1", "work-2")
UP_SECONDS_MAX = 120.0
PORT = 8080
SILENT_SECONDS = 3.0
"""An operator's choice, made here so that a host that is cut off is given up while a test waits for it."""


@dataclass(frozen=True)
class House:
    """What runs.

    Attributes:
        doors: the same installation, as it is reached at each of the endpoints.
        processes: host → what runs there.
    """

    network: Network
    doors: tuple[Installation, Installation]
    processes: Mapping[str, subprocess.Popen[bytes]]

    def said(self, host: str, event: str) -> bool:
        """Tell whether a host has logged this."""
        return f'"event": "{event}"' in (self.doors[0].home / f"{host}.log").read_text("utf-8")


@contextmanager
def house(network: Network, directory: Path, backend: str) -> Iterator[House]:
    """Run everything, and end it."""
    at = network.hosts
    url = f"postgresql://clawback@{at['database'].address}:5432/postgres"
    environment = {
        "CLAWBACK_STORE__URL": url,
        "CLAWBACK_STORE__STATEMENT_TIMEOUT_SECONDS": str(SILENT_SECONDS),
        "CLAWBACK_STORE__CONNECT_TIMEOUT_SECONDS": "2",
        "CLAWBACK_BROKER__URL": f"redis://{at['broker'].address}:6379/0",
    }
    made = install(directory / "house", backend=backend, environment=environment)
    with ExitStack() as stack:
        _start_database(stack, at["database"], network.address)
        stack.callback(_end, valkey := _start_broker(at["broker"], made.home))
        processes = {"broker": valkey}
        _run(made, at["work-1"], "migrate").wait(UP_SECONDS_MAX)
        for name in NAMES[2:]:
            processes[name] = _run(made, at[name], name)
            stack.callback(_end, processes[name])
        running = House(network, (_door(made, at["serve-1"]), _door(made, at["serve-2"])), processes)
        for name in NAMES[2:]:
            started = f"{name.partition('-')[0]}.started"
            assert eventually(lambda name=name, started=started: running.said(name, started), UP_SECONDS_MAX), name
        yield running


def _door(made: Installation, host: Host) -> Installation:
    server = made.settings.server.model_copy(update={"host": host.address, "port": PORT})
    return replace(made, settings=made.settings.model_copy(update={"server": server}))


def _run(made: Installation, host: Host, name: str) -> subprocess.Popen[bytes]:
    """Run a verb on a host, with a data directory of its own: all that hosts share is the configuration."""
    home = made.home / name
    home.mkdir()
    own = {"CLAWBACK_SERVER__HOST": host.address, "CLAWBACK_SERVER__PORT": str(PORT), "CLAWBACK_DATA_DIR": str(home)}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CLAWBACK_", "PROMETHEUS_"))}
    command = (sys.executable, "-m", "worker.cli", name.partition("-")[0], "--config", made.config)
    environment = {**kept, "PYTHONPATH": str(ROOT), **made.environment, **own}
    process: subprocess.Popen[bytes] = host.start(*command, log=made.home / f"{name}.log", environment=environment)
    return process


def _start_broker(host: Host, home: Path) -> subprocess.Popen[bytes]:
    options = ("--port", 6379, "--bind", host.address, "--protected-mode", "no", "--save", "", "--dir", home)
    process: subprocess.Popen[bytes] = host.start(require_valkey(), *options, log=home / "broker.log")
    assert eventually(lambda: _answers(host.address), UP_SECONDS_MAX)
    return process


def _answers(address: str) -> bool:
    try:
        with redis.Redis(host=address, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _start_database(stack: ExitStack, host: Host, us: str) -> None:
    """Make a cluster that trusts this network, which nobody else is on, and run it on its host."""
    programs = find_programs()
    user = next(name for name in UNPRIVILEGED if name in {account.pw_name for account in pwd.getpwall()})
    home = Path(tempfile.mkdtemp(prefix="clawback-namespaces-"))
    stack.callback(shutil.rmtree, home, ignore_errors=True)
    os.chown(home, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    data, log = home / "data", home / "log"
    flags = ("-U", "clawback", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
    assert 0 == host.start(programs / "initdb", "-D", data, *flags, log=log, user=user).wait(UP_SECONDS_MAX)
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {us}/24 trust\n")
    options = ("-p", 5432, "-c", f"listen_addresses={host.address}", "-c", f"unix_socket_directories={home}")
    stack.callback(_end, host.start(programs / "postgres", "-D", data, *options, log=log, user=user), 2)
    assert eventually(lambda: _connects(host.address), UP_SECONDS_MAX), log.read_text("utf-8")


def _connects(address: str) -> bool:
    try:
        psycopg.connect(host=address, user="clawback", dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _end(process: Any, number: int = 15) -> None:
    process.send_signal(number)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
