"""Know whether somebody waits to write to SQLite's file, in whichever process.

Whoever waits has a lock on the file's directory, and shares it with all who wait; it is gone with its process, however
that ends. It is flock(2)'s, of which SQLite knows nothing, and on none of SQLite's files: to close one of those would
let go of the locks that SQLite has on it (https://www.sqlite.org/howtocorrupt.html, section 2.2).
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


class Crowd:
    """Those who wait for one file. Where a directory cannot be locked, nobody is ever seen to wait.

    Args:
        directory: where the file is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def is_there(self) -> bool:
        """Tell whether somebody waits; two that ask at once may each take the other for one who does."""
        try:
            with self._opened() as place:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass  # a file system without such locks
        return False

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Be one of those who wait."""
        with ExitStack() as place:
            with suppress(OSError):
                fcntl.flock(place.enter_context(self._opened()), fcntl.LOCK_SH)
            yield

    @contextmanager
    def _opened(self) -> Iterator[int]:
        # Anew each time: who shares what was opened once shares its lock, and the first who left would end it for all.
        place = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield place
        finally:
            os.close(place)
