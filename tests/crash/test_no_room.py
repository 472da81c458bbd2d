"""The disk under the whole data directory is full: log, shared counts, broker and SQLite. Everybody is answered.

Real: every process, a small file system that is full, the broker, both databases, the signatures, the app's backend,
SIGKILL. Doubles: none. What may be asserted: what platforms are answered and that they are, which processes are there,
what is logged, rows, events, what arrived at the backend; never when, beyond a deadline.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import Cluster
from tests.crash.burst import kill, pour, sign_burst, tell_all
from tests.crash.figures import TOTAL, fault
from tests.crash.house import House, open_house
from tests.crash.judge import judge
from tests.crash.test_database import fill, small_disk
from tests.effort import thorough
from worker.demo.trust import APP
from worker.simulator.sale import Shot

pytestmark = [pytest.mark.crash, pytest.mark.e2e]

MANY = 200
ANSWER_SECONDS_MAX = 20.0
"""A platform hangs up at some time; who is answered sooner knows when to come again."""
REFUSALS = 100
"""So many lines of the log have no room in a page of a file, nor in a stream's buffer."""
COUNT = """
import signal, sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from worker.metrics import Metrics, share_counts
share_counts()
metrics = Metrics(CollectorRegistry())
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    metrics.notifications.labels("stripe", f"app-{number}", "accepted").inc()
print("counted", flush=True)
"""


@pytest.fixture(name="disk")
def _disk() -> Iterator[Path]:
    with small_disk() as found:
        yield found


async def test_no_room_for_anything(disk: Path):
    """Everybody gets 503 with Retry-After at once, whatever was to be logged or counted; with room, all goes on."""
    async with open_house(disk) as house:
        burst = sign_burst(house.installation, notifications=MANY, seed=34)
        await tell_all(house.service, burst)
        shots = list(burst.shots)
        taken = await pour(house.service, [shots.pop() for _ in range(MANY // 10)])
        before = house.installation.processes()
        fill(disk / "ballast")
        fault("disk full under everything")
        refused = await refuse(house, shots, taken)
        assert 401 == await status_of(house, "/v1/refunds", "Bearer of a token that is none")
        assert 200 == await status_of(house, "/metrics")
        assert 200 == await status_of(house, "/readyz"), "it asks for what can be read"
        assert before == house.installation.processes(), "somebody died of it"
        await kill(house.installation, "work")
        fault("work killed while the disk was full")
        (disk / "ballast").unlink()

        taken |= await pour(house.service, shots)
        assert REFUSALS == refused
        await judge(house, burst, taken)
        # Of a line that several processes tore, there is half: this is read as text.
        assert '"event": "log.missed"' in house.installation.log.read_text("utf-8", errors="replace")


@thorough
async def test_no_room_beside_the_database(disk: Path, postgresql: Cluster):
    """Where the database has room every platform gets its 200, though nothing can be logged, counted or hinted at."""
    async with open_house(disk, postgresql) as house:
        burst = sign_burst(house.installation, notifications=MANY, seed=35)
        await tell_all(house.service, burst)
        before = house.installation.processes()
        fill(disk / "ballast")
        fault("disk full beside the database")
        taken = await pour(house.service, burst.shots)
        assert {0} == set(taken.values())
        assert before == house.installation.processes(), "somebody died of it"
        (disk / "ballast").unlink()

        await judge(house, burst, taken)


async def refuse(house: House, shots: list[tuple[str, Shot]], taken: dict[str, int]) -> int:
    """Send one after the other until so many were refused as are to be; give how many were."""
    refused = 0
    while refused < REFUSALS:
        assert shots, "it goes on storing"
        platform, shot = shots[-1]
        address = f"{house.installation.url}/webhooks/{platform}/{APP}"
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            async with house.service.http.post(address, data=shot.body, headers=dict(shot.headers)) as response:
                told = await response.json()
        if response.status == 200:  # there was a little room left
            shots.pop()
            taken[told["id"]] = 0
            continue
        assert (503, True) == (response.status, int(response.headers["Retry-After"]) > 0)
        refused += 1
    TOTAL.refused += refused
    return refused


async def status_of(house: House, path: str, authorization: str | None = None) -> int:
    """Ask, with a token or another, and tell how that is answered."""
    headers = {"Authorization": authorization} if authorization else {}
    async with house.service.http.get(f"{house.installation.url}{path}", headers=headers) as response:
        return response.status


def test_counts_took_their_room_at_the_start(disk: Path):
    """A process counts on when the disk is full, and is not ended by SIGBUS; one that starts then says why not."""
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(disk)}
    command = [sys.executable, "-c", COUNT]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert "ready\n" == process.stdout.readline()
        fill(disk / "ballast")
        process.stdin.write("\n")
        process.stdin.flush()
        assert "counted\n" == process.stdout.readline()
    assert 0 == process.returncode

    late = subprocess.run(command, env=environment, input="\n", capture_output=True, text=True, timeout=60, check=False)
    assert "NoRoom: there is no room for" in late.stderr
