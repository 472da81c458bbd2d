"""A Valkey with a replica, and a Sentinel that watches over both, as processes of a test's own."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.cli.processes import eventually
from tests.clusters import free_port
from tests.services import require_valkey

SERVICE = "refunds"
DOWN_AFTER_MS = 500
"""Sentinel's own default is 30 s: a test need not wait so long to see a master fail."""


@dataclass(frozen=True)
class Watched:
    """Two servers and who watches them.

    Attributes:
        sentinel: its port.
        servers: port → process.
    """

    sentinel: int
    servers: Mapping[int, subprocess.Popen[bytes]]

    @property
    def url(self) -> str:
        """Write the broker's address, as an operator would."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel}/{SERVICE}/0"

    def master(self) -> int:
        """Ask Sentinel for the master's port."""
        with redis.Redis(port=self.sentinel) as client:
            asked: Any = client.sentinel_get_master_addr_by_name(SERVICE)
            return int(asked[1])

    def kill_master(self) -> int:
        """Kill the master, wait until the other one has taken its place, and give that one's port."""
        before = self.master()
        self.servers[before].kill()
        assert eventually(lambda: self.master() != before and _role(self.master()) == "master", 60)
        return self.master()


@contextmanager
def watched(directory: Path) -> Iterator[Watched]:
    """Run a master, its replica and a Sentinel on loopback, and end them."""
    server = require_valkey()
    master, replica, sentinel = free_port(), free_port(), free_port()
    quiet = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
    with ExitStack() as stack:
        servers = {
            port: stack.enter_context(_running(directory / str(port), [server, "--port", port, *quiet, *more]))
            for port, more in ((master, ()), (replica, ("--replicaof", f"127.0.0.1 {master}")))
        }
        assert eventually(lambda: _synchronized(replica), 60)
        file = directory / "sentinel.conf"
        file.write_text(
            f"port {sentinel}\nbind 127.0.0.1\nsentinel monitor {SERVICE} 127.0.0.1 {master} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\nsentinel failover-timeout {SERVICE} 3000\n"
        )
        stack.enter_context(_running(directory / "sentinel", [server, file, "--sentinel"]))
        found = Watched(sentinel, servers)
        assert eventually(lambda: _knows_replica(sentinel), 60)
        yield found


@contextmanager
def serving(directory: Path, port: int) -> Iterator[None]:
    """Run one server alone."""
    with _running(directory, [require_valkey(), "--port", port, "--bind", "127.0.0.1", "--save", ""]):
        assert eventually(lambda: _role(port) == "master", 60)
        yield


@contextmanager
def _running(directory: Path, command: list[Any]) -> Iterator[subprocess.Popen[bytes]]:
    directory.mkdir(parents=True)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)), cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _role(port: int) -> str:
    try:
        with redis.Redis(port=port) as client:
            about: Any = client.info("replication")
            return str(about["role"])
    except redis.RedisError:
        return "away"


def _synchronized(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            about: Any = client.info("replication")
            return bool(about["master_link_status"] == "up")
    except redis.RedisError:
        return False


def _knows_replica(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.sentinel_slaves(SERVICE))
    except redis.RedisError:
        return False
