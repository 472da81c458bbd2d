"""How long it takes to be there: `clawback run` until `/readyz` says so, `clawback version` until it has said it."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from config.load import load
from tests.benchmarks.figures import Figure, Goal
from tests.benchmarks.place import Grounds, surroundings
from tests.benchmarks.scope import Scope
from tests.cli.processes import ROOT
from worker.demo.trust import prepare

STOP_SECONDS_MAX = 40.0
READY_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.002


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Measure both; the data directory is there already, as it is at every start but the first."""
    if not scope.wants("start"):
        return
    home = Path(tempfile.mkdtemp(prefix="start-", dir=grounds.home))
    config = prepare(home, any_port=True)
    first = ready_after(home, config)
    runs = [ready_after(home, config) for _ in scope.turns("start")]
    goal = Goal("ours", "most", 2)
    yield Figure(8, "start: clawback run to /readyz", "s", runs, goal=goal, more={"first": first})
    versions = [1000 * said_after("version") for _ in range(2 * scope.rounds)]
    python = [1000 * _run([sys.executable, "-c", "pass"]) for _ in range(2 * scope.rounds)]
    goal = Goal("ours", "most", 150)
    yield Figure(8, "start: clawback version", "ms", versions, python, "python -c pass", goal)


def ready_after(home: Path, config: Path) -> float:
    """Start everything and stop it; give the seconds until it was ready."""
    port = load(config, {}).server.port
    command = [sys.executable, "-m", "worker.cli", "run", "--json", "--config", str(config), "--data-dir", str(home)]
    began = time.perf_counter()
    with (home / "run.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=surroundings(), stdout=log, stderr=log)
    try:
        while not _ready(port):
            if process.poll() is not None or time.perf_counter() - began > READY_SECONDS_MAX:
                raise RuntimeError((home / "run.log").read_text()[-2000:])
            time.sleep(LOOK_SECONDS)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(STOP_SECONDS_MAX)


def said_after(verb: str) -> float:
    """Give the seconds that a verb takes from its start to its end."""
    return _run([sys.executable, "-m", "worker.cli", verb])


def _run(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=surroundings(), check=True, capture_output=True)
    return time.perf_counter() - began


def _ready(port: int) -> bool:
    """Tell whether it is ready. An HTTP client for each look would take a fifth of a processor from what starts."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False
