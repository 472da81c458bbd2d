"""Of what cannot be written, an operator reads the place, the reason and what to do."""

import errno
import os
from pathlib import Path

import pytest

from worker.room import NotWritten, is_full, refused, written

PLACE = Path("/var/lib/clawback")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "the disk is full: make room there"),
        (errno.EDQUOT, "the disk is full: make room there"),
        (errno.EROFS, "cannot be written (Read-only file system): let this user write there"),
        (errno.EACCES, "cannot be written (Permission denied): let this user write there"),
    ],
)
def test_a_disk_that_refuses_is_one_line(number, says):
    """A full disk, and one that may only be read, are told as such, with the place and what to do."""
    with pytest.raises(NotWritten) as told, written(PLACE):
        raise OSError(number, os.strerror(number))

    assert f"{PLACE}: {says}, or name another place" == str(told.value)


def test_another_error_stays_what_it_is():
    """What says nothing of the disk is not taken for a disk that refuses."""
    with pytest.raises(IsADirectoryError), written(PLACE):
        raise OSError(errno.EISDIR, "Is a directory")


def test_a_file_that_is_not_known_is_not_guessed():
    """A write does not know its file: of a full disk there is a line all the same, of a missing right none."""
    assert refused(OSError(errno.ENOSPC, "")) == "the disk is full: make room there, or name another place"
    assert refused(OSError(errno.EACCES, "")) is None


def test_a_place_that_is_not_there_yet_has_the_room_of_where_it_would_be(tmp_path):
    """Room is looked for where a file would be made."""
    assert not is_full(tmp_path / "not" / "there")
