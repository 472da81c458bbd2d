"""Several transactions at once on PostgreSQL: hold one open, let others run into it, and see who waits."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from schemas.entry import Entry
from schemas.resources import Event
from tests.handlers.entries import NOW_MS, acme
from tests.worker.desk import Desk, desk
from worker.commit import Bookkeeper

WAITING_SECONDS_MAX = 20.0


@pytest.fixture(name="at")
def open_on_postgresql(tmp_path: Path, emptied: str) -> Iterator[Desk]:
    """Open a desk where writers do not queue."""
    with desk(tmp_path, url=emptied) as opened:
        yield opened


@pytest.fixture(name="others")
def open_many() -> Iterator[ThreadPoolExecutor]:
    """Let others run beside the test."""
    with ThreadPoolExecutor(16) as pool:
        yield pool


def waits(at: Desk, *, count: int = 1) -> bool:
    """Wait until so many transactions wait for a lock; no sleeping for luck, the server is asked."""
    deadline = time.monotonic() + WAITING_SECONDS_MAX
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while time.monotonic() < deadline:
        with at.store.read() as connection:
            if connection.execute(waiting).scalar_one() >= count:
                return True
    return False


def say(at: Desk, entries: list[Entry], before_commit: Callable[[], object] = bool) -> list[Event]:
    """Tell the ledger in one transaction, as processing does."""

    def change(connection: Connection) -> list[Event]:
        keeper = Bookkeeper(connection, entries, now_ms=NOW_MS)
        for each in entries:
            keeper.tell([each], acme())
        keeper.write()
        before_commit()
        return keeper.events

    return at.store.change(change)


@contextmanager
def held(at: Desk, entries: list[Entry], others: ThreadPoolExecutor) -> Iterator[Callable[[], list[Event]]]:
    """Hold a transaction open that has written everything; calling what this gives commits it."""
    written, go = threading.Event(), threading.Event()

    def pause() -> None:
        written.set()
        go.wait(WAITING_SECONDS_MAX)

    holder = others.submit(say, at, entries, pause)

    def commit() -> list[Event]:
        go.set()
        return holder.result(WAITING_SECONDS_MAX)

    assert written.wait(WAITING_SECONDS_MAX)
    try:
        yield commit
    finally:
        go.set()
