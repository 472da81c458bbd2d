"""What is quarantined says why, and takes nothing from anybody.

Real: store, inbox, processing, Stripe's event shapes. Double: the queue, which is a list, and the clock.
"""

from dataclasses import replace
from pathlib import Path

from tests.worker.desk import arrival as stripe_event
from tests.worker.desk import desk
from tests.worker.stripe_events import charge, refund
from worker.inbox import Inbox
from worker.process import process
from worker.store import inbox, tables
from worker.store.notices import find_notification


async def test_why_something_is_quarantined_is_stored_and_shown(tmp_path: Path):
    """The detail of a quarantine is on the notification, for an operator to read."""
    with desk(tmp_path) as at:
        posted = stripe_event("1", "charge.succeeded", charge("1"))
        body = posted.body.replace(b'"livemode"', b'"account": "acct_of_somebody_else", "livemode"')
        accepted = await Inbox(at.store, at.queue).accept(replace(posted, body=body))
        process(at.runtime, [accepted.id])
        with at.store.read() as connection:
            shown = find_notification(connection, accepted.id, action_of=lambda *_: None)

    assert shown is not None
    assert ("quarantined", "connected_account", "charge.succeeded") == (shown.status, shown.reason, shown.detail)


async def test_money_that_contradicts_itself_is_quarantined_with_both_numbers(tmp_path: Path):
    """A refund of more than was paid is kept, takes no access, and says why; a replay says so again."""
    with desk(tmp_path) as at:
        box = Inbox(at.store, at.queue)
        sold = (
            await box.accept(stripe_event("1", "charge.succeeded", charge("1", amount=1000, amount_captured=1000)))
        ).id
        back = (await box.accept(stripe_event("2", "refund.created", refund("1", amount=1500)))).id
        process(at.runtime, [sold, back])
        first = {row["id"]: (row["status"], row["reason"], row["detail"]) for row in at.rows(tables.notifications)}
        with at.store.write() as connection:
            inbox.reopen(connection, [back], now_ms=0)
        process(at.runtime, [back])
        again = {row["id"]: (row["status"], row["reason"], row["detail"]) for row in at.rows(tables.notifications)}

        assert {"user-1": "active"} == at.statuses()
        assert 1 == len(at.rows(tables.refunds))
    assert ("quarantined", "money_contradicts") == first[back][:2]
    assert "1500" in (first[back][2] or "")
    assert "1000" in (first[back][2] or "")
    assert first == again
