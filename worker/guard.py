"""Run a program for exactly as long as whoever asked for it lives.

    python guard.py FD PROGRAM ARGUMENT…

FD is one end of a socket pair whose other end the parent holds. When the parent dies, even by SIGKILL, that end closes
and the program is stopped. For programs that cannot watch by themselves, like a Valkey server; it needs nothing of
Linux that macOS lacks. A script of its own, on the standard library alone, to start fast and stay small.
"""

import os
import select
import signal
import subprocess
import sys
from types import FrameType

STOP_GRACE_SECONDS = 15.0


def main(arguments: list[str]) -> int:
    """Start the program, wait for its end or the parent's, and give the program's exit code."""
    parent = int(arguments[0])
    os.set_inheritable(parent, False)  # noqa: FBT003 - the standard library's signature
    ended, held = os.pipe()  # the program holds one end for as long as it lives
    program = subprocess.Popen(arguments[1:], pass_fds=[held], stdin=subprocess.DEVNULL)  # noqa: S603 - ours
    os.close(held)

    def stop(_number: int, _frame: FrameType | None) -> None:
        program.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    ready, _, _ = select.select([parent, ended], [], [])
    if ended not in ready:
        program.terminate()
    try:
        code = program.wait(STOP_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        code = program.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
