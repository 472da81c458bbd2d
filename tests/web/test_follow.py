"""Received = ended + in flight, at every moment, and what the store lost is noticed.

Real: the follower, inbox and processing on a store, counts of processes through files. Double: the queue.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from structlog.testing import capture_logs

from tests.worker.desk import Desk, arrival, desk
from tests.worker.stripe_events import charge
from worker.inbox import Accepted, Inbox
from worker.metrics import ENDED
from worker.process import process
from worker.store.tables import notifications
from worker.web.follow import Follower
from worker.web.tally import Tally

SET_UP = """
from prometheus_client import CollectorRegistry
from config.settings import Settings
from worker.metrics import Metrics, begin_at_zero, share_counts
share_counts()
metrics = Metrics(CollectorRegistry())
begin_at_zero(metrics, Settings.model_validate({"apps": {"acme": {"stripe": {"webhook_secrets": ["whsec_x"]}}}}))
"""
TAKE = "\nmetrics.in_flight.labels('stripe').inc(3)\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
SCRAPE = """
from prometheus_client import CollectorRegistry, generate_latest
from worker.metrics import shared_registry
print(generate_latest(shared_registry(CollectorRegistry())).decode())
"""


@pytest.fixture(name="tally")
async def _tally() -> Tally:
    return Tally()


@pytest.fixture(name="follower")
async def _follower(at: Desk, tally: Tally) -> Follower:
    return Follower(at.runtime, tally, open_max=4)


async def accept(at: Desk, follower: Follower, *numbers: int) -> list[str]:
    """Have the inbox take charges, and the follower all that it says of them."""
    box = Inbox(at.store, at.queue)
    taken = [await box.accept(arrival(number, "charge.succeeded", charge(str(number)))) for number in numbers]
    for one in taken:
        follower.take(one, "stripe")
    return [one.id for one in taken]


def ended(at: Desk, tally: Tally) -> Mapping[str, float]:
    """Read what was counted: every end there is, and what is in flight."""
    tally.write()
    sample = at.runtime.metrics.registry.get_sample_value
    counts = {
        end: sample("clawback_notifications_ended_total", {"platform": "stripe", "status": end}) or 0 for end in ENDED
    }
    in_flight = sample("clawback_notifications_in_flight", {"platform": "stripe"}) or 0
    return {name: count for name, count in {**counts, "in_flight": in_flight}.items() if count}


async def test_each_end_is_counted_once(at: Desk, follower: Follower, tally: Tally):
    """What is accepted is in flight until it ends, then under its end, however often one looks or it is replayed."""
    ids = await accept(at, follower, 1, 2, 3)
    await follower.look()
    assert {"in_flight": 3} == ended(at, tally)

    process(at.runtime, ids[:2])
    with at.store.write() as connection:
        connection.execute(update(notifications).where(notifications.c.id == ids[1]).values(status="dead"))
    for _ in range(2):
        await follower.look()
        assert {"processed": 1, "dead": 1, "in_flight": 1} == ended(at, tally)


async def test_a_repetition_is_not_followed_again(at: Desk, follower: Follower, tally: Tally):
    """A platform that repeats itself is counted as a duplicate at the door, and no more than that."""
    await accept(at, follower, 1, 1, 1)

    assert {"in_flight": 1} == ended(at, tally)


async def test_what_the_store_lost_is_counted_and_named(at: Desk, follower: Follower, tally: Tally):
    """A row that is gone, as after a fail-over to a copy that was behind, is lost: counted once, and logged."""
    ids = await accept(at, follower, 1, 2)
    with at.store.write() as connection:
        connection.execute(delete(notifications).where(notifications.c.id == ids[0]))
    with capture_logs() as lines:
        await follower.look()
        await follower.look()

    assert {"lost": 1, "in_flight": 1} == ended(at, tally)
    assert [("follow.lost", [ids[0]])] == [(line["event"], line["notifications"]) for line in lines]


async def test_no_more_are_followed_than_memory_allows(at: Desk, follower: Follower, tally: Tally):
    """Beyond the bound they are taken and counted all the same, as unfollowed; who ends makes room."""
    ids = await accept(at, follower, 1, 2, 3, 4, 5, 6)
    assert {"in_flight": 4, "unfollowed": 2} == ended(at, tally)

    process(at.runtime, ids[:1])
    await follower.look()
    await accept(at, follower, 7, 8)
    assert {"processed": 1, "in_flight": 4, "unfollowed": 3} == ended(at, tally)


async def test_a_store_that_is_away_has_lost_nothing(tmp_path: Path, tally: Tally):
    """While nobody can be asked, nothing is counted, not even at the end of the process: only what it had followed."""
    with desk(tmp_path) as at:
        follower = Follower(at.runtime, tally)
        follower.take(Accepted("ntf_1", duplicate=False), "stripe")
        at.store.close()
        (tmp_path / "clawback.db").rename(tmp_path / "away.db")
        (tmp_path / "clawback.db").mkdir()
        await follower.close()

        assert {"unfollowed": 1} == ended(at, tally)


async def test_what_was_not_seen_to_end_is_given_up_with_the_process(at: Desk, follower: Follower, tally: Tally):
    """At a stop one looks once more; the rest is unfollowed, so that the sum is right."""
    ids = await accept(at, follower, 1, 2)
    process(at.runtime, ids[:1])
    await follower.close()

    assert {"processed": 1, "unfollowed": 1} == ended(at, tally)


async def test_it_looks_by_itself(at: Desk, tally: Tally):
    """Once begun, ends are noticed without anybody asking."""
    follower = Follower(at.runtime, tally, every_seconds=0.01)
    follower.begin()
    ids = await accept(at, follower, 1)
    process(at.runtime, ids)
    while "processed" not in ended(at, tally):  # noqa: ASYNC110 - another task's news
        await asyncio.sleep(0.01)
    await follower.close()

    assert {"processed": 1} == ended(at, tally)


def test_who_is_killed_leaves_a_right_sum(tmp_path: Path):
    """Whoever is started under the name of a process that was killed gives up what that one had followed."""
    python(SET_UP + TAKE, tmp_path)
    python(SET_UP, tmp_path)
    scraped = python(SCRAPE, tmp_path)

    assert 'clawback_notifications_ended_total{platform="stripe",status="unfollowed"} 3.0' in scraped
    assert 'clawback_notifications_in_flight{platform="stripe"} 0.0' in scraped


def python(source: str, directory: Path) -> str:
    """Run a program as a named process that shares its counts."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory), "PROMETHEUS_MULTIPROC_NAME": "h-1-serve"}
    done = subprocess.run(
        [sys.executable, "-c", source], check=False, capture_output=True, env=environment, text=True, timeout=60
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout
