"""Have stored notifications processed again: accepted once more, and hinted at like those that came just now.

There is one path to the ledger, and a replay takes it: workers do it, with their look-ups and their bounds, and what
was said before is not said twice. So to replay anything, processed or not, is harmless at any time.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import structlog
from sqlalchemy import Connection

from worker.runtime import QueueUnavailable, Runtime
from worker.store import inbox, selection
from worker.store.selection import FIRST, Chosen, Selection

BATCH_MAX = 500
PAUSE_SECONDS = 0.02
PATIENCE_SECONDS = 10.0
"""Where no worker takes anything up for so long, none is running, and nothing is gained by waiting for them."""

log = structlog.get_logger()

Note = Callable[[Connection, Sequence[str]], None]


def replay(runtime: Runtime, ids: Sequence[str], note: Note) -> list[str]:
    """Accept these again, whatever became of them, and hint at them; returns those that there are.

    If the broker is away, the sweeper queues them once their time has come.

    Args:
        runtime: the parts of this process.
        ids: of notifications.
        note: writes down whose deed it is, in the same transaction.

    Raises:
        StoreUnavailable: nothing was changed.
    """
    now = runtime.clock()
    retry_at_ms = int((now + runtime.settings.work.sweep_after_seconds) * 1000)

    def change(connection: Connection) -> list[str]:
        reopened = inbox.reopen(connection, ids, now_ms=int(now * 1000), retry_at_ms=retry_at_ms)
        if reopened:
            note(connection, reopened)
        return reopened

    reopened = runtime.store.change(change)
    try:
        if reopened:
            runtime.queue.put_notifications(reopened)
    except QueueUnavailable:
        log.warning("queue.unavailable", queue="notifications", waiting=len(reopened))
    return reopened


def replay_batches(
    runtime: Runtime, batches: Iterator[Sequence[Chosen]], note: Note, *, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[int]:
    """Replay one batch after the other, never more than one ahead of the workers; yield how many were each time.

    What comes in meanwhile from the platforms waits behind that batch, and not behind everything that is replayed.
    """
    before: Sequence[str] = ()
    hurried = True
    for batch in batches:
        if before and hurried:
            hurried = _taken_up(runtime, before, patience_seconds)
        before = replay(runtime, [each.id for each in batch], note)
        yield len(before)


def batches_of(runtime: Runtime, wanted: Selection, *, size: int = BATCH_MAX) -> Iterator[list[Chosen]]:
    """Walk through a selection; memory holds one batch."""
    last = FIRST
    while True:
        with runtime.store.read() as connection:
            batch = selection.walk(connection, wanted, after=last, limit=size)
        if not batch:
            return
        yield batch
        last = batch[-1].key


def _taken_up(runtime: Runtime, ids: Sequence[str], patience_seconds: float) -> bool:
    """Wait until a worker has looked at each of these; False: nobody does."""
    left, since = len(ids), time.monotonic()
    while left and time.monotonic() - since < patience_seconds:
        time.sleep(PAUSE_SECONDS)
        with runtime.store.look() as connection:
            still = selection.untouched(connection, ids)
        if still < left:
            left, since = still, time.monotonic()
    return not left
