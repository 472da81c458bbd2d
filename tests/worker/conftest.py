"""What tells subscribers, around an empty outbox on SQLite: for tests that need it as it is; others make their own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.worker.backend import Clock, new_runtime
from worker.delivery import Deliverer
from worker.runtime import Runtime


@pytest.fixture
def clock() -> Clock:
    """Give the machine's clock, to be set forward."""
    return Clock()


@pytest.fixture
def runtime(tmp_path: Path, clock: Clock) -> Iterator[Runtime]:
    """Put the parts of a process together."""
    made = new_runtime(tmp_path, clock)
    yield made
    made.store.close()


@pytest.fixture
async def deliverer(runtime: Runtime) -> AsyncIterator[Deliverer]:
    """Deliver without jitter."""
    made = Deliverer(runtime, jitter=lambda: 0.0)
    yield made
    await made.close()
