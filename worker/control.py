"""The line between a supervisor and a child: one socket pair, both ways.

The child says once that it is ready, with facts like the port it got. Each side learns of the other's death by the
end of the stream, however it died, so no child outlives its supervisor.
"""

import json
import os
import signal
import socket
import threading
import time
from typing import Any

PARENT_GONE_GRACE_SECONDS = 30.0
HEAR_SECONDS_MAX = 1.0
"""How long a main thread may wait at a stretch. A signal that comes just before it waits does not end the wait, and its
handler runs after it: https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers."""
GO = b"go"
"""What a supervisor says to a child that was started ahead and waits."""


class Control:
    """A child's end of the line.

    Args:
        fd: the inherited descriptor; None: nobody supervises this process, and nothing here does anything.
    """

    def __init__(self, fd: int | None) -> None:
        self._socket = socket.socket(fileno=fd) if fd is not None else None
        if self._socket is not None:
            self._socket.set_inheritable(False)

    def waited(self) -> bool:
        """Wait for the supervisor's word; False: it is gone, or has given up, and has said why."""
        try:
            return self._socket is None or self._socket.recv(len(GO)) == GO
        except OSError:
            return False

    def ready(self, **facts: Any) -> None:
        """Tell the supervisor that work can come."""
        if self._socket is not None:
            self._socket.sendall(json.dumps(facts).encode() + b"\n")

    def stop_with_parent(self) -> None:
        """Stop this process as SIGTERM would when the supervisor is gone, and for certain after a grace period."""
        if self._socket is not None:
            threading.Thread(target=self._watch, name="parent-watch", daemon=True).start()

    def _watch(self) -> None:
        if self._socket is None:
            return
        try:
            while self._socket.recv(64):
                pass
        except OSError:
            pass  # a reset is an end too
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PARENT_GONE_GRACE_SECONDS)
        os._exit(1)
