"""Forgetting notifications that were finished long ago.

Real: both databases, inbox, processing, sweeper. Double: the queue and the clock.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import Settings
from config.settings import Store as Kept
from tests.worker.desk import SETTINGS, Desk, arrival, desk
from tests.worker.stripe_events import a_refunded_subscription
from worker.audit import check_fold
from worker.inbox import Inbox
from worker.process import process
from worker.store import inbox_retention, tables
from worker.sweeper import prune, tidy

DAY_SECONDS = 86_400
KEPT: Settings = SETTINGS.model_copy(update={"store": Kept(keep_notifications_days=30, keep_answers_hours=2)})
VIEWS = (tables.entries, tables.purchases, tables.refunds, tables.entitlements, tables.events, tables.deliveries)


@pytest.fixture(name="at")
def _at(tmp_path: Path, store_url: str) -> Iterator[Desk]:
    with desk(tmp_path, url=store_url, settings=KEPT) as opened:
        yield opened


async def accept(at: Desk, sale: str) -> list[str]:
    """Accept a story now; give the ids."""
    inbox, ids = Inbox(at.store, at.queue), []
    for number, (kind, subject) in enumerate(a_refunded_subscription(sale)):
        said = replace(arrival(f"{sale}_{number}", kind, subject), received_at=at.clock.now)
        ids.append((await inbox.accept(said)).id)
    return ids


def kept(at: Desk) -> set[str]:
    """Name the notifications that are there."""
    return {row["id"] for row in at.rows(tables.notifications)}


def change(at: Desk, id_: str, **values: object) -> None:
    """Have something else become of one."""
    with at.store.write() as connection:
        connection.execute(tables.notifications.update().where(tables.notifications.c.id == id_).values(**values))


async def test_what_was_finished_long_ago_goes(at: Desk):
    """Processed and ignored ones go once their days are over, from when they were finished; all else stays."""
    old = await accept(at, "1")
    process(at.runtime, old[:2])
    change(at, old[2], status="dead", finished_at_ms=1)
    at.clock.now += 20 * DAY_SECONDS
    new = await accept(at, "2")
    process(at.runtime, [*new, old[3]])
    at.clock.now += 15 * DAY_SECONDS

    assert not prune(at.runtime)
    assert {*old[2:], *new} == kept(at)
    with at.store.read() as connection:
        assert int((at.clock.now - 30 * DAY_SECONDS) * 1000) == inbox_retention.forgotten_ms(connection)


async def test_a_repetition_of_what_was_forgotten_changes_nothing(at: Desk):
    """A platform that repeats itself after all that time is told 200, and has said nothing new."""
    ids = await accept(at, "1")
    process(at.runtime, ids)
    before = [at.rows(table) for table in VIEWS]
    at.clock.now += 40 * DAY_SECONDS
    await accept(at, "2")
    prune(at.runtime)
    assert not kept(at) & set(ids)
    assert before == [at.rows(table) for table in VIEWS]
    assert () == check_fold(at.runtime).differing

    assert ids == await accept(at, "1")
    process(at.runtime, ids)
    assert before == [at.rows(table) for table in VIEWS]
    assert {"processed"} == {row["status"] for row in at.rows(tables.notifications) if row["id"] in ids}


async def test_the_newest_of_a_platform_stays(at: Desk):
    """However old it is: since when a platform is silent is known by it."""
    ids = await accept(at, "1")
    process(at.runtime, ids)
    change(at, ids[0], platform="apple")
    at.clock.now += 400 * DAY_SECONDS
    with at.store.write() as connection:
        connection.execute(
            tables.notifications.update()
            .where(tables.notifications.c.id == ids[3])
            .values(received_at_ms=tables.notifications.c.received_at_ms + 1)
        )

    prune(at.runtime)
    assert {ids[0], ids[3]} == kept(at)
    assert not prune(at.runtime)


async def test_a_batch_is_bounded_and_says_that_there_is_more(at: Desk):
    """One batch takes so many and no more."""
    ids = await accept(at, "1")
    process(at.runtime, ids)
    at.clock.now += 400 * DAY_SECONDS
    newest = await accept(at, "2")
    now_ms = int(at.clock.now * 1000)
    counts: list[int] = []
    after: int | None = 0
    with at.store.write() as connection:
        while after is not None:
            batch = inbox_retention.prune_notifications(connection, before_ms=now_ms, limit=3, after=after)
            counts.append(batch.notifications)
            after = batch.end

    assert [3, 1] == counts
    assert set(newest) == kept(at)


def test_answers_are_kept_as_long_as_the_configuration_says(at: Desk):
    """The first answer to a key goes once its hours are over, and not before."""
    hours_ago = [1, 3]
    with at.store.write() as connection:
        for hours in hours_ago:
            created_at_ms = int((at.clock.now - hours * 3600) * 1000)
            row = {"key": f"{hours} hours", "fingerprint": "", "created_at_ms": created_at_ms}
            connection.execute(tables.idempotency.insert().values(row))

    assert 1 == tidy(at.runtime)
    assert ["1 hours"] == [row["key"] for row in at.rows(tables.idempotency)]
