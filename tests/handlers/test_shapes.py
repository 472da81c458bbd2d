"""Shapes of foreign messages, whose readers are built when the first message comes."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import create_model

from schemas.base import Foreign

THREADS = 8


@pytest.fixture(name="hasty")
def _hasty() -> Iterator[None]:
    """Have threads take turns as often as Python can, so that they meet where they can meet."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_whoever_comes_first_with_others_reads_as_they_do():
    """Threads that meet a shape for the first time at the same moment all read the same."""
    for number in range(50):
        shape = create_model("Shape", __base__=Foreign, id=(str, ...), amount=(int, ...))
        together = threading.Barrier(THREADS)

        def read(said: dict[str, object], shape=shape, together=together) -> dict[str, object]:
            together.wait()
            return dict(shape.model_validate(said))

        said = {"id": "re_1", "amount": number}
        with ThreadPoolExecutor(THREADS) as pool:
            assert [said] * THREADS == list(pool.map(read, [{**said, "more": None}] * THREADS))
