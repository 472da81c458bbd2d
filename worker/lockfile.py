"""Own a directory for as long as this process lives, however it ends."""

import fcntl
import os
from pathlib import Path
from typing import IO

from worker.room import NotWritten, written


class DirectoryInUse(Exception):
    """Another living process owns the directory; the text says which."""


def own(directory: Path) -> IO[str]:
    """Make the directory if need be, private to this user, and own it until the file given back is closed.

    Raises:
        DirectoryInUse: another process owns it.
        NotWritten: its disk is full, or may only be read.
    """
    with written(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (directory / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise DirectoryInUse(
            f"{directory} is in use by another clawback run (process {holder}): stop it, or choose another --data-dir"
        ) from None
    try:
        with written(directory):
            lock.truncate(0)
            os.write(lock.fileno(), str(os.getpid()).encode())  # past the file's buffer, which `close` would try again
    except NotWritten:
        lock.close()
        raise
    return lock
