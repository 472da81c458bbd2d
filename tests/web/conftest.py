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


MOSTLY_HTTP = frozenset(
    {
        "test_answers",
        "test_asyncapi",
        "test_auth",
        "test_failures",
        "test_follow",
        "test_gate",
        "test_headers",
        "test_health",
        "test_hostile",
        "test_ingest",
        "test_metrics",
        "test_openapi",
        "test_stream",
        "test_tally",
        "test_watch",
        "test_whole",
    }
)
"""Proved on one database: what is behind them is proved elsewhere. A file that is not named here runs on both."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is not mostly HTTP on every kind of database."""
    if "url" in metafunc.fixturenames:
        once = metafunc.module.__name__.rpartition(".")[2] in MOSTLY_HTTP
        metafunc.parametrize("url", STORES[:1] if once else STORES, indirect=True)


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
