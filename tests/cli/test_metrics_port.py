"""The port of workers for those who watch them: one for all processes of a command, none under `run`."""

import socket
import urllib.error
import urllib.request

import pytest

from tests.cli.processes import announced, clawback, running
from tests.cli.test_run import Installation, install

pytestmark = [pytest.mark.crash, pytest.mark.e2e]


@pytest.fixture
def installation(tmp_path) -> Installation:
    """Configure, and start nothing."""
    return install(tmp_path)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_port_that_others_have_costs_one_line(installation, processes):
    """Workers never share a port with strangers: scrapes would reach either, and counts would go back and forth."""
    clawback("migrate", *installation.options)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # As a second `work` of the same user would have it, which the kernel lets share.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port = taken.getsockname()[1]

        environment = {"CLAWBACK_WORK__METRICS_PORT": str(port)}
        done = clawback("work", "--processes", processes, *installation.options, environment=environment)

    assert 1 == done.returncode
    said = f"cannot listen on 127.0.0.1 port {port}: Address already in use; set [work] metrics_port"
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_under_run_the_endpoint_tells_of_all(installation):
    """`run` opens no port for its workers: what they counted is in the endpoint's scrape."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"CLAWBACK_WORK__METRICS_PORT": str(port)}

    with running("run", "--json", *installation.options, environment=environment) as process:
        metrics = announced(process)["metrics"]
        with urllib.request.urlopen(metrics) as answer:  # noqa: S310 - our own address
            assert b"clawback_notifications_processed_total" in answer.read()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz")
