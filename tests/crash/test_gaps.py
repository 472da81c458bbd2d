"""At each gap between two stations: the process is killed there, or its connection is, and nothing is lost or doubled.

Real: every process, PostgreSQL, SQLite, the broker, the signatures, the app's backend, SIGKILL. A wire between them
holds one exact word (tests/crash/proxy.py), so that a process is killed just there. Doubles: none. What may be
asserted: rows, events, what arrived at the backend; never when, beyond a deadline.
"""

import asyncio
from typing import NamedTuple

import pytest

from tests.crash.burst import kill, pour, sign_burst, tell_all
from tests.crash.figures import fault
from tests.crash.house import House
from tests.crash.judge import judge
from tests.crash.proxy import Proxy
from tests.e2e.running import until
from tests.effort import thorough
from tests.worker.backend import ok

pytestmark = [pytest.mark.crash, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

ACCEPT = b'INSERT INTO "notifications"'
FETCH = b"SELECT id, app, platform, notification_id, type, body"
FINISH = b'UPDATE "notifications" SET'
COMMIT = b"COMMIT"
RECORD = b"INSERT INTO attempts"
ENQUEUE = b"\r\nenqueue\r\n"
ACKNOWLEDGE = b"\r\nack\r\n"

EACH = 8
"""Notifications of one test: a purchase and its refund on each of four platforms."""


class Gap(NamedTuple):
    """A place between two stations.

    Attributes:
        process: who is there.
        wire: to whom it speaks there: `database` or `broker`.
        words: what it says there last.
        answer: that is said and done, and only the answer is missing.
    """

    process: str
    wire: str
    words: tuple[bytes, ...]
    answer: bool = False


GAPS = {
    "after verify": Gap("serve", "database", (ACCEPT,)),
    "after the commit, before anybody knows": Gap("serve", "database", (ACCEPT,), answer=True),
    "after commit, before enqueue": Gap("serve", "broker", (ENQUEUE,)),
    "after enqueue, before 200": Gap("serve", "broker", (ENQUEUE,), answer=True),
    "after fetch, before decide": Gap("work", "database", (FETCH,), answer=True),
    "inside the commit": Gap("work", "database", (FINISH, COMMIT)),
    "after the commit, before the worker knows": Gap("work", "database", (FINISH, COMMIT), answer=True),
    "after commit, before ack": Gap("work", "broker", (ACKNOWLEDGE,)),
}
SHORT = ("after commit, before enqueue", "inside the commit", "after commit, before ack")
"""What a short run tries: the supervisor restarts what dies again and again a little later each time."""
PLACES = pytest.mark.parametrize(
    "gap", [pytest.param(gap, id=name, marks=[] if name in SHORT else thorough) for name, gap in GAPS.items()]
)


def wire_of(house: House, gap: Gap) -> Proxy:
    """Find the wire; SQLite has none to the database."""
    if gap.wire == "broker":
        return house.broker
    if house.database is None:
        pytest.skip("SQLite is in the process: it is killed at random moments in test_worker_killed.py")
    return house.database


@PLACES
async def test_killed_at_a_gap(wired: House, gap: Gap, request: pytest.FixtureRequest):
    """Who is killed between two stations has lost nothing, and whoever takes over repeats nothing."""
    burst = sign_burst(wired.installation, notifications=EACH, seed=hash_of(request))
    await tell_all(wired.service, burst)
    with wire_of(wired, gap).hold(*gap.words, answer=gap.answer) as hold:
        pouring = asyncio.create_task(pour(wired.service, burst.shots))
        assert await until(hold.reached.is_set)
        await kill(wired.installation, gap.process)
        fault(f"{gap.process} killed at a gap")

    await judge(wired, burst, await pouring)


@thorough
@PLACES
async def test_cut_off_at_a_gap(wired: House, gap: Gap, request: pytest.FixtureRequest):
    """Whose connection is lost between two stations, with what was said on it, goes on and makes it good."""
    burst = sign_burst(wired.installation, notifications=EACH, seed=hash_of(request))
    await tell_all(wired.service, burst)
    with wire_of(wired, gap).hold(*gap.words, answer=gap.answer) as hold:
        pouring = asyncio.create_task(pour(wired.service, burst.shots))
        assert await until(hold.reached.is_set)
        hold.drop()
        fault(f"connection to the {gap.wire} lost at a gap")

    await judge(wired, burst, await pouring)


@thorough
async def test_killed_between_a_delivery_and_its_record(wired: House, request: pytest.FixtureRequest):
    """What arrived and was not written down is sent again under the same id, once the claim of the dead has lapsed."""
    burst = sign_burst(wired.installation, notifications=EACH, seed=hash_of(request))
    await tell_all(wired.service, burst)
    heard = len(wired.backend.told)
    wired.backend.answer = wired.backend.hang
    try:
        taken = await pour(wired.service, burst.shots)
        assert await until(lambda: len(wired.backend.told) > heard)
        await kill(wired.installation, "work")
        fault("work killed between a delivery and its record")
    finally:
        wired.backend.answer = ok

    await judge(wired, burst, taken)
    ids = wired.backend.ids[heard:]
    assert len(set(ids)) < len(ids), "nothing was sent again"


def hash_of(request: pytest.FixtureRequest) -> int:
    """Make a seed of a test's name: each has customers of its own."""
    return int.from_bytes(request.node.name.encode()[-40:])
