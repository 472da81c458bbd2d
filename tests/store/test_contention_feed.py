"""Several transactions append to the feed at once: events are numbered as they are committed, and no reader skips one.

Real: PostgreSQL, one connection per thread. Double: the queue, which is a list, and the clock, which stands.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from schemas.resources import Event
from tests.handlers.entries import NOW_MS
from tests.store.contention import WAITING_SECONDS_MAX, open_many, open_on_postgresql, waits
from tests.store.outbox_story import event
from tests.worker.desk import Desk
from worker.store import feed, tables
from worker.store.engine import Store

__all__ = ["open_many", "open_on_postgresql"]


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
