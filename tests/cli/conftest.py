"""An installation with a database of each kind, and one on SQLite for what is the same on both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.installation import Installation
from tests.worker.desk import desk


@pytest.fixture
def installed(tmp_path: Path, store_url: str) -> Iterator[Installation]:
    """Open an installation on each kind of database in turn."""
    with desk(tmp_path, url=store_url) as at:
        yield Installation(at, tmp_path)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Installation]:
    """Open an installation on SQLite."""
    with desk(tmp_path) as at:
        yield Installation(at, tmp_path)
