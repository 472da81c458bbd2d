"""A PostgreSQL of the tests' own: its programs, found; one cluster, started and cleaned away.

Real: the server, its fsync, TCP, passwords. Nothing of it is shared with a PostgreSQL that the machine may run.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from tests import cluster_guard

DEBIAN: Final = Path("/usr/lib/postgresql")
"""Debian keeps these programs off the PATH, one directory per major version."""
NEEDED: Final = ("initdb", "postgres")
OLDEST: Final = 15
UNPRIVILEGED: Final = ("postgres", "nobody")
"""Whom to be when we are root: PostgreSQL refuses root."""
USER, PASSWORD = "clawback", "a horse: staple/battery@home"
START_SECONDS_MAX: Final = 90.0
START_TRIES: Final = 5
"""Between finding a free port and listening on it, somebody else may take it."""


class PostgresMissing(Exception):
    """There is no PostgreSQL here that tests could run; the text says how to get one."""


def find_programs() -> Path:
    """Find the directory of the newest PostgreSQL: on PATH, else in Debian's place.

    Raises:
        PostgresMissing: there is none, or only an old one.
    """
    on_path = shutil.which("initdb")
    debian = sorted(DEBIAN.glob("*/bin"), key=lambda found: -int(found.parent.name)) if DEBIAN.is_dir() else []
    for directory in [*([Path(on_path).resolve().parent] if on_path else []), *debian]:
        if all((directory / name).exists() for name in NEEDED) and _major(directory) >= OLDEST:
            return directory
    raise PostgresMissing(f"no PostgreSQL {OLDEST} or newer on PATH or in {DEBIAN}: apt-get install postgresql")


def _major(directory: Path) -> int:
    said = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[2].split(".")[0])


@dataclass
class Cluster:
    """One private server. What it holds is gone once it is removed."""

    programs: Path
    home: Path
    port: int = 0
    settings: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None
    _guard: subprocess.Popen[bytes] | None = None
    _wiped: list[str] = field(default_factory=list)

    @classmethod
    def create(cls, *settings: str) -> "Cluster":
        """Make the files of a new cluster, and start it.

        Args:
            settings: more of `name=value` as postgresql.conf has them.
        """
        programs = find_programs()
        # Not below pytest's own directory, which whoever we become may not enter.
        cluster = cls(programs, Path(tempfile.mkdtemp(prefix="clawback-postgresql-")), settings=settings)
        cluster._guard = _guard(cluster.home)
        try:
            cluster.initialize()
            cluster.start()
        except BaseException:
            cluster.remove()
            raise
        return cluster

    def url(
        self, database: str = "postgres", *, password: str = PASSWORD, user: str = USER, port: int | None = None
    ) -> str:
        """Write the address of a database as an operator would; at another port, if there is a proxy."""
        quoted = password.replace("%", "%25")
        for character in " @:/":
            quoted = quoted.replace(character, f"%{ord(character):02X}")
        return f"postgresql://{user}:{quoted}@127.0.0.1:{port or self.port}/{database}"

    def connect(self, database: str = "postgres") -> "psycopg.Connection[Any]":
        """Connect beside whatever is tested."""
        return psycopg.connect(self.url(database), autocommit=True)

    def new(self, *, like: str = "template1") -> str:
        """Make a database, empty or like another, and give its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, and whoever is connected to it."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        for _ in range(START_TRIES):
            self.port = self.port or free_port()
            if self._started():
                return
            self.port = 0
        raise PostgresMissing(f"PostgreSQL did not start: {self._log()[-500:]}")

    def stop(self, *, mode: str = "fast") -> None:
        """Stop it: `fast` breaks connections and writes everything down, `immediate` is a crash."""
        if self._process is not None:
            signals = {"fast": 2, "immediate": 3}  # SIGINT, SIGQUIT: postgres(1)
            self._process.send_signal(signals[mode])
            self._process.wait(START_SECONDS_MAX)
            self._process = None

    def remove(self) -> None:
        """Stop it, and remove its files."""
        self.stop(mode="immediate")
        shutil.rmtree(self.home)
        if self._guard is not None:
            self._guard.communicate()  # the end of its line; it finds nothing left
            self._guard = None

    def initialize(self) -> None:
        """Make the files of a new cluster in its home, which is there and empty."""
        (self.home / "password").write_text(PASSWORD)
        if account := _account():
            for path in (self.home, self.home / "password"):
                os.chown(path, account.pw_uid, account.pw_gid)
        arguments = ("-D", self._data, "-U", USER, "--pwfile", self.home / "password", "--auth", "scram-sha-256")
        made = self._run("initdb", *arguments, "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        if made.wait() != 0:
            raise PostgresMissing(f"initdb failed: {self._log()[-500:]}")

    @property
    def _data(self) -> Path:
        return self.home / "data"

    def _started(self) -> bool:
        options = (f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.home}")
        given = [part for option in (*options, *self.settings) for part in ("-c", option)]
        self._process = self._run("postgres", "-D", self._data, *given)
        deadline = time.monotonic() + START_SECONDS_MAX
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        self.stop(mode="immediate")
        return False

    def _run(self, program: str, *arguments: object) -> subprocess.Popen[bytes]:
        account = _account()
        identity: dict[str, Any] = {}
        if account:
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                [self.programs / program, *map(str, arguments)],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the tests; the server goes when they are done with it.
                start_new_session=True,
                **identity,
            )

    def _log(self) -> str:
        return (self.home / "log").read_text("utf-8", errors="replace")


def _guard(home: Path) -> subprocess.Popen[bytes]:
    """Have somebody clear up behind us who outlives a SIGKILL of us, and of our session."""
    script = [sys.executable, "-I", "-S", cluster_guard.__file__, str(home)]
    return subprocess.Popen(script, stdin=subprocess.PIPE, start_new_session=True)


def _account() -> pwd.struct_passwd | None:
    """Choose whom to be; None: ourselves."""
    if os.geteuid() != 0:
        return None
    known = {account.pw_name: account for account in pwd.getpwall()}
    found = next((known[name] for name in UNPRIVILEGED if name in known), None)
    if found is None:
        raise PostgresMissing("PostgreSQL refuses to run as root, and there is no other account to be")
    return found


def free_port() -> int:
    """Find a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
