"""A migrated database for each test: migrated once, then copied."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services import STORES
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


ON_BOTH = (
    "audit",
    "customers",
    "deliveries",
    "events",
    "idempotency",
    "notifications",
    "purchases",
    "refunds",
    "renamed",
    "subscribers",
    "timeline",
    "tokens",
    "unmatched",
)
"""What is mostly SQL is proved on both databases; what is mostly HTTP, on one."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is mostly SQL on every kind of database."""
    if "url" in metafunc.fixturenames:
        both = any(name in metafunc.module.__name__ for name in ON_BOTH)
        metafunc.parametrize("url", STORES if both else STORES[:1], indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest, migrated: Path, tmp_path: Path) -> str:
    """Name a database of the test's own."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("emptied"))
    return f"sqlite:///{shutil.copy(migrated, tmp_path / 'clawback.db')}"


@pytest.fixture
async def embedded(migrated: Path, tmp_path: Path) -> AsyncIterator[Service]:
    """Run the service on SQLite, for what is about SQLite."""
    async with running(f"sqlite:///{shutil.copy(migrated, tmp_path / 'embedded.db')}") as service:
        yield service


@pytest.fixture
async def service(url: str) -> AsyncIterator[Service]:
    """Run the service."""
    async with running(url) as service:
        yield service
