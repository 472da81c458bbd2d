"""Tell whether the container's main process is well: the image's HEALTHCHECK, right for every role.

`serve` and `run` answer HTTP, so they are asked. `work` listens to nobody: it is well while it runs, since its
supervisor replaces a worker that died and ends when it cannot. Whether work gets done is another question; the
metric `clawback_inbox_oldest_seconds` answers it, and no restart would.
"""

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from config.load import load

ANSWERING = frozenset({"serve", "run"})
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
TIMEOUT_SECONDS = 4.0


def check(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """Ask the endpoint, if this command has one.

    Args:
        command: the main process's command line.
        environ: the container's environment.

    Returns:
        What was found.

    Raises:
        OSError: it does not answer, or does not answer well.
    """
    if not ANSWERING.intersection(command):
        return "runs, and has no endpoint"
    server = load(_config(command, environ), environ).server
    host = ANY_ADDRESS.get(server.host, server.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{server.port}/healthz"
    # A proxy that the environment names is for the world outside.
    with build_opener(ProxyHandler({})).open(url, timeout=TIMEOUT_SECONDS) as response:
        return f"answers {response.status}"


def _config(command: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    named = [value for option, value in itertools.pairwise(command) if option == "--config"]
    named += [part.removeprefix("--config=") for part in command if part.startswith("--config=")]
    path = named[-1] if named else environ.get("CLAWBACK_CONFIG")
    return Path(path) if path else None


def main() -> int:
    """Look at process 1 and report as Docker expects: 0 well, 1 not."""
    command = Path("/proc/1/cmdline").read_text(encoding="utf-8").split("\0")
    try:
        sys.stdout.write(f"{check(command, os.environ)}\n")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not well
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
