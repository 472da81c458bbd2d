"""The command line as real processes, and what is left of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HANG_SECONDS_MAX = 60.0
"""Whoever takes longer hangs. To wait costs nothing where all is well, and machines may be slow and busy."""


def clawback(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one verb to its end."""
    return subprocess.run(
        [sys.executable, "-m", "worker.cli", *arguments],
        cwd=ROOT,
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=2 * HANG_SECONDS_MAX,
        check=False,
    )


@contextmanager
def running(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a verb that stays up; whatever is left of it in the end is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *arguments],
        cwd=ROOT,
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=HANG_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def announced(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Read the JSON document that a verb prints once it is up."""
    assert process.stdout
    text = ""
    for line in process.stdout:
        text += line
        if line.rstrip() == "}":
            return dict(json.loads(text))
    assert process.stderr
    raise AssertionError(f"it never came up: {process.stderr.read()}")


def belonging_to(directory: Path) -> dict[int, str]:
    """Find every process whose command line names a directory, except what is ending: pid → command."""
    found = {}
    for line in subprocess.run(
        ["ps", "-ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        if str(directory) in command and int(pid) != os.getpid():
            found[int(pid)] = command
    return found


def eventually(true: Any, seconds: float = HANG_SECONDS_MAX) -> bool:
    """Wait until something becomes true."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(true())


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CLAWBACK_", "PROMETHEUS_"))}
    return {**inherited, **(extra or {})}
