import os
import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from worker.metrics import Metrics, shared_registry

COUNT = """
from prometheus_client import CollectorRegistry
from worker.metrics import Metrics
metrics = Metrics(CollectorRegistry())
metrics.processed.labels(platform="apple", status="processed").inc(2)
metrics.delivery_lag_seconds.observe(0.2)
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
