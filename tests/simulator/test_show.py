"""The show that `clawback run` gives without a configuration.

Real: the demo's own files, its backend on a socket. Absent: a service, since it never comes to that.
"""

import io
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from config.load import load
from worker.demo.opening import play
from worker.demo.trust import demo_directory, prepare


@pytest.mark.timeout(20)
def test_a_taken_port_is_one_line(tmp_path: Path):
    """Where another program has the port of the demo app's backend by now, that is said at once, with what to do."""
    settings = load(prepare(tmp_path, any_port=True), {})
    port = urlsplit(settings.subscribers[0].url).port
    shown = io.StringIO()
    console = Console(file=shown, width=400)
    with socket.create_server(("127.0.0.1", port or 0)):
        play(settings, {"url": "http://127.0.0.1:9", "admin_url": "http://127.0.0.1:9"}, tmp_path, console)

    last = shown.getvalue().splitlines()[-1]
    assert f"cannot listen at 127.0.0.1:{port} (Address already in use): free that port, or name another in " in last
    assert last.endswith(str(demo_directory(tmp_path) / "demo.toml"))
