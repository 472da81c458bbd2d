"""A migrated database for each test: migrated once, then copied."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.service import Service, running
from worker.store import migrate
from worker.store.engine import Store


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate an empty database."""
    path = tmp_path_factory.mktemp("migrated") / "clawback.db"
    store = Store(f"sqlite:///{path}")
    migrate.upgrade(store)
    store.close()
    return path


@pytest.fixture
def url(migrated: Path, tmp_path: Path) -> str:
    """Name a database of the test's own."""
    return f"sqlite:///{shutil.copy(migrated, tmp_path / 'clawback.db')}"


@pytest.fixture
async def service(url: str) -> AsyncIterator[Service]:
    """Run the service."""
    async with running(url) as service:
        yield service
