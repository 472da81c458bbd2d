"""End a PostgreSQL of the tests' own, and remove its files, once whoever made it is gone, however that came.

    python cluster_guard.py HOME

Standard input is the line to him: nothing is ever said on it, and it ends with him, even by SIGKILL. A script of its
own on the standard library alone, to start fast.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

END_SECONDS_MAX = 10.0


def main(home: Path) -> None:
    """Wait for the end of the line, and clear up what is left by then."""
    sys.stdin.buffer.read()
    with suppress(OSError, ValueError, IndexError):  # it runs no more, or never did
        server = int((home / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(server, signal.SIGQUIT)
        deadline = time.monotonic() + END_SECONDS_MAX
        while time.monotonic() < deadline:
            os.kill(server, 0)  # raises once it is gone
            time.sleep(0.02)
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
