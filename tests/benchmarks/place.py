"""A private installation to measure: its own PostgreSQL and Valkey, real processes, and nothing left of it after.

Real: every process, fsync, the append-only file, keys, signatures. Doubles: none.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import redis

from config.load import load
from config.settings import Settings
from tests.benchmarks.usage import cpu_seconds
from tests.cli.processes import ROOT
from tests.clusters import Cluster
from worker.demo.trust import APP, demo_directory, prepare
from worker.launch import launch, stop_session
from worker.simulator.registry import SPEAKERS
from worker.simulator.sale import Simulator
from worker.start import settle
from worker.store import migrate
from worker.store.engine import Store
from worker.valkey import EmbeddedValkey

POSTGRESQL, SQLITE = "PostgreSQL", "SQLite"
STORES = (POSTGRESQL, SQLITE)
UP_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 40.0
SWEEP_AFTER_SECONDS = 3600
"""A backlog is made before its clock runs: the sweeper must not take it for lost and queue all of it again."""


@dataclass(frozen=True)
class Running:
    """A process that said that it is ready, with what it said."""

    pid: int
    facts: Mapping[str, Any]

    def cpu_seconds(self) -> float:
        """Add up what it and all below it ran so far."""
        return cpu_seconds(self.pid)


@dataclass(frozen=True)
class Place:
    """One installation on a database and a broker of its own; its processes are started as they are needed."""

    store_name: str
    home: Path
    config: Path
    settings: Settings
    valkey: EmbeddedValkey
    environment: Mapping[str, str]
    cluster: Cluster | None = None
    stores: list[Store] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Name the endpoint's port."""
        return self.settings.server.port

    def store(self) -> Store:
        """Open the database beside the running processes."""
        if not self.stores:
            self.stores.append(Store(self.settings.store.url, self.settings.store))
        return self.stores[0]

    def broker(self) -> Any:
        """Talk to the broker over its private socket."""
        return redis.Redis(unix_socket_path=str(self.valkey.socket))

    def simulator(self, platform: str) -> Simulator:
        """Speak as a platform that this installation trusts."""
        return SPEAKERS[platform].simulator(demo_directory(self.home), self.settings.apps[APP].platform(platform))

    @contextmanager
    def running(self, verb: str, processes: int = 1) -> Iterator[Running]:
        """Keep `clawback VERB --processes N` running."""
        same = ("--config", str(self.config), "--data-dir", str(self.home))
        command = [sys.executable, "-m", "worker.cli", verb, *same, "--processes", str(processes)]
        with started(lambda fd: [*command, "--control", str(fd)], self.environment, self.home / f"{verb}.log") as it:
            yield it

    def cpu_seconds(self) -> dict[str, float]:
        """Add up what the servers behind it ran so far."""
        found = {"valkey": cpu_seconds(self.valkey._started.process.pid)} if self.valkey._started else {}
        if self.cluster is not None and self.cluster._process is not None:
            found["postgresql"] = cpu_seconds(self.cluster._process.pid)
        return found


@contextmanager
def started(
    command: Callable[[int], Sequence[str]], environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[Running]:
    """Keep a process running that tells on its line when it is ready, and that does not outlive us."""
    child = launch(command, environment=environment or surroundings(), log=log)
    try:
        child.line.settimeout(UP_SECONDS_MAX)
        with child.line.makefile("rb") as line:
            said = line.readline()
        if not said:
            raise RuntimeError(f"it did not come up: {log.read_text()[-2000:] if log else child.process.args!r}")
        yield Running(child.process.pid, json.loads(said))
    finally:
        stop_session(child, STOP_SECONDS_MAX)


@contextmanager
def servers(kind: str, where: object, count: int = 1) -> Iterator[list[Running]]:
    """Keep some of the processes of `tests/benchmarks/servers.py` running."""
    with ExitStack() as stack:
        command = [sys.executable, "-m", "tests.benchmarks.servers", kind, str(where)]
        yield [stack.enter_context(started(lambda fd: [*command, str(fd)])) for _ in range(count)]


class Grounds:
    """Where places are made: one directory and, once somebody asks, one PostgreSQL; removed together."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._cluster: Cluster | None = None

    def __enter__(self) -> Self:
        self.home = Path(tempfile.mkdtemp(prefix="clawback-bench-"))
        self._stack.callback(shutil.rmtree, self.home, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def cluster(self) -> Cluster:
        """Start the PostgreSQL of this run, with its settings as they come."""
        if self._cluster is None:
            self._cluster = Cluster.create()
            self._stack.callback(self._cluster.remove)
        return self._cluster

    @contextmanager
    def place(self, store_name: str, *, more: str = "") -> Iterator[Place]:
        """Make a new installation: an empty database, an empty broker, nobody subscribed.

        Args:
            store_name: one of `STORES`.
            more: more of the configuration file.
        """
        home = Path(tempfile.mkdtemp(prefix="place-", dir=self.home))
        cluster = self.cluster if store_name == POSTGRESQL else None
        database = cluster.new() if cluster else ""
        valkey = EmbeddedValkey(home)
        try:
            valkey.start()
            url = {"CLAWBACK_STORE__URL": cluster.url(database)} if cluster else {}
            place = _installed(store_name, home, valkey, {**surroundings(), **url}, cluster, more)
            migrate.upgrade(place.store())
            yield place
            place.store().close()
        finally:
            valkey.stop()
            if cluster:
                cluster.drop(database)
            shutil.rmtree(home, ignore_errors=True)


def _installed(
    store_name: str,
    home: Path,
    valkey: EmbeddedValkey,
    environment: Mapping[str, str],
    cluster: Cluster | None,
    more: str,
) -> Place:
    config = prepare(home, any_port=True)
    text = config.read_text().partition("[[subscribers]]")[0]
    config.write_text(f"{text}\n[work]\nsweep_after_seconds = {SWEEP_AFTER_SECONDS}\n{more}")
    own = {name: value for name, value in environment.items() if name.startswith("CLAWBACK_")}
    return Place(store_name, home, config, settle(load(config, own), home), valkey, environment, cluster)


def surroundings() -> dict[str, str]:
    """Give the environment without another installation's choices, and with this working tree first.

    A warm machine has compiled what it starts: whoever forbids that would measure Python's compiler.
    """
    foreign = ("CLAWBACK_", "PROMETHEUS_", "PYTHONDONTWRITEBYTECODE")
    return {**{k: v for k, v in os.environ.items() if not k.startswith(foreign)}, "PYTHONPATH": str(ROOT)}
