"""One desk and one service for all forgeries, emptied before each: what is tested has no state but its store."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import delete

from tests.forgeries.desk import NOW, Desk
from tests.web.conftest import migrated as migrated  # noqa: PLC0414 - pytest finds a fixture under its name
from tests.web.service import Service, running
from worker.store import tables
from worker.trust import Trust


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Make everything that signs, once."""
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(desk: Desk, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """Run the service with both apps."""
    store = shutil.copy(migrated, tmp_path_factory.mktemp("store") / "clawback.db")
    settings = desk.settings
    async with running(f"sqlite:///{store}", settings, trust=Trust(settings.apps, desk.network)) as service:
        service.clock.now = NOW
        yield service


@pytest.fixture
def service(started: Service, desk: Desk) -> Service:
    """Give the service with an empty store, and nothing asked of the network yet."""
    with started.store.write() as connection:
        connection.execute(delete(tables.notifications))
    started.queue.put.clear()
    desk.network.asked.clear()
    return started
