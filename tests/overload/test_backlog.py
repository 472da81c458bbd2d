"""A backlog drains, however long it is, and whoever drains it needs no more memory for it.

Real: workers as processes, PostgreSQL, the broker. Doubles: none; the rows are copies of what the door accepted. What
may be asserted: resident memory, rows; never how fast.
"""

import asyncio
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.benchmarks.usage import resident_mb
from tests.cli.processes import clawback
from tests.clusters import Cluster
from tests.crash.burst import running
from tests.e2e.running import Installation, install
from tests.effort import EFFORT
from tests.overload.backlog import broken, left, outcomes, pile_up
from tests.services import require_valkey
from worker.store.engine import Store
from worker.valkey import EmbeddedValkey

pytestmark = [pytest.mark.crash, pytest.mark.e2e, pytest.mark.overload]

GROWTH_MB_MAX = 16.0
"""What nine tenths of a backlog may add to what a worker holds after the first, when its caches are full and its
connections open: 18 bytes for each notification of a million."""
LOOK_SECONDS, REST = 0.05, 50
"""Counting a million takes the database a while: a look rests so many times as long as it took."""


@pytest.mark.timeout(EFFORT.backlog_seconds)
async def test_a_backlog_drains_without_memory_growth(tmp_path: Path, postgresql: Cluster):
    """Each takes effect once, and a worker holds as much at the end as after the first tenth."""
    name = postgresql.new()
    valkey = EmbeddedValkey(tmp_path / "broker", require_valkey())
    valkey.start()
    environment = {"CLAWBACK_STORE__URL": postgresql.url(name), "CLAWBACK_BROKER__URL": valkey.url}
    installation = install(tmp_path / "home", environment=environment)
    assert 0 == clawback("migrate", *installation.options, environment=environment).returncode
    try:
        with closing(Store(environment["CLAWBACK_STORE__URL"])) as store, postgresql.connect(name) as connection:
            ids = await asyncio.to_thread(pile_up, installation, store, connection, valkey.url, EFFORT.backlog)
            held = await drain(installation, store, len(ids))
            assert {"processed": len(ids)} == outcomes(store)
            assert {} == broken(store, ids)
            assert held[-1] - held[0] <= GROWTH_MB_MAX, held
    finally:
        valkey.stop()
        postgresql.drop(name)


async def drain(installation: Installation, store: Store, count: int) -> list[float]:
    """Let a worker take everything off, and give what it held in memory after each tenth of it."""
    held: list[float] = []
    async with installation.up("work"):
        (worker,) = running(installation, "worker.cli work")
        began, waiting = time.monotonic(), count
        while waiting:
            looked = time.monotonic()
            waiting = await asyncio.to_thread(left, store)
            while waiting <= count * (9 - len(held)) / 10:
                held.append(resident_mb(worker))
                say(count - waiting, time.monotonic() - began, held[-1])
            await asyncio.sleep(max(LOOK_SECONDS, REST * (time.monotonic() - looked)))
    return held


def say(done: int, seconds: float, held_mb: float) -> None:
    """Print how far it is: of a million, somebody wants to know."""
    rate = done / seconds
    print(f"\n{done:,} drained in {seconds:.0f} s, {rate:.0f}/s; {held_mb:.1f} MB held", end="", flush=True)  # noqa: T201 - as above
