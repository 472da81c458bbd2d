"""Several transactions tell the ledger at once: who comes second waits, misses nothing, and all is entered once.

Real: PostgreSQL, one connection per thread. Double: the queue, which is a list, and the clock, which stands.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection

from schemas.entry import Entry, EntryKind
from tests.handlers.entries import NOW_MS, acme, bought, entry, money
from tests.store.contention import WAITING_SECONDS_MAX, held, open_many, open_on_postgresql, say, waits
from tests.worker.desk import Desk
from worker.commit import Bookkeeper
from worker.store import tables

__all__ = ["open_many", "open_on_postgresql"]


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
