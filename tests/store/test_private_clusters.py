"""The tests' own PostgreSQL goes with the tests, however they end."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.processes import ROOT, eventually
from tests.services import postgresql

__all__ = ["postgresql"]

TESTS = """
import signal
from tests.clusters import Cluster
cluster = Cluster.create()
print(cluster.port, cluster.home, flush=True)
signal.pause()
"""


def listens(port: int) -> bool:
    """Tell whether somebody does on loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.usefixtures("postgresql")  # where there is none, there is nothing to leave behind
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_private_server_goes_with_killed_tests(number):
    """Whoever kills the tests leaves no server and no files of it."""
    with subprocess.Popen([sys.executable, "-c", TESTS], cwd=ROOT, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        port, home = tests.stdout.readline().split()
        assert listens(int(port))

        tests.send_signal(number)

    assert eventually(lambda: not Path(home).exists())
    assert not listens(int(port))
