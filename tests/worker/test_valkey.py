"""A real server: it starts, answers, keeps what it was given, and belongs to one process at a time."""

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.services import require_valkey
from worker.lockfile import DirectoryInUse
from worker.valkey import EmbeddedValkey, ValkeyUnavailable, answers, find_server, socket_path

pytestmark = pytest.mark.crash


@pytest.fixture
def server(tmp_path) -> Iterator[EmbeddedValkey]:
    """Start a server in a directory of its own."""
    server = EmbeddedValkey(tmp_path, require_valkey())
    server.start()
    yield server
    server.stop()


def eventually(true, seconds: float = 10.0) -> bool:
    """Wait until something becomes true."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(true())


def test_settings_are_those_of_a_queue(server):
    """Nothing is evicted, nothing listens on a port, what is written reaches a file."""
    client = redis.Redis.from_url(server.url, decode_responses=True)

    settings = {name: client.config_get(name)[name] for name in ("maxmemory-policy", "port", "appendonly", "save")}

    client.close()
    assert {"maxmemory-policy": "noeviction", "port": "0", "appendonly": "yes", "save": ""} == settings


def test_socket_is_ours_alone(server):
    """Nobody else on this machine can reach the server."""
    assert 0o700 == stat.S_IMODE(server.socket.stat().st_mode)
    assert 0o700 == stat.S_IMODE(server.home.stat().st_mode)


def test_restart_keeps_what_was_queued(server):
    """What was written before a stop is there after the next start."""
    client = redis.Redis.from_url(server.url)
    client.rpush("refunds", "annual-plan-after-nine-months")

    server.stop()
    server.start()

    assert [b"annual-plan-after-nine-months"] == client.lrange("refunds", 0, -1)
    client.close()


def test_directory_belongs_to_one_process(server, tmp_path):
    """A second server on the same files is refused, with the process that has them."""
    with pytest.raises(DirectoryInUse, match=rf"process {os.getpid()}.*--data-dir"):
        EmbeddedValkey(tmp_path).start()


def test_server_that_lost_its_guard_is_replaced(server, tmp_path):
    """A SIGKILL of the guard leaves a server behind; the next start stops that one first and loses nothing."""
    client = redis.Redis.from_url(server.url)
    client.set("refund", "kept")
    orphan = client.info("server")["process_id"]
    os.kill(server._started.process.pid, signal.SIGKILL)
    server._started.process.wait()
    assert answers(server.socket)

    server.start()

    assert orphan != client.info("server")["process_id"]
    assert b"kept" == client.get("refund")
    client.close()


def test_dead_socket_is_no_obstacle(tmp_path):
    """A socket file without a server behind it is removed."""
    server = EmbeddedValkey(tmp_path, require_valkey())
    server.home.mkdir(mode=0o700)
    server.socket.touch()

    server.start()

    assert answers(server.socket)
    server.stop()


def test_server_that_cannot_start_says_why(tmp_path):
    """A server that ends at once is told in one line with its log."""
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    server = EmbeddedValkey(tmp_path, broken)

    with pytest.raises(ValkeyUnavailable, match=r"did not start: .*valkey\.log"):
        server.start()

    server.release()


def test_long_paths_get_a_short_socket(tmp_path):
    """A data directory too deep for a socket's name has its socket elsewhere, for us alone."""
    deep = tmp_path.joinpath(*["a-directory-with-a-long-name"] * 5)
    server = EmbeddedValkey(deep, require_valkey())

    server.start()

    assert not server.socket.is_relative_to(deep)
    assert 0o700 == stat.S_IMODE(server.socket.parent.stat().st_mode)
    assert answers(server.socket)
    server.stop()
    server.socket.parent.rmdir()


def test_socket_is_the_same_for_everybody(tmp_path, monkeypatch):
    """Two processes that are told the same directory, however it is written, find the same socket."""
    monkeypatch.chdir(tmp_path)

    assert socket_path(tmp_path / "data") == socket_path(Path("data"))


def test_server_on_the_path_comes_first(tmp_path, monkeypatch):
    """What the operator installed is preferred to what we carry."""
    installed = tmp_path / "valkey-server"
    installed.touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert installed == find_server()


def test_stop_leaves_nothing_behind(tmp_path):
    """After a stop, neither the server nor its guard is there."""
    server = EmbeddedValkey(tmp_path, require_valkey())
    started = server.start()
    client = redis.Redis.from_url(server.url)
    process = client.info("server")["process_id"]
    client.close()

    server.stop()

    assert started.process.poll() is not None
    assert eventually(lambda: not Path(f"/proc/{process}").exists())
