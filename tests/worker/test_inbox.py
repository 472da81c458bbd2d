"""Accepting notifications: durable, once, together.

Real: inbox, store on SQLite, its engine. Double: the queue. Asserted: rows, answers, and how many transactions there
were, as the engine itself tells.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import QueuePool, event, update
from sqlalchemy.exc import OperationalError

from tests.worker.desk import Desk, Statements, arrival, desk
from worker.inbox import BATCH_MAX, WAITING_MAX, Accepted, Arrival, Inbox
from worker.process import process
from worker.store import tables
from worker.store.engine import StoreUnavailable

REST_SECONDS_MAX = 10.0


@pytest.fixture(name="embedded")
def _embedded(tmp_path: Path) -> Iterator[Desk]:
    """Open a desk on SQLite: its file can be filled up, or taken away."""
    with desk(tmp_path) as opened:
        yield opened


@pytest.fixture(name="inbox")
def _inbox(at: Desk) -> Inbox:
    return Inbox(at.store, at.queue)


def ids_of(at: Desk) -> set[str]:
    """Read the ids of everything that is stored."""
    return {row["id"] for row in at.rows(tables.notifications)}


async def test_what_arrives_together_is_committed_together(at: Desk, inbox: Inbox):
    """Hundreds of requests of one moment share a handful of transactions and queue messages, and each its answer."""
    statements = Statements().watch(at.store)
    arrivals = [arrival(number) for number in range(2 * BATCH_MAX)]
    answers = await asyncio.gather(*map(inbox.accept, arrivals))

    assert [Accepted(each.id, duplicate=False) for each in arrivals] == answers
    assert 2 * BATCH_MAX == len(ids_of(at))
    assert statements.commits <= 3
    assert {each.id for each in arrivals} == set(at.queue.notifications)


async def test_an_inbox_at_rest_holds_no_connection(at: Desk, inbox: Inbox):
    """What is kept while one commit follows the other is everybody's again soon after all have their answer."""
    out: list[int] = []
    given_back, loop = asyncio.Event(), asyncio.get_running_loop()
    event.listen(at.store.engine, "checkin", lambda *_: loop.call_soon_threadsafe(given_back.set))
    pool = at.store.engine.pool
    assert isinstance(pool, QueuePool)
    event.listen(at.store.engine, "checkout", lambda *_: out.append(pool.checkedout()))
    await asyncio.gather(*map(inbox.accept, map(arrival, range(2 * BATCH_MAX))))
    async with asyncio.timeout(REST_SECONDS_MAX):
        while pool.checkedout():
            await given_back.wait()
            given_back.clear()

    assert {1} == set(out)


async def test_an_idle_inbox_commits_at_once(at: Desk, inbox: Inbox):
    """One request alone waits for nobody."""
    statements = Statements().watch(at.store)
    await inbox.accept(arrival(1))

    assert 1 == statements.commits


async def test_a_repetition_is_answered_and_not_stored(at: Desk, inbox: Inbox):
    """The same notification within one batch, and again once it is done, is one row and one hint; each is told."""
    together = await asyncio.gather(*(inbox.accept(arrival(1)) for _ in range(3)), inbox.accept(arrival(2)))
    process(at.runtime, [arrival(1).id])
    later = await inbox.accept(arrival(1))

    assert [False, True, True, False, True] == [answer.duplicate for answer in (*together, later)]
    assert 2 == len(ids_of(at)) == len(at.queue.notifications)


async def test_a_repetition_of_what_nobody_worked_on_is_hinted_at_again(at: Desk, inbox: Inbox):
    """Who stored it may have died before the hint: a repetition stands in for it, while nobody tried to process it."""
    # It was swallowed: answered as a duplicate, and left to the sweeper, which looks ten seconds later.
    at.queue.away = True
    await inbox.accept(arrival(1))
    at.queue.away = False
    repeated = await inbox.accept(arrival(1))

    assert repeated.duplicate
    assert [arrival(1).id] == at.queue.notifications


async def test_a_repetition_hurries_nothing_that_failed(at: Desk, inbox: Inbox):
    """What failed is tried again at its own time: a platform that repeats itself must not use up its attempts."""
    await inbox.accept(arrival(1))
    with at.store.write() as connection:
        connection.execute(update(tables.notifications).values(attempts=1))
    await inbox.accept(arrival(1))

    assert [arrival(1).id] == at.queue.notifications


async def test_a_store_that_goes_away_after_the_commit_refuses_nobody(at: Desk, inbox: Inbox):
    """Whether a repetition was worked on is asked once it is safe: if that cannot be told, the answer is 200 anyway."""
    await inbox.accept(arrival(1))

    def broken(_connection: object, _cursor: object, text: str, *_: object) -> None:
        if "attempts = 0" in text:
            raise OperationalError(text, {}, OSError("gone"))

    event.listen(at.store.engine, "before_cursor_execute", broken)

    assert (await inbox.accept(arrival(1))).duplicate


async def test_two_processes_agree_on_who_was_first(at: Desk):
    """Two inboxes over one database are offered the same: each notification is new to exactly one of them."""
    doors = (Inbox(at.store, at.queue), Inbox(at.store, at.queue))
    offered = [(door, arrival(number)) for number in range(100) for door in doors]
    answers = await asyncio.gather(*(door.accept(each) for door, each in offered))

    assert 100 == sum(not answer.duplicate for answer in answers) == len(ids_of(at))


