"""The database is restarted, cuts its connections, or is full: 503 and Retry-After, and all is well again by itself.

Real: every process, PostgreSQL and its crash, SQLite, a small file system that is full, the broker, the signatures, the
app's backend. Doubles: none. What may be asserted: what platforms are answered, rows, events, what arrived at the
backend; never when, beyond a deadline.
"""

import asyncio
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.clusters import Cluster
from tests.crash.burst import count, pour, sign_burst, tell_all
from tests.crash.figures import fault
from tests.crash.house import House, open_house
from tests.crash.judge import judge
from tests.e2e.running import until
from tests.effort import thorough
from worker.demo.trust import APP
from worker.simulator.sale import Shot

pytestmark = [pytest.mark.crash, pytest.mark.e2e]

MANY = 120
DISK_BYTES = 24 * 1024 * 1024
CUT = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'clawback'"


@pytest.mark.asyncio(loop_scope="session")
async def test_connections_cut(on_postgresql: House, postgresql: Cluster):
    """Whoever loses its connection in the middle has changed nothing, and tries again on another one."""
    house = on_postgresql
    burst = sign_burst(house.installation, notifications=MANY, seed=31)
    await tell_all(house.service, burst)
    before = count(house.store, "processed")
    pouring = asyncio.create_task(pour(house.service, burst.shots))
    for share in (5, 30, 60):
        assert await until(partial(through, house, before + share), every_seconds=0.005)
        with postgresql.connect() as connection:
            fault("connections of PostgreSQL cut", sum(row[0] for row in connection.execute(CUT)))
        house.store.close()  # the judge's own were among them

    await judge(house, burst, await pouring)


def through(house: House, wanted: int) -> bool:
    """Tell whether so many are processed."""
    return count(house.store, "processed") >= wanted


@thorough
async def test_restarted(tmp_path: Path):
    """A crash of PostgreSQL in the middle of traffic: 503 with Retry-After while it is away, and nothing is lost."""
    cluster = Cluster.create()
    try:
        async with open_house(tmp_path, cluster) as house:
            burst = sign_burst(house.installation, notifications=MANY, seed=32)
            await tell_all(house.service, burst)
            pouring = asyncio.create_task(pour(house.service, burst.shots[:-1]))
            assert await until(lambda: count(house.store, "processed") >= 10, every_seconds=0.005)
            await asyncio.to_thread(cluster.stop, mode="immediate")
            fault("PostgreSQL crashed")
            await assert_refused(house, burst.shots[-1:])
            await asyncio.to_thread(cluster.start)

            await judge(house, burst, await pouring | await pour(house.service, burst.shots[-1:]))
    finally:
        cluster.remove()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=thorough)])
async def test_disk_full(tmp_path: Path, kind: str):
    """What cannot be stored gets 503 with Retry-After; once there is room, all goes on without a restart."""
    with small_disk() as disk:
        async with on_disk(kind, tmp_path, disk) as house:
            burst = sign_burst(house.installation, notifications=2 * MANY, seed=33)
            before, during, last = burst.shots[: MANY // 2], burst.shots[MANY // 2 : MANY], burst.shots[MANY:]
            await tell_all(house.service, burst)
            taken = await pour(house.service, before)
            leave_no_room(disk)
            fault("disk full")
            pouring = asyncio.create_task(pour(house.service, during))
            await assert_refused(house, last[:20])
            (disk / "ballast").unlink()

            taken |= await pouring
            await judge(house, burst, taken | await pour(house.service, last))


async def assert_refused(house: House, shots: Sequence[tuple[str, Shot]]) -> None:
    """What is not taken of these is answered 503, with the time after which to come again.

    There may be room for some, and what is stored is answered 200 for ever: each is another one.
    """
    refused = 0
    for platform, shot in shots:
        address = f"{house.installation.url}/webhooks/{platform}/{APP}"
        async with house.service.http.post(address, data=shot.body, headers=dict(shot.headers)) as response:
            if response.status != 200:
                assert (503, True) == (response.status, int(response.headers["Retry-After"]) > 0)
                refused += 1
    assert refused, "it goes on storing"


@contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a small file system, which only root may, where others may enter."""
    place = Path(tempfile.mkdtemp(prefix="clawback-disk-"))
    place.chmod(0o755)
    options = f"size={DISK_BYTES},mode=0755"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, check=False)
    try:
        if mounted.returncode != 0:
            pytest.skip("only root may mount a small disk")
        yield place
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "--lazy", place], check=True)
        place.rmdir()


def leave_no_room(disk: Path) -> None:
    """Take all the room there is, and what SQLite's log would write over without asking for more."""
    if (file := disk / "clawback.db").exists():
        with closing(sqlite3.connect(file, timeout=30)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fill(disk / "ballast")


def fill(ballast: Path) -> None:
    """Take all the room there is."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@asynccontextmanager
async def on_disk(kind: str, directory: Path, disk: Path) -> AsyncIterator[House]:
    """Run everything with SQLite's file on a disk, or the tables of PostgreSQL."""
    if kind == "sqlite":
        async with open_house(
            directory, environment={"CLAWBACK_STORE__URL": f"sqlite:///{disk / 'clawback.db'}"}
        ) as house:
            yield house
        return
    cluster = Cluster.create()
    try:
        tables = disk / "tables"
        tables.mkdir()
        shutil.chown(tables, *owner(cluster.home))
        with cluster.connect() as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{tables}'")
        async with open_house(directory, cluster, tablespace="small") as house:
            yield house
    finally:
        cluster.remove()


def owner(path: Path) -> tuple[int, int]:
    """Tell whose it is."""
    found = path.stat()
    return found.st_uid, found.st_gid
