"""Accepting while one commit follows the other: the event loop itself speaks to PostgreSQL, and waits for nobody.

Real: inbox, store on PostgreSQL, its server, and a broker where it matters; else the queue is a double. What holds
wherever it is stored is in `test_inbox.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from tests.clusters import Cluster
from tests.services import on_valkey, valkey
from tests.worker.desk import Desk, arrival, desk
from worker.broker import make_broker, queue_depths
from worker.inbox import BATCH_BYTES_MAX, Accepted, Inbox
from worker.queue import BrokerQueue
from worker.store import tables
from worker.store.engine import StoreUnavailable
from worker.store.kept import NotAtHand

__all__ = ["on_valkey", "valkey"]

END = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
BLOCKED_SECONDS_MAX = 20.0


@pytest.fixture(name="at")
def _at(tmp_path: Path, emptied: str) -> Iterator[Desk]:
    with desk(tmp_path, url=emptied) as opened:
        yield opened


@pytest.fixture(name="inbox")
async def _inbox(at: Desk) -> AsyncIterator[Inbox]:
    """Open an inbox that has a connection at hand, for longer than a test takes."""
    inbox = Inbox(at.store, at.queue, rest_seconds=600)
    await inbox.accept(arrival("first"))
    yield inbox
    await inbox.close()


def stored(at: Desk) -> set[str]:
    """Read the ids of everything that is stored, but the first."""
    return {row["id"] for row in at.rows(tables.notifications)} - {arrival("first").id}


@asynccontextmanager
async def held_up(at: Desk, inbox: Inbox, postgresql: Cluster) -> AsyncIterator[tuple[asyncio.Task[Accepted], Any]]:
    """Let an insert wait for a lock; give who waits for it, and the connection that holds the lock."""
    async with asyncio.timeout(BLOCKED_SECONDS_MAX):
        with closing(postgresql.connect(_database(at))) as other:
            other.autocommit = False
            other.execute("LOCK TABLE notifications IN EXCLUSIVE MODE")
            waiting = asyncio.create_task(inbox.accept(arrival(1)))
            await _blocked(at, postgresql)
            yield waiting, other


async def test_others_are_served_while_postgresql_writes(at: Desk, inbox: Inbox, postgresql: Cluster):
    """A commit that takes its time holds up whoever waits for it, and not the loop."""
    async with held_up(at, inbox, postgresql) as (waiting, other):
        assert not waiting.done()
        other.rollback()
        assert Accepted(arrival(1).id, duplicate=False) == await waiting


async def test_a_connection_that_dies_in_the_middle_is_an_outage_once(at: Desk, inbox: Inbox, postgresql: Cluster):
    """Whoever waited hears 503, nothing is stored, and the next one has a connection that lives."""
    async with held_up(at, inbox, postgresql) as (waiting, _):
        with postgresql.connect() as third:
            third.execute(END, [_database(at)])
        with pytest.raises(StoreUnavailable):
            await waiting
    assert set() == stored(at)

    await inbox.accept(arrival(2))
    assert {arrival(2).id} == stored(at)


async def test_a_connection_that_died_before_costs_nothing(at: Desk, inbox: Inbox, postgresql: Cluster):
    """A server that ended it meanwhile is asked for another."""
    with postgresql.connect() as other:
        other.execute(END, [_database(at)])

    await inbox.accept(arrival(1))
    await inbox.accept(arrival(2))

    assert {arrival(1).id, arrival(2).id} == stored(at)


async def test_an_impossible_row_harms_no_neighbor(at: Desk, inbox: Inbox):
    """Of a batch with a row that PostgreSQL cannot hold the others are stored; that one alone hears 503."""
    impossible = arrival(1)
    impossible = replace(impossible, identity=replace(impossible.identity, occurred_at_ms=2**70))
    good = [arrival(2), arrival(3)]
    answers = await asyncio.gather(*map(inbox.accept, [good[0], impossible, good[1]]), return_exceptions=True)

    assert isinstance(answers[1], StoreUnavailable)
    assert {each.id for each in good} == stored(at)


async def test_a_repetition_is_told_and_hinted_at_again(at: Desk, inbox: Inbox):
    """Repeated within a batch and after it, a notification is one row; while nobody worked on it, it is hinted at."""
    at.queue.notifications.clear()
    together = await asyncio.gather(*(inbox.accept(arrival(1)) for _ in range(2)))
    later = await inbox.accept(arrival(1))

    assert [False, True, True] == [answer.duplicate for answer in (*together, later)]
    assert [arrival(1).id] * 2 == at.queue.notifications


async def test_one_commit_after_the_other_takes_no_thread(at: Desk, on_valkey: Settings):
    """Once connections are at hand, what is new is stored and hinted at by the loop alone, and all of it is there."""
    queue = BrokerQueue(make_broker(on_valkey))
    inbox = Inbox(at.store, queue, rest_seconds=600)
    await inbox.accept(arrival("first"))
    with closing(_NoThread()) as none:
        asyncio.get_running_loop().set_default_executor(none)
        for start in range(0, 30, 10):
            await asyncio.gather(*map(inbox.accept, map(arrival, range(start, start + 10))))
    await inbox.close()

    hinted = queue_depths(queue.broker, 0.0)[0].messages["ready"]
    assert (30, 4) == (len(stored(at)), hinted)
    queue.close()


@pytest.mark.parametrize("away", ["silent", "gone", "forgetful"])
async def test_a_broker_that_fails_refuses_nobody(at: Desk, on_valkey: Settings, away: str):
    """A broker that says nothing, closed the connection or knows no script costs at most a hint, and no 200."""
    queue = BrokerQueue(make_broker(on_valkey))
    inbox = Inbox(at.store, queue, rest_seconds=600)
    await inbox.accept(arrival("first"))
    client: Any = queue.broker.client
    if away == "silent":
        client.client_pause(2_500)
    elif away == "gone":
        client.client_kill_filter(_type="normal", skipme=True)
    else:
        client.script_flush()

    assert Accepted(arrival(1).id, duplicate=False) == await inbox.accept(arrival(1))
    await inbox.close()
    queue.close()


@pytest.mark.parametrize("size", [10_000, BATCH_BYTES_MAX // 50])
async def test_what_does_not_leave_at_once_is_stored_whole(at: Desk, inbox: Inbox, size: int):
    """More than a socket takes at once is stored as it came; so is what would keep the loop too long."""
    large = [replace(arrival(number), body=bytes([number]) * size) for number in range(100)]
    await asyncio.gather(*map(inbox.accept, large))

    assert {each.id: each.body for each in large} == {
        row["id"]: row["body"] for row in at.rows(tables.notifications) if row["id"] in stored(at)
    }


async def test_a_loop_is_given_no_connection_that_it_would_wait_for(at: Desk):
    """Where none is kept, one has to be taken, and that is a thread's."""
    kept = at.store.keep(lambda: False)
    with pytest.raises(NotAtHand), at.store.write_from_loop(kept):
        pass


class _NoThread(ThreadPoolExecutor):
    """An executor for whoever must not need one."""

    def submit(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a thread was asked for")

    def close(self) -> None:
        """End it."""
        self.shutdown()


def _database(at: Desk) -> str:
    return at.store.url.rpartition("/")[2]


async def _blocked(at: Desk, postgresql: Cluster) -> None:
    """Wait until PostgreSQL has an insert that waits for a lock."""
    with postgresql.connect() as looking:
        while looking.execute(BLOCKED, [_database(at)]).fetchone() == (0,):  # noqa: ASYNC110 - another server's news
            await asyncio.sleep(0.01)
