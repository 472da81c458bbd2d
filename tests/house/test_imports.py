"""Importing does nothing: a program begins where somebody calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT, importable_modules

PROBE = Path(__file__).with_name("import_everything.py")

WORKING = {
    "socket": "import socket\nsocket.socket()\n",
    "lookup": "import socket\nsocket.getaddrinfo('localhost', 80)\n",
    "thread": "import threading\nthreading.Thread(target=print).start()\n",
    "process": "import subprocess\nsubprocess.run(['true'])\n",
    "database": "import sqlite3\nsqlite3.connect(':memory:')\n",
    "file": "open('clawback.db', 'w')\n",
    "folder": "import os\nos.mkdir('clawback-data')\n",
    "environment": "import os\nURL = os.environ.get('CLAWBACK_STORE__URL')\n",
    "getenv": "import os\nURL = os.getenv('CLAWBACK_STORE__URL', '')\n",
    "signals": "import signal\nsignal.signal(signal.SIGTERM, lambda *_: None)\n",
    "logging": "import structlog\nstructlog.configure()\n",
    "broker": "import dramatiq\nfrom dramatiq.brokers.stub import StubBroker\ndramatiq.set_broker(StubBroker())\n",
    "crash": "raise KeyError('CLAWBACK_CONFIG')\n",
    "exit": "raise SystemExit(2)\n",
}


def _what_importing_does(root: Path, modules: tuple[str, ...], cwd: Path) -> list[str]:
    command = [sys.executable, "-I", str(PROBE), str(root), *modules]
    probed = subprocess.run(command, cwd=cwd, env={}, capture_output=True, text=True, check=True)
    done: list[str] = json.loads(probed.stdout)
    return done


def test_importing_does_nothing(tmp_path: Path) -> None:
    """Every module can be imported with no environment and no network, and starts, opens, reads and sets nothing."""
    assert [] == _what_importing_does(ROOT, importable_modules(), tmp_path)


@pytest.mark.parametrize("work", WORKING)
def test_work_at_import_is_found(tmp_path: Path, work: str) -> None:
    """Each kind of work that a module could do at import is seen by the check above."""
    (tmp_path / "eager.py").write_text(WORKING[work], "utf-8")

    assert 1 == len(_what_importing_does(tmp_path, ("eager",), tmp_path))
