import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from worker.metrics import Metrics, shared_registry

COUNT = """
from prometheus_client import CollectorRegistry
from worker.metrics import Metrics
metrics = Metrics(CollectorRegistry())
metrics.processed.labels(platform="apple", status="processed").inc(2)
metrics.delivery_lag_seconds.observe(0.2)
"""
LISTEN = """
import sys
from prometheus_client import CollectorRegistry
from worker.metrics import Metrics
metrics = Metrics(CollectorRegistry())
metrics.streams_open.set(3)
print("ready", flush=True)
sys.stdin.read()
"""
SCRAPE = """
from prometheus_client import CollectorRegistry, generate_latest
from worker.metrics import shared_registry
print(generate_latest(shared_registry(CollectorRegistry())).decode())
"""


def test_processes_of_one_host_share_their_counts(tmp_path: Path) -> None:
    """Any process of a host answers a scrape with the sums of them all, also of those that ended."""
    for _ in range(3):
        _python(COUNT, tmp_path)

    scraped = _python(SCRAPE, tmp_path)

    assert 'clawback_notifications_processed_total{platform="apple",status="processed"} 6.0' in scraped
    assert "clawback_delivery_lag_seconds_count 3.0" in scraped


def test_who_listens_goes_with_the_process(tmp_path: Path) -> None:
    """Streams of all processes that run are added up; one that was killed had no time to say that it has none now."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-c", LISTEN]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen(command, env=environment, **pipes) as one,
        subprocess.Popen(command, env=environment, **pipes) as other,
    ):
        for process in (one, other):
            assert process.stdout
            assert b"ready\n" == process.stdout.readline()
        assert "clawback_streams_open 6.0" in _python(SCRAPE, tmp_path)
        other.kill()
        other.wait(30)
        assert "clawback_streams_open 3.0" in _python(SCRAPE, tmp_path)
        one.kill()

    assert "clawback_streams_open 3.0" not in _python(SCRAPE, tmp_path)


def test_a_process_alone_is_scraped_alone() -> None:
    """Without the variable that makes processes share, a scrape is of the process's own registry."""
    own = CollectorRegistry()
    Metrics(own)

    assert own is shared_registry(own)


def _python(source: str, directory: Path) -> str:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, check=True, capture_output=True, env=environment, text=True, timeout=30)
    return done.stdout
