"""A worker that is stopped for longer than anything lasts, and continued: others do its work, and it does none of it.

Real: every process, PostgreSQL, the broker, the signatures, the app's backend, SIGSTOP and SIGCONT. Doubles: none. What
may be asserted: rows, events, what arrived at the backend; never when, beyond a deadline.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio

from tests.clusters import Cluster
from tests.crash.burst import pour, sign_burst, tell_all
from tests.crash.figures import fault
from tests.crash.house import House, open_house
from tests.crash.judge import in_flight, judge, waiting
from tests.crash.test_gaps import FETCH, FINISH
from tests.e2e.running import until
from tests.effort import thorough
from tests.worker.backend import Told, ok

pytestmark = [pytest.mark.crash, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

CLAIM = b"FOR UPDATE SKIP LOCKED"
PATIENCE_SECONDS = 2
"""After which PostgreSQL gives up on a transaction whose client says nothing: an operator's choice."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(postgresql: Cluster, tmp_path_factory) -> AsyncIterator[House]:
    """Run everything on a database that soon gives up on who is silent in a transaction."""
    environment = {"CLAWBACK_STORE__STATEMENT_TIMEOUT_SECONDS": str(PATIENCE_SECONDS)}
    async with open_house(tmp_path_factory.mktemp("house"), postgresql, environment=environment) as opened:
        yield opened


@contextmanager
def stopped(house: House) -> Iterator[None]:
    """Stop the worker as a host that is frozen stops it."""
    worker = house.installation.processes()["work"]
    os.kill(worker, signal.SIGSTOP)
    fault("worker stopped for longer than its lease")
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((FETCH,), id="before it locked its rows", marks=thorough),
        pytest.param((CLAIM,), id="when it had locked its rows"),
        pytest.param((FINISH,), id="while it wrote", marks=thorough),
    ],
)
async def test_others_take_over(house: House, words: tuple[bytes, ...]):
    """Another worker finishes what a stopped one had in hand; continued, that one commits nothing over it."""
    assert house.database
    burst = sign_burst(house.installation, notifications=8, seed=41 + len(words[0]))
    await tell_all(house.service, burst)
    with house.database.hold(*words, answer=words == (CLAIM,)) as hold:
        taken = await pour(house.service, burst.shots)
        assert await until(hold.reached.is_set)
        with stopped(house):
            async with house.installation.up("work"):
                assert await until(lambda: not in_flight(house.store)), "nobody took over"
                hold.release()

    await judge(house, burst, taken)


@thorough
async def test_a_late_record_moves_nothing(house: House):
    """Who was stopped while a subscriber answered finds its delivery told by another, and changes nothing of it."""
    burst = sign_burst(house.installation, notifications=2, seed=43)
    await tell_all(house.service, burst)
    answering, silent = asyncio.Event(), asyncio.Event()

    async def hold(told: Told):
        answering.set()
        await silent.wait()
        return ok(told)

    house.backend.answer = hold
    taken = await pour(house.service, burst.shots)
    await asyncio.wait_for(answering.wait(), 60)
    with stopped(house):
        house.backend.answer = ok
        silent.set()
        async with house.installation.up("work"):
            # The claims of the one that is stopped last for the time-out of the subscriber, and 15 s.
            assert await until(lambda: not in_flight(house.store) and not waiting(house.store))

    await judge(house, burst, taken)
