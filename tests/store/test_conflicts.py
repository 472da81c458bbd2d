"""Work that met another's is done again, and leaves a count.

Real: the parts of a process as they are put together, the store. Double: the one who came in between, who is raised.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from config.settings import Broker, Settings
from config.settings import Store as Choices
from worker.bootstrap import build, close
from worker.runtime import Runtime
from worker.store.engine import CHANGE_TRIES_MAX, Contended


@pytest.fixture(name="runtime")
def _runtime(store_url: str) -> Iterator[Runtime]:
    built = build(Settings(store=Choices(url=store_url), broker=Broker(url="redis://127.0.0.1:1")))
    yield built
    close(built)


def conflicts(runtime: Runtime) -> float | None:
    """Read what a scrape says."""
    return runtime.metrics.registry.get_sample_value("clawback_store_conflicts_total")


def met(runtime: Runtime, times: int) -> int:
    """Do work that meets another's so many times."""
    left = iter(range(times))

    def work(connection: Connection) -> int:
        for _ in left:
            raise Contended("lineages")
        return int(connection.execute(text("SELECT 7")).scalar_one())

    return runtime.store.change(work)


@pytest.mark.parametrize("times", [0, 1, CHANGE_TRIES_MAX - 1])
def test_what_is_done_again_is_counted(runtime: Runtime, times: int):
    """Each time that somebody else came in between is one, and then the work is done."""
    assert 7 == met(runtime, times)
    assert times == conflicts(runtime)


def test_what_is_given_up_is_counted_as_often_as_it_was_tried(runtime: Runtime):
    """After so many tries whoever asked is told to come back, and every one of them is in the count."""
    with pytest.raises(Contended):
        met(runtime, CHANGE_TRIES_MAX)

    assert conflicts(runtime) == CHANGE_TRIES_MAX
