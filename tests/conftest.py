"""What every test starts from."""

import os

import pytest
from hypothesis import is_hypothesis_test

from tests import effort
from tests.services import emptied, new_database, postgresql, shared_database, store_url  # noqa: F401 - fixtures
from tests.worker.desk import open_desk  # noqa: F401 - a fixture

effort.register()

PARALLEL_MAX = 4
"""More at once would try the machine and not the code: each has its own servers, and many tests their own processes."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run as many tests at once as there are processors, up to a few."""
    return min(PARALLEL_MAX, os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each property the time that its examples need; every other test keeps the short limit."""
    for item in items:
        property_ = isinstance(item, pytest.Function) and is_hypothesis_test(item.obj)
        if property_ and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(effort.EFFORT.property_seconds))
