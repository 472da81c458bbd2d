"""Several workers at once: each notification and delivery is one's work, and nobody waits for who works on another.

Real: PostgreSQL, one connection per thread. Double: the queue, which is a list, and the clock, which stands.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from config.settings import Settings
from handlers.backoff import Verdict
from tests.handlers.entries import NOW_MS
from tests.store.contention import WAITING_SECONDS_MAX, open_many, open_on_postgresql, waits
from tests.store.outbox_story import enqueue, event, subscribe, subscriber
from tests.worker.desk import SELLS_ON_STRIPE, STRIPE, Desk, Statements, arrival, desk
from tests.worker.stripe_events import a_refunded_subscription, charge
from worker.inbox import Inbox
from worker.lookups import Question
from worker.process import process
from worker.runtime import NoLookups
from worker.store import feed, inbox, outbox, tables
from worker.store.attempts import Attempt, record
from worker.store.engine import Store

__all__ = ["open_many", "open_on_postgresql"]


class Curious(NoLookups):
    """Is asked, knows nothing, and looks whether what it is asked about is free meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.free: list[str] = []

    def can_ask(self, app: str, platform: str, kind: str) -> bool:  # noqa: ARG002 - as whoever can
        """Claim that it can."""
        return True

    def ask(self, questions: Iterable[Question]) -> Mapping[Question, Any]:
        """Note what another worker could claim now."""
        with self._store.write() as connection:
            self.free += inbox.claim(connection, {each.notification for each in questions})()
        return {}


async def test_nobody_holds_a_row_while_a_platform_is_asked(tmp_path: Path, emptied: str):
    """What must be looked up is asked for once, outside of any transaction, and decided after that."""
    asks = SELLS_ON_STRIPE.model_copy(update={"stripe": STRIPE.model_copy(update={"api_key": "rk_unused"})})
    with desk(tmp_path, url=emptied, settings=Settings(apps={"acme": asks})) as at:
        curious = Curious(at.store)
        sold = charge("1", metadata={})  # by whom, its invoice would say
        accepted = await Inbox(at.store, at.queue).accept(arrival("1", "charge.succeeded", sold))
        process(replace(at.runtime, lookups=curious), [accepted.id])

        assert [accepted.id] == curious.free
        assert ["looking_up:invoice_payments"] == [row["reason"] for row in at.rows(tables.notifications)]


async def test_what_asks_nobody_is_read_where_it_is_claimed(at: Desk):
    """One transaction reads, decides and writes a notification of which nothing is to be looked up."""
    accepted = await Inbox(at.store, at.queue).accept(arrival("1", "charge.succeeded", charge("1")))
    statements = Statements().watch(at.store)
    process(at.runtime, [accepted.id])

    assert (1, 1) == (statements.writers, statements.commits)
    assert {"user-1": "active"} == at.statuses()


async def test_two_workers_with_one_message_do_its_work_once(at: Desk, others: ThreadPoolExecutor):
    """The same ids at eight workers at once: each notification is decided by one of them, the others pass over it."""
    accepted = [
        await Inbox(at.store, at.queue).accept(arrival(f"{user}_{number}", kind, subject))
        for user in range(5)
        for number, (kind, subject) in enumerate(a_refunded_subscription(str(user)))
    ]
    ids = [each.id for each in accepted]
    for each in [others.submit(process, at.runtime, ids) for _ in range(8)]:
        each.result(60)

    labels = {"platform": "stripe", "status": "processed"}
    processed = at.runtime.metrics.registry.get_sample_value("clawback_notifications_processed_total", labels)
    assert len(ids) == processed
    assert {"revoked"} == set(at.statuses().values())


async def test_the_sweeper_waits_for_no_worker(at: Desk):
    """A notification that a worker holds is not put off, and whoever would put it off does not wait."""
    one, other = [await Inbox(at.store, at.queue).accept(arrival(number)) for number in (1, 2)]
    with at.store.write() as worker:
        assert {one.id} == inbox.claim(worker, [one.id])().keys()
        with at.store.write() as sweeper:
            inbox.postpone(sweeper, [one.id, other.id], now_ms=2 * NOW_MS, until_ms=7)

    assert {one.id: False, other.id: True} == {
        row["id"]: row["retry_at_ms"] == 7 for row in at.rows(tables.notifications)
    }


def test_a_delivery_ends_while_its_customer_is_told_more(at: Desk, others: ThreadPoolExecutor):
    """The last delivery of a customer ends while the next event is being written: one of both sees what may begin."""
    subscribe(at.store, subscriber())
    with at.store.write() as connection:
        connection.execute(insert(tables.customers).values(app="acme", user_id="user-42", sequence=1))
        feed.append(connection, [event(1)], now_ms=NOW_MS)
        (first,) = enqueue(connection, [event(1)], NOW_MS)
        (claim,) = outbox.claim(connection, [first], NOW_MS).claims
    ended = Attempt(claim, Verdict("delivered"), NOW_MS, 1.0, 200, None)
    with at.store.write() as connection:
        lock = select(tables.customers).with_for_update()
        connection.execute(lock)
        assert [] == enqueue(connection, [event(2)], NOW_MS)
        feed.append(connection, [event(2)], now_ms=NOW_MS)
        recorded = others.submit(_record, at.store, ended)
        assert waits(at)

    assert 1 == len(recorded.result(WAITING_SECONDS_MAX).following)


def _record(store: Store, ended: Attempt) -> Any:
    return store.change(lambda connection: record(connection, [ended], NOW_MS))
