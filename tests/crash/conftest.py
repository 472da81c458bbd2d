"""The houses that faults happen to, and the figures in the end."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.clusters import Cluster
from tests.crash.figures import TOTAL
from tests.crash.house import House, open_house
from tests.effort import EFFORT
from tests.services import STORES


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def on_postgresql(postgresql: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Run everything once on PostgreSQL; each test has customers of its own."""
    async with open_house(tmp_path_factory.mktemp("on-postgresql"), postgresql) as house:
        yield house


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Run everything once on SQLite."""
    async with open_house(tmp_path_factory.mktemp("on-sqlite")) as house:
        yield house


@pytest.fixture(params=STORES)
def wired(request: pytest.FixtureRequest) -> House:
    """Choose one of the two; in a short run the faults of a wire to the database alone tell them apart."""
    if request.param == "sqlite" and not EFFORT.faults:
        pytest.skip("make test-crash has this fault on SQLite, too")
    house: House = request.getfixturevalue(f"on_{request.param}")
    return house


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was sent, what was done to the service meanwhile, and what was lost."""
    if TOTAL.faults:
        terminalreporter.section("faults")
        for line in TOTAL.lines():
            terminalreporter.write_line(line)
