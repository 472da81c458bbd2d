"""Say in one line what keeps a place from being written, and what to do: a full disk, or one that may only be read."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
SPARE_BYTES = 64 * 1024
"""With less than this free, whatever could not be written has met a full disk, if it does not say what it has met."""


class NotWritten(Exception):
    """Something cannot be written where it has to be; the text says why, and what to do."""


@contextmanager
def written(place: Path) -> Iterator[None]:
    """Write at a place in here.

    Raises:
        NotWritten: its file system refuses.
    """
    try:
        yield
    except OSError as error:
        if (line := refused(error, place)) is None:
            raise
        raise NotWritten(line) from None


def refused(error: OSError, place: Path | None = None) -> str | None:
    """Write the line for an error; None: it is another one.

    Args:
        error: one that knows its file only if it was about opening it.
        place: what was to be written, where that is known better.
    """
    where = place or error.filename
    at = f"{os.fsdecode(where)}: " if where else ""
    if error.errno in FULL:
        return f"{at}the disk is full: make room there, or name another place"
    if error.errno in CLOSED and where:
        return f"{at}cannot be written ({error.strerror}): let this user write there, or name another place"
    return None


def is_full(place: Path) -> bool:
    """Tell whether there is no room at a place, or where it would be made."""
    there = next(found for found in (place, *place.absolute().parents) if found.exists())
    left = os.statvfs(there)  # as shutil.disk_usage, whose archives every verb would import
    return left.f_bavail * left.f_frsize < SPARE_BYTES
