import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from config.settings import Settings
from worker.metrics import Metrics, begin_at_zero, shared_registry

COUNT = """
from prometheus_client import CollectorRegistry
from worker.metrics import Metrics, share_counts
share_counts()
metrics = Metrics(CollectorRegistry())
metrics.processed.labels(platform="apple", status="processed").inc(2)
metrics.delivery_lag_seconds.observe(0.2)
"""
LISTEN = """
import sys
from prometheus_client import CollectorRegistry
from worker.metrics import Metrics, share_counts
share_counts()
metrics = Metrics(CollectorRegistry())
metrics.streams_open.set(3)
print("ready", flush=True)
sys.stdin.read()
"""
DIE = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
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


def test_a_worker_that_is_restarted_counts_on(tmp_path: Path) -> None:
    """However often a worker is killed and restarted, nothing it counted is lost, and it leaves no more files."""
    for _ in range(5):
        _python(COUNT + DIE, tmp_path, name="host-1-work-1")

    assert 'status="processed"} 10.0' in _python(SCRAPE, tmp_path)
    kinds = ["counter", "gauge_livesum", "histogram"]
    assert [f"{kind}_host-1-work-1.db" for kind in kinds] == sorted(file.name for file in tmp_path.iterdir())


def test_a_scrape_survives_a_file_that_was_made_just_now(tmp_path: Path) -> None:
    """A process that starts has its file before there is anything in it; a scrape at that moment shows the others."""
    _python(COUNT, tmp_path)
    (tmp_path / "counter_host-2.db").touch()

    assert 'status="processed"} 2.0' in _python(SCRAPE, tmp_path)


def test_what_may_be_counted_begins_at_zero() -> None:
    """Each outcome of each platform that is on is there before it happens, so that the first one is an increase."""
    registry = CollectorRegistry()
    chosen = Settings.model_validate({"apps": {"acme": {"stripe": {"webhook_secrets": ["whsec_x"]}, "apple": {}}}})
    begin_at_zero(Metrics(registry), chosen)

    labels = {"platform": "stripe", "app": "acme", "outcome": "unauthentic"}
    assert 0 == registry.get_sample_value("clawback_notifications_total", labels)
    assert None is registry.get_sample_value("clawback_notifications_total", {**labels, "platform": "apple"})
    assert 0 == registry.get_sample_value("clawback_entitlement_changes_total", {"type": "entitlement.revoked"})
    assert 0 == registry.get_sample_value("clawback_deliveries_total", {"outcome": "dead"})


def _python(source: str, directory: Path, *, name: str = "") -> str:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory), "PROMETHEUS_MULTIPROC_NAME": name}
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, check=False, capture_output=True, env=environment, text=True, timeout=60)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout
