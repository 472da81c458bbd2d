"""Several transactions at once on PostgreSQL: who waits for whom, what nobody may miss, and what is done again.

Real: PostgreSQL, one connection per thread. Double: the queue, which is a list, and the clock, which stands.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text, update

from config.settings import Settings
from config.settings import Store as Choices
from handlers.backoff import Verdict
from schemas.entry import Entry, EntryKind
from schemas.resources import Event
from tests.handlers.entries import NOW_MS, acme, bought, entry, money
from tests.store.outbox_story import enqueue, event, subscribe, subscriber
from tests.worker.desk import SELLS_ON_STRIPE, STRIPE, Desk, Statements, arrival, desk
from tests.worker.stripe_events import a_refunded_subscription, charge
from worker.commit import Bookkeeper
from worker.inbox import Inbox
from worker.lookups import Question
from worker.process import process
from worker.runtime import NoLookups
from worker.store import feed, inbox, outbox, tables
from worker.store.attempts import Attempt, record
from worker.store.engine import Contended, Store, StoreUnavailable

WAITING_SECONDS_MAX = 20.0


@pytest.fixture(name="at")
def _at(tmp_path: Path, emptied: str) -> Iterator[Desk]:
    with desk(tmp_path, url=emptied) as opened:
        yield opened


@pytest.fixture(name="others")
def _others() -> Iterator[ThreadPoolExecutor]:
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


def count_decisions(at: Desk, said: Entry) -> int:
    """Tell the ledger one thing; give how often that was decided about."""
    decisions = []

    def change(connection: Connection) -> None:
        keeper = Bookkeeper(connection, [said], now_ms=NOW_MS)
        decisions.append(keeper.tell([said], acme()))
        keeper.write()

    at.store.change(change)
    return len(decisions)


def sequences(at: Desk) -> list[int]:
    """Read the numbers of the events of the one customer, in the order of the feed."""
    return [int(each.sequence or 0) for each in at.events()]


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


def test_two_that_begin_one_lineage(at: Desk, others: ThreadPoolExecutor):
    """Two workers meet a purchase, neither finds it: the later one waits, and decides once, on what it finds."""
    with held(at, [bought(0)], others) as commit:
        second = others.submit(count_decisions, at, money(EntryKind.REFUND_SUCCEEDED, 60))
        assert waits(at)
        commit()
        assert 1 == second.result(WAITING_SECONDS_MAX)

    assert ["revoked"] == [row["access"] for row in at.rows(tables.purchases)]
    assert 1 == len(at.rows(tables.lineages))
    assert list(range(1, len(at.events()) + 1)) == sequences(at)


def test_two_that_change_one_lineage(at: Desk, others: ThreadPoolExecutor):
    """Whoever comes second to a known purchase waits, and reads what the first one wrote: nothing is lost."""
    say(at, [bought(0)])
    with held(at, [money(EntryKind.REFUND_PENDING, 60)], others) as commit:
        second = others.submit(say, at, [money(EntryKind.REFUND_SUCCEEDED, 61)])
        assert waits(at)
        commit()
        second.result(WAITING_SECONDS_MAX)

    (kept,) = at.rows(tables.refunds)
    assert "succeeded" == kept["status"]
    assert 3 == len(at.rows(tables.entries))


def test_a_customer_of_two_lineages(at: Desk, others: ThreadPoolExecutor):
    """Two purchases of one customer at once: each transaction sees the other's, and the numbers have no gap."""
    say(at, [bought(0, "ch_1")])
    with held(at, [bought(1, "ch_2")], others) as commit:
        second = others.submit(say, at, [money(EntryKind.REFUND_SUCCEEDED, 60, purchase="ch_1")])
        assert waits(at)
        commit()
        second.result(WAITING_SECONDS_MAX)

    assert ["active"] == list(at.statuses().values())
    assert list(range(1, len(at.events()) + 1)) == sequences(at)


def test_a_new_customer_of_two_lineages(at: Desk, others: ThreadPoolExecutor):
    """A customer whom nobody knew is begun by one of two, though neither row was there to be locked."""
    with held(at, [bought(0, "ch_1")], others) as commit:
        second = others.submit(say, at, [bought(1, "ch_2")])
        assert waits(at)
        commit()
        second.result(WAITING_SECONDS_MAX)

    (row,) = at.rows(tables.entitlements)
    assert 2 == row["purchases"].count("pur_")
    assert list(range(1, len(at.events()) + 1)) == sequences(at)


def test_a_merge_beneath_somebody_who_waits(at: Desk, others: ThreadPoolExecutor):
    """Whoever waited for a lineage that went into another one finds the other one."""
    say(at, [bought(0, "ch_1")])
    say(at, [bought(0, None, aliases=["invoice:in_1"])])
    with held(at, [entry(EntryKind.LINKED, 1, "ch_1", aliases=["invoice:in_1"])], others) as commit:
        told = [
            others.submit(say, at, [money(EntryKind.REFUND_SUCCEEDED, 60, purchase="ch_1")]),
            others.submit(say, at, [entry(EntryKind.EXPIRED, 90, None, aliases=["invoice:in_1"])]),
        ]
        assert waits(at, count=2)
        commit()
        for each in told:
            each.result(WAITING_SECONDS_MAX)

    assert 1 == len(at.rows(tables.lineages)) == len({row["lineage"] for row in at.rows(tables.refs)})
    assert 1 == len({row["lineage"] for row in at.rows(tables.entries)})
    assert ["revoked"] == [row["access"] for row in at.rows(tables.purchases)]


def test_many_workers_on_few_customers(at: Desk, others: ThreadPoolExecutor):
    """Sixteen workers, every set touching every customer in another order: all is entered once."""
    customers, sets = 4, 24
    together = threading.Barrier(16)

    def work(number: int) -> None:
        if number < 16:
            together.wait(WAITING_SECONDS_MAX)
        order = [(number + step) % customers for step in range(customers)]
        say(at, [bought(number, f"ch_{number}_{one}", user_id=f"user-{one}") for one in order])

    for each in [others.submit(work, number) for number in range(sets)]:
        each.result(60)

    assert customers * sets == len(at.rows(tables.purchases)) == len(at.rows(tables.lineages))
    assert {sets} == {row["purchases"].count("pur_") for row in at.rows(tables.entitlements)}
    seen: dict[str, list[int]] = {}
    for told in at.events():
        assert told.customer
        seen.setdefault(told.customer.user_id, []).append(told.sequence or 0)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seen.values())


def test_a_reader_skips_nothing(at: Desk, others: ThreadPoolExecutor):
    """Whoever reads on from the end of each page sees every event, however the transactions around it commit."""
    writers, each_writes = 8, 25
    done, seen = threading.Event(), list[int]()

    def write(writer: int) -> None:
        for number in range(each_writes):
            told = [event(number, user=f"user-{writer}", kind=f"refund.{part}") for part in ("a", "b")]
            with at.store.write() as connection:
                feed.append(connection, told, now_ms=NOW_MS)

    def read() -> None:
        after, last = 0, False
        while not last:
            last = done.is_set()
            with at.store.read() as connection:
                positions = select(tables.events.c.position).where(tables.events.c.position > after)
                page = feed.read_feed(connection, after=after, limit=7)
                seen.extend(connection.execute(positions.where(tables.events.c.position <= page.end)).scalars())
            last, after = last and not page.has_more and page.end == after, page.end

    reader = others.submit(read)
    for each in [others.submit(write, writer) for writer in range(writers)]:
        each.result(60)
    done.set()
    reader.result(60)

    assert writers * each_writes * 2 == len(seen) == len(set(seen))


def test_numbers_are_taken_in_the_order_of_commits(at: Desk, others: ThreadPoolExecutor):
    """Whoever would number events while another transaction has uncommitted ones waits for its commit."""
    appended = others.submit(lambda: None)
    with at.store.write() as connection:
        feed.append(connection, [event(1, user="first")], now_ms=NOW_MS)
        assert feed.newest_position(connection)  # whose answer comes behind those to all that was sent
        appended = others.submit(_append, at.store, event(1, user="second"))
        assert waits(at)
        assert not appended.done()
    appended.result(WAITING_SECONDS_MAX)

    assert ["first", "second"] == [each.customer.user_id for each in at.events() if each.customer]


def _append(store: Store, told: Event) -> None:
    with store.write() as connection:
        feed.append(connection, [told], now_ms=NOW_MS)


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


def test_two_that_take_in_the_same_in_another_order(at: Desk, others: ThreadPoolExecutor):
    """Two that are told the same, each in an order of its own, wait for each other and never in a circle."""
    rows = {each.id: Inbox(at.store, at.queue)._row(each) for each in map(arrival, range(3))}
    first, middle, last = sorted(rows)

    def take_in(ids: tuple[str, ...]) -> set[str]:
        with at.store.write_in_a_row(at.store.keep(lambda: False)) as connection:
            return set(inbox.insert_absent(connection, [rows[each] for each in ids]))

    with at.store.write() as holder:
        list(inbox.insert_absent(holder, [rows[middle]]))
        taking = [others.submit(take_in, order) for order in ((last, middle, first), (first, middle, last))]
        assert waits(at, count=2)
    new = [each.result(WAITING_SECONDS_MAX) for each in taking]

    assert {first, last} == new[0] | new[1]
    assert not new[0] & new[1]


def test_a_deadlock_is_done_again(at: Desk, others: ThreadPoolExecutor):
    """Two that wait for each other in a circle: the server breaks one off, and that one is done again."""
    with at.store.write() as connection:
        connection.execute(insert(tables.locks), [{"name": name, "holder": "", "until_ms": 0} for name in ("a", "b")])
    both, tries = threading.Barrier(2), list[str]()

    def cross(first: str, second: str) -> None:
        def change(connection: Connection) -> None:
            tries.append(first)
            for name in (first, second):
                counted = update(tables.locks).where(tables.locks.c.name == name)
                connection.execute(counted.values(until_ms=tables.locks.c.until_ms + 1))
                if len(tries) <= 2 and name == first:
                    both.wait(WAITING_SECONDS_MAX)

        at.store.change(change)

    crossing: list[Future[None]] = [others.submit(cross, *names) for names in (("a", "b"), ("b", "a"))]
    for each in crossing:
        each.result(WAITING_SECONDS_MAX)

    assert 3 == len(tries)
    assert [2, 2] == [row["until_ms"] for row in at.rows(tables.locks)]


def test_whoever_never_gets_through_is_told_so(at: Desk):
    """Work that is in somebody's way each time ends as an outage: nothing is stored, and it is tried again later."""
    tries: list[int] = []

    def never(connection: Connection) -> None:
        connection.execute(insert(tables.locks).values(name="a", holder="", until_ms=0))
        tries.append(1)
        raise Contended("locks")

    with pytest.raises(StoreUnavailable):
        at.store.change(never)

    assert (8, []) == (len(tries), at.rows(tables.locks))


def test_a_lock_is_not_waited_for_for_ever(emptied: str, at: Desk):
    """Whoever waits for longer than configured is told that the store is unavailable."""
    hurried = Store(emptied, Choices(wait_timeout_seconds=0.05))
    say(at, [bought(0)])
    with at.store.write() as connection:
        connection.execute(select(tables.lineages).with_for_update())
        with pytest.raises(StoreUnavailable, match="LockNotAvailable"), hurried.write() as second:
            second.execute(select(tables.lineages).with_for_update())
    hurried.close()
