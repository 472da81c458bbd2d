"""Every metric of the contract, read from a real scrape of a running system in which all of it happened.

What may be asserted: samples of `/metrics`, of an endpoint and of workers that were started apart.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.e2e.watching import Night, Scraped, fall, recover, working
from worker.simulator.stories import ALL

pytestmark = [pytest.mark.e2e, pytest.mark.crash, pytest.mark.asyncio(loop_scope="module")]

RECEIVED = ("accepted", "duplicate", "malformed", "unauthentic", "wrong_app", "too_large", "unavailable")
TIMED = ("verify_seconds", "accept_seconds", "process_seconds", "receive_to_effect_seconds")


@dataclass(frozen=True)
class Seen:
    """What was scraped: before any worker came, while the backend was away, and in the end."""

    night: Night
    waiting: Scraped
    failing: Scraped
    done: Scraped


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory) -> AsyncIterator[Seen]:
    """Live through the night once."""
    async with fall(tmp_path_factory.mktemp("night")) as night:
        await night.sell_and_refund(1)
        await night.refuse()
        waiting = await night.scrape(night.installation.url)
        async with working(night):
            failing = await night.scrape_until(lambda now: now.sum("clawback_subscriber_failing_seconds") > 0)
            recover(night)
            await night.puzzle()
            done = await night.scrape_until(lambda now: now.sum("clawback_delivery_lag_seconds_count") > 0)
            yield Seen(night, waiting, failing, done)


@pytest.mark.parametrize("outcome", RECEIVED)
async def test_each_outcome_at_the_door_is_counted(seen: Seen, outcome: str):
    """`clawback_notifications_total` has a count of each outcome."""
    assert 0 < seen.done.sum("clawback_notifications_total", outcome=outcome, platform="stripe", app="demo")


@pytest.mark.parametrize("status", ["processed", "ignored", "quarantined"])
async def test_each_end_is_counted(seen: Seen, status: str):
    """`clawback_notifications_processed_total` has a count of each status that a notification ends with."""
    assert 0 < seen.done.sum("clawback_notifications_processed_total", status=status, platform="stripe")


@pytest.mark.parametrize("platform", ALL)
@pytest.mark.parametrize("name", TIMED)
async def test_each_station_is_timed(seen: Seen, name: str, platform: str):
    """Each histogram has the notifications of each platform, and the time that they took."""
    assert 1 < seen.done.sum(f"clawback_{name}_count", platform=platform)
    assert 0 < seen.done.sum(f"clawback_{name}_sum", platform=platform)


async def test_what_waits_is_seen(seen: Seen):
    """With no worker, what was accepted is pending and ages, and its hints are ready in the queue and age."""
    accepted = seen.waiting.sum("clawback_notifications_total", outcome="accepted")

    assert [accepted] == seen.waiting.of("clawback_inbox_pending")
    assert 0 < seen.waiting.sum("clawback_inbox_oldest_seconds")
    assert 0 < seen.waiting.sum("clawback_queue_messages", queue="notifications", state="ready")
    assert 0 < seen.waiting.sum("clawback_queue_oldest_seconds", queue="notifications")
    assert [0, 0] == [*seen.done.of("clawback_inbox_pending"), *seen.done.of("clawback_inbox_oldest_seconds")]


async def test_every_state_of_every_queue_is_told(seen: Seen):
    """`clawback_queue_messages` has each queue in each state."""
    for queue in ("notifications", "deliveries"):
        for state in ("ready", "delayed", "in_flight", "dead"):
            assert 1 == len(seen.done.of("clawback_queue_messages", queue=queue, state=state))


async def test_what_needs_a_person_is_seen(seen: Seen):
    """What was not understood and what failed too often is there until somebody looked."""
    assert 1 == seen.done.sum("clawback_dead")
    assert 0 < seen.done.sum("clawback_quarantined")


async def test_a_subscriber_that_is_away_is_seen(seen: Seen):
    """Its backlog, its failed attempts and how long it has failed are there; what arrives later is timed as late."""
    assert 0 < seen.failing.sum("clawback_subscriber_backlog")
    assert 0 < seen.failing.sum("clawback_deliveries_total", outcome="failed")
    assert 0 < seen.done.sum("clawback_deliveries_total", outcome="delivered")
    assert 0 < seen.done.sum("clawback_delivery_lag_seconds_sum")


async def test_the_age_of_each_platform_is_told(seen: Seen):
    """`clawback_platform_age_seconds` is the time since the last authentic notification of each."""
    for platform in ALL:
        assert 0 < seen.done.sum("clawback_platform_age_seconds", platform=platform, app="demo") < 3600


@pytest.mark.parametrize("change", ["granted", "revoked"])
async def test_each_change_is_counted(seen: Seen, change: str):
    """`clawback_entitlement_changes_total` counts by event type."""
    assert 0 < seen.done.sum("clawback_entitlement_changes_total", type=f"entitlement.{change}")


async def test_received_is_ended_and_in_flight(seen: Seen):
    """At any moment, with workers or without, each notification that was accepted has ended or is in flight, once."""
    for now in (seen.waiting, seen.failing, seen.done):
        accounted = now.sum("clawback_notifications_ended_total") + now.sum("clawback_notifications_in_flight")
        assert 0 < now.sum("clawback_notifications_total", outcome="accepted") == accounted
    assert 0 == seen.waiting.sum("clawback_notifications_ended_total")
    assert 0 == seen.done.sum("clawback_notifications_ended_total", status="lost")


async def test_endpoint_and_workers_tell_nothing_twice(seen: Seen):
    """What is the same everywhere is told by the endpoint alone; whichever worker is asked answers for all of them."""
    workers = [await seen.night.scrape(seen.night.work_url) for _ in range(6)]

    assert {0} == {len(scraped.of("clawback_inbox_pending")) for scraped in workers}
    done = {scraped.sum("clawback_notifications_processed_total") for scraped in workers}
    assert {seen.done.sum("clawback_notifications_processed_total")} == done
    assert 0 == workers[0].sum("clawback_notifications_total")


async def test_received_is_applied_also_after_workers_were_killed(seen: Seen):
    """What killed workers had counted stays counted: in the end as many were finished as were accepted."""
    night = seen.night
    for seed in (2, 3):
        await night.kill_workers()
        await night.sell_and_refund(seed)
    now = await night.scrape_until(lambda now: not now.sum("clawback_inbox_pending"))

    ends = ("processed", "ignored", "quarantined", "dead")
    finished = sum(now.sum("clawback_notifications_processed_total", status=status) for status in ends)
    assert now.sum("clawback_notifications_total", outcome="accepted") == finished
    files = sorted(file.name for file in (night.installation.home / "metrics-work").iterdir())
    assert 6 == len(files), files
