"""What a worker does by itself: each thing as often as it must be done, and no oftener.

Real: rounds, sweeper, store on SQLite. Double: the queue and the clock.
"""

from pathlib import Path

from config.settings import Store as Kept
from tests.worker.desk import SETTINGS, Desk, Statements, arrival, desk
from worker.inbox import Inbox
from worker.rounds import Rounds
from worker.store import tables
from worker.sweeper import PRUNED_MAX

KEPT = SETTINGS.model_copy(update={"store": Kept(keep_notifications_days=30)})
ROUNDS_MAX = 10


async def old_notifications(at: Desk, count: int) -> None:
    """Have so many that were finished long ago, and one of today."""
    await Inbox(at.store, at.queue).accept(arrival(1))
    (row,) = at.rows(tables.notifications)
    done = {**row, "status": "processed"}
    old = [{**done, "id": f"ntf_{n}", "received_at_ms": n, "finished_at_ms": n} for n in range(1, count + 1)]
    with at.store.write() as connection:
        connection.execute(tables.notifications.insert(), old)


async def test_a_long_prune_goes_on_each_round_and_tidying_does_not(tmp_path: Path):
    """However many rounds it takes to forget what is old, the rest is tidied once, as it would be in an hour."""
    with desk(tmp_path, settings=KEPT) as at:
        await old_notifications(at, 2 * PRUNED_MAX + 1)
        rounds, statements = Rounds(at.runtime), Statements().watch(at.store)
        left: list[int] = []
        while len(left) < ROUNDS_MAX and (not left or left[-1] > 1):
            rounds.go()
            left.append(len(at.rows(tables.notifications)))

        assert [PRUNED_MAX + 2, 2, 1] == left
        assert 1 == sum(text.startswith("DELETE FROM idempotency") for text in statements.texts)
