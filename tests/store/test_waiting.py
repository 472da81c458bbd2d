"""Whether anything fell through, in one statement: it says yes of what a look would find, and of nothing else.

Real: SQLite and PostgreSQL, migrated, the statements of the sweep. No double.
"""

import pytest
from sqlalchemy import Update

from tests.store.outbox_story import NOW_MS, announce, event, subscribe, subscriber
from tests.worker.desk import Desk, arrival
from tests.worker.test_sweeper import sold
from worker.inbox import Inbox
from worker.store import inbox, lapses, outbox, waiting
from worker.store.tables import deliveries, notifications, purchases, subscribers
from worker.store.waiting import Waiting

HOUR_MS = 3_600_000
NOTHING = Waiting(notifications=False, deliveries=False, lapsed=False)
ALL = Waiting(notifications=True, deliveries=True, lapsed=True)

LATER_MS = NOW_MS + 2 * HOUR_MS
CHANGES: dict[str, tuple[Update, str]] = {
    "finished": (notifications.update().values(status="processed"), "notifications"),
    "postponed": (notifications.update().values(retry_at_ms=LATER_MS), "notifications"),
    "delivered": (deliveries.update().values(status="delivered"), "deliveries"),
    "claimed": (deliveries.update().values(claimed_until_ms=LATER_MS), "deliveries"),
    "put off": (deliveries.update().values(next_attempt_ms=LATER_MS), "deliveries"),
    "behind another": (
        deliveries.update().where(deliveries.c.sequence == 1).values(claimed_until_ms=LATER_MS),
        "deliveries",
    ),
    "paused": (subscribers.update().values(state="paused"), "deliveries"),
    "resting": (subscribers.update().values(not_before_ms=LATER_MS), "deliveries"),
    "revoked": (purchases.update().values(access="revoked"), "lapsed"),
    "of another app": (purchases.update().values(app="long-gone"), "lapsed"),
}
"""What happened, and of which kind nothing is left then."""


def look(at: Desk, now_ms: int) -> Waiting:
    """Ask whether there is anything, and hold that against what each look finds."""
    apps = at.runtime.settings.apps
    with at.store.read() as connection:
        asked = waiting.ask(connection, apps, now_ms=now_ms)
        found = (
            inbox.overdue(connection, now_ms=now_ms, limit=10),
            outbox.due(connection, now_ms, 10),
            lapses.run_out(connection, apps, now=now_ms // 1000, limit=10),
        )
    assert asked == tuple(map(bool, found))
    return asked


async def everything(at: Desk) -> int:
    """Let one thing of each kind fall through within the hour; give the end of it."""
    subscribe(at.store, subscriber())
    sold(at, "ch_1", days=30)
    with at.store.write() as connection:
        connection.execute(deliveries.delete())
        connection.execute(purchases.update().values(due_at=NOW_MS // 1000 + 60))
    await Inbox(at.store, at.queue).accept(arrival(1))
    announce(at.store, [event(1), event(2)], now=NOW_MS / 1000)
    with at.store.write() as connection:
        connection.execute(notifications.update().values(retry_at_ms=NOW_MS + 10_000))
    return NOW_MS + HOUR_MS


async def test_each_kind_is_told_from_its_moment_on(at: Desk):
    """Nothing is told of an empty store, each kind once its time has come, and none before."""
    assert NOTHING == look(at, NOW_MS)
    end_ms = await everything(at)

    assert NOTHING == look(at, NOW_MS - 1)
    assert NOTHING._replace(deliveries=True) == look(at, NOW_MS)
    assert NOTHING._replace(deliveries=True, notifications=True) == look(at, NOW_MS + 10_000)
    assert ALL == look(at, end_ms)


@pytest.mark.parametrize("said", CHANGES)
async def test_what_no_look_would_find_is_not_told(at: Desk, said: str):
    """What is finished, in somebody's hands, put off or nobody's business here is no reason to look."""
    end_ms = await everything(at)
    change, kind = CHANGES[said]
    with at.store.write() as connection:
        connection.execute(change)

    assert ALL._replace(**{kind: False}) == look(at, end_ms)