async def test_a_full_disk_stores_nothing_and_says_so_to_everyone(embedded: Desk):
    """When a commit fails everybody who waited for it hears 503, nothing is half stored, and the next one works."""
    pages = [1]
    inbox = Inbox(embedded.store, embedded.queue)
    event.listen(
        embedded.store.engine,
        "checkout",
        lambda connection, *_: connection.execute(f"PRAGMA max_page_count = {pages[0]}").close(),
    )
    large = [replace(arrival(number), body=bytes(10_000)) for number in range(50)]
    refused = await asyncio.gather(*map(inbox.accept, large), return_exceptions=True)

    assert {StoreUnavailable} == {type(answer) for answer in refused}
    assert set() == ids_of(embedded)
    assert [] == embedded.queue.notifications
    pages[0] = 1_000_000
    assert not (await inbox.accept(large[0])).duplicate


async def test_an_absent_database_is_unavailable(tmp_path: Path, embedded: Desk):
    """A database that cannot be opened makes nobody wait for ever."""
    directory = tmp_path / "there"
    embedded.store.close()
    (tmp_path / "clawback.db").rename(directory)
    (tmp_path / "clawback.db").mkdir()
    with pytest.raises(StoreUnavailable):
        await Inbox(embedded.store, embedded.queue).accept(arrival(1))


async def test_without_a_queue_it_is_accepted_all_the_same(at: Desk, inbox: Inbox):
    """The queue is a hint: while it is away notifications are stored and answered."""
    at.queue.away = True
    accepted = await inbox.accept(arrival(1))

    assert {accepted.id} == ids_of(at)
    assert "accepted" == at.rows(tables.notifications)[0]["status"]


async def test_a_row_that_the_database_cannot_hold_harms_no_neighbor(at: Desk, inbox: Inbox):
    """Of a batch with one impossible row the others are stored and answered; that one alone hears 503."""
    # Its neighbors were refused with it, and again with each of its repetitions.
    impossible = arrival(1)
    impossible = replace(impossible, identity=replace(impossible.identity, occurred_at_ms=2**70))
    good = [arrival(number) for number in range(2, 7)]
    answers = await asyncio.gather(*map(inbox.accept, [*good[:3], impossible, *good[3:]]), return_exceptions=True)

    assert isinstance(answers[3], StoreUnavailable)
    assert {each.id for each in good} == ids_of(at)
    assert [False] * 5 == [answer.duplicate for answer in answers if isinstance(answer, Accepted)]


async def test_a_client_that_hangs_up_loses_nothing(at: Desk, inbox: Inbox):
    """Whoever waited is gone; the notification is stored, and its neighbors are answered."""
    gone = asyncio.create_task(inbox.accept(arrival(1)))
    stays = asyncio.create_task(inbox.accept(arrival(2)))
    await asyncio.sleep(0)
    gone.cancel()
    await inbox.close()

    assert arrival(2).id == (await stays).id
    assert {arrival(1).id, arrival(2).id} == ids_of(at)
    assert gone.cancelled()


async def test_a_client_that_hangs_up_before_a_refusal_harms_nobody(at: Desk, inbox: Inbox):
    """Nobody is there to hear of the failed commit, and that is all."""
    impossible = arrival(1)
    impossible = replace(impossible, identity=replace(impossible.identity, occurred_at_ms=2**70))
    gone = asyncio.create_task(inbox.accept(impossible))
    await asyncio.sleep(0)
    gone.cancel()
    await inbox.close()

    assert set() == ids_of(at)


async def test_too_many_are_turned_away(at: Desk, inbox: Inbox):
    """What would only wait is refused at the door, and everyone else is served."""
    crowd = [arrival(number) for number in range(WAITING_MAX + 3)]
    answers = await asyncio.gather(*map(inbox.accept, crowd), return_exceptions=True)

    assert [StoreUnavailable] * 3 == [type(answer) for answer in answers[WAITING_MAX:]]
    assert WAITING_MAX == len(ids_of(at)) == sum(isinstance(answer, Accepted) for answer in answers)


async def test_closing_waits_for_everybody(at: Desk, inbox: Inbox):
    """A closing inbox answers all that it took; one that never had anything closes at once."""
    await inbox.close()
    waiting = [asyncio.create_task(inbox.accept(arrival(number))) for number in range(3)]
    await asyncio.sleep(0)
    await inbox.close()

    assert all(task.done() for task in waiting)
    assert 3 == len(ids_of(at))


async def test_a_row_says_everything_that_processing_needs(at: Desk, inbox: Inbox):
    """Body and headers are kept as they came, and the sweeper will look after the row if nobody finishes it."""
    said: Arrival = replace(arrival(1), headers={"x-goog-message-id": "7"})
    await inbox.accept(said)
    (row,) = at.rows(tables.notifications)

    assert (said.body, '{"x-goog-message-id": "7"}', "ping") == (row["body"], row["headers"], row["type"])
    assert 10_000 == row["retry_at_ms"] - row["received_at_ms"]
    assert ("accepted", 0, "production") == (row["status"], row["attempts"], row["environment"])
