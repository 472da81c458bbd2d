"""How PostgreSQL finds what the hot path asks for: by an index, whatever has gathered over the years.

Real: PostgreSQL, its planner and its statistics, the statements of accepting, processing, the feed and the timeline.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Connection, Integer, LargeBinary, Table, event, select, text

from tests.store.outbox_story import subscribe, subscriber
from tests.worker.desk import Desk, arrival, desk
from tests.worker.stripe_events import a_refunded_subscription
from worker.inbox import Inbox
from worker.process import process
from worker.store import deliveries as told
from worker.store import exports, feed, inbox_retention, naming, outbox, retention, selection, tables, timeline, waiting
from worker.store import inbox as inboxes
from worker.store.engine import Store
from worker.store.exports import Span
from worker.store.gauges import inbox_backlog, read_gauges
from worker.store.selection import Selection

ROWS = 20_000
FEW = 300
"""So many make an index look dearer than the table, to whoever did not count them."""
GROWING = (
    *(tables.notifications, tables.entries, tables.lineages, tables.refs, tables.purchases, tables.refunds),
    *(tables.entitlements, tables.customers, tables.events, tables.deliveries),
)
"""What grows with every notification. Subscribers and locks are a handful, and may be read from end to end."""

VALUES = {LargeBinary: "''", BigInteger: "n", Integer: "0", Boolean: "false"}
WORDS = {"headers": "'{}'", "stations": "'{}'", "status": "'delivered'", "kind": "'purchased'", "access": "'active'"}
WAITING_IN_LINE = """
    UPDATE deliveries SET status = 'pending', subscriber = :who, app = 'acme', user_id = 'user-' || sequence % 100
    WHERE sequence > 200"""
"""Two hundred for each of a hundred customers."""
READ = re.compile(r"Scan .* on deliveries .*rows=([\d.]+) loops=(\d+)")
"""How many rows were read, and how often, as `EXPLAIN (ANALYZE)` says it."""


@dataclass
class Plans:
    """How each statement is carried out: asked of the server beforehand, with the values at hand."""

    found: list[tuple[str, str]] = field(default_factory=list)
    ask: str = "EXPLAIN"

    def watch(self, store: Store) -> None:
        """Ask from now on."""
        event.listen(store.engine, "before_cursor_execute", self._executing)

    def _executing(self, _connection: Any, cursor: Any, statement: str, parameters: Any, *context: Any) -> None:
        *_, many = context
        # What is asked for many rows has a list of their values. As it was, the probe broke there, and with it the set:
        # what moves between lineages was never planned, and nobody missed it.
        with cursor.connection.cursor() as other:
            other.execute(f"{self.ask} {statement}", parameters[0] if many else parameters)
            self.found.append((statement, "\n".join(row[0] for row in other)))

    def scans(self) -> list[tuple[str, str]]:
        """List what reads a growing table from end to end."""
        whole = [f"Seq Scan on {table.name} " for table in GROWING]
        return [(said, plan) for said, plan in self.found if any(scan in f"{plan} " for scan in whole)]


@pytest.fixture(name="at")
def _at(tmp_path: Path, emptied: str) -> Iterator[Desk]:
    with desk(tmp_path, url=emptied) as opened:
        yield opened


def fill(store: Store, rows: int = ROWS, *, counted: bool = True) -> None:
    """Let years pass: rows that have nothing to do with anybody, and statistics about them where they are counted."""
    with store.write() as connection:
        for table in GROWING:
            names = [column.name for column in table.columns if column.autoincrement is not True]
            columns = ", ".join(f'"{name}"' for name in names)
            values = ", ".join(_value(table, name) for name in names)
            connection.execute(
                text(f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM generate_series(1, {rows}) AS n")  # noqa: S608 - names of our own tables
            )
            if counted:
                connection.execute(text(f"ANALYZE {table.name}"))


def processed(at: Desk) -> int:
    """Count what was brought to its end: of what failed, the later statements were not planned."""
    return [row["status"] for row in at.rows(tables.notifications)].count("processed")


def _value(table: Table, name: str) -> str:
    kind = table.c[name].type
    return next((value for known, value in VALUES.items() if isinstance(kind, known)), WORDS.get(name, "'old-' || n"))


async def test_no_table_is_read_from_end_to_end(at: Desk):
    """Accepting, processing, the feed and a customer's timeline find what they need among years of rows by indexes."""
    subscribe(at.store, subscriber())
    fill(at.store)
    plans = Plans()
    plans.watch(at.store)
    inbox = Inbox(at.store, at.queue)
    for number, (kind, subject) in enumerate(a_refunded_subscription("1")):
        accepted = await inbox.accept(arrival(number, kind, subject))
        process(at.runtime, [accepted.id])
    assert len(plans.found) > len(a_refunded_subscription("1")) * 10
    assert [] == plans.scans()
    (user,) = at.statuses().keys() - {f"old-{n}" for n in range(1, ROWS + 1)}
    plans.found.clear()
    with at.store.read() as connection:
        feed.read_feed(connection, after=ROWS, limit=10)
        for wanted in (
            feed.Wanted(customer="old-4711"),
            feed.Wanted(customer=user, types=("refund.*",), app="acme"),
            feed.Wanted(types=("refund.failed",), environment="sandbox"),
        ):
            feed.read_feed(connection, after=1, wanted=wanted, limit=10)
        feed.read_new(connection, after=ROWS, limit=10)
        feed.position_at(connection, at_ms=ROWS // 2)
        shown = timeline.list_timeline(connection, {"user_id": user}, after=None, limit=10)
        bought = tables.purchases.c
        id_, name = connection.execute(select(bought.id, bought.purchase_id).where(bought.user_id == user)).all()[0]
        known = naming.purchases_known_as(connection, name)

    assert shown
    assert {id_} == known
    assert [] == plans.scans()
    assert len(a_refunded_subscription("1")) == processed(at)


@pytest.mark.parametrize("rows", [FEW, ROWS])
async def test_no_table_is_read_from_end_to_end_before_anything_was_counted(
    tmp_path: Path, new_database: str, rows: int
):
    """A database that just began to fill, and has no statistics yet, is asked by indexes as one of many years is."""
    # Purchases, entitlements and others were read whole for each set until autovacuum had counted them.
    plans = Plans()
    with desk(tmp_path, url=new_database) as at:
        subscribe(at.store, subscriber())
        fill(at.store, rows, counted=False)
        plans.watch(at.store)
        inbox = Inbox(at.store, at.queue)
        ids = [(await inbox.accept(arrival(n, *said))).id for n, said in enumerate(a_refunded_subscription("1"))]
        process(at.runtime, ids)
        with at.store.read() as connection:
            feed.read_feed(connection, after=rows, limit=10)
            outbox.due(connection, 10**13, 100)
            waiting.ask(connection, ["acme", "other"], now_ms=10**13)
        scans = plans.scans()
        assert len(ids) == processed(at)

    assert len(plans.found) > 10
    assert [] == scans


def test_what_became_of_deliveries_is_found_by_indexes(at: Desk):
    """Lists of deliveries, what is due and what was missed are found without reading the outbox or the feed."""
    (who,) = subscribe(at.store, subscriber())
    fill(at.store)
    plans = Plans()
    plans.watch(at.store)
    with at.store.write() as connection:
        for status in (None, "pending", "delivered", "failed"):
            told.list_deliveries(connection, who, status=status, type_=None, after=(10**13, "z"), limit=10)
        told.retry_range(connection, who, status="failed", since_ms=0, until_ms=10**13, after=None, now_ms=1)
        outbox.due(connection, 10**13, 100)
        waiting.ask(connection, ["acme", "other"], now_ms=10**13)
        connection.execute(text("UPDATE subscribers SET missed_after = (SELECT max(position) - 10 FROM events)"))
        told.queue_missed(connection, who, 1)

    assert len(plans.found) > 6
    assert [] == plans.scans()


def test_what_is_old_is_found_by_indexes(at: Desk):
    """Forgetting, and looking whether what was missed was made up for, read a batch and not what has gathered."""
    subscribe(at.store, subscriber())
    fill(at.store)
    for n in range(1, 4):
        with at.store.write() as connection:
            connection.execute(tables.attempts.insert(), [_attempt_of(f"old-{n}")])
    plans = Plans()
    plans.watch(at.store)
    with at.store.write() as connection:
        connection.execute(text("UPDATE subscribers SET missed_after = 5"))
        told.settle_missed(connection, 10**13, limit=10)
        retention.prune_events(connection, before_ms=ROWS // 2, limit=10, after=ROWS // 4)
        retention.prune_deliveries(connection, before_ms=ROWS // 2, limit=10)

    assert len(plans.found) > 10
    assert [] == plans.scans()


def _attempt_of(delivery: str) -> dict[str, Any]:
    return {"delivery": delivery, "attempted_at_ms": 1, "duration_ms": 1.0}


@pytest.mark.parametrize("counted", [False, True], ids=["never counted", "counted when nothing waited"])
def test_whose_turn_it_is_is_one_look_for_each_customer(tmp_path: Path, new_database: str, *, counted: bool):
    """The first of each customer's line is found by one index entry, however long the lines are that nobody counted."""
    # All of a line was read and numbered to find its first, and without statistics all that its subscriber waited for;
    # and also with statistics of a large table that was counted when nothing waited, by each set that was processed.
    plans = Plans(ask="EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF)")
    with desk(tmp_path, url=new_database) as at:
        (who,) = subscribe(at.store, subscriber())
        fill(at.store, counted=counted)
        with at.store.write() as connection:
            connection.execute(text(WAITING_IN_LINE), {"who": who})
        plans.watch(at.store)
        with at.store.write() as connection:
            asked = {(who, "acme", f"user-{number}") for number in range(95, 103)}
            first = outbox.first_in_line(connection, asked)
            claimed = outbox.claim(connection, [f"old-{number}" for number in range(280, 310)], 10**13)
        with at.store.read() as connection:
            assert waiting.ask(connection, ["acme"], now_ms=10**13).deliveries
        with at.store.write() as connection:
            assert 10 == len(outbox.due(connection, 10**13, 10))

    assert {(who, "acme", f"user-{number}"): f"old-{number + 200}" for number in range(95, 100)} == first
    assert {f"old-{number}" for number in range(280, 301)} == {one.id for one in claimed.claims}
    read = [(float(rows) * int(loops), plan) for _, plan in plans.found for rows, loops in READ.findall(plan)]
    assert 6 <= len(read)
    assert [] == [plan for rows, plan in read if rows > 30]
    assert [] == [plan for _, plan in plans.found if "Removed by Filter" in plan.split("SubPlan")[-1]]


def test_sqlite_seeks_each_line_by_all_of_its_name(tmp_path: Path):
    """Whose turn it is is found by subscriber, app and user, and not among all that the subscriber waits for."""
    asked: list[tuple[str, Any]] = []
    with desk(tmp_path) as at:
        (who,) = subscribe(at.store, subscriber())
        with at.store.write() as connection:
            note = lambda _c, _cursor, statement, parameters, *_: asked.append((statement, parameters))  # noqa: E731 - a probe
            event.listen(at.store.engine, "before_cursor_execute", note)
            outbox.first_in_line(connection, [(who, "acme", "user-42")])
            outbox.claim(connection, ["dlv_1"], 1)
            event.remove(at.store.engine, "before_cursor_execute", note)
            plans = [_sqlite_plan(connection, *each) for each in asked]

    assert 2 == len(plans)
    assert all("user_id_sequence ((subscriber,app,user_id)>(?,?,?) AND (subscriber,app,user_" in plan for plan in plans)


def _sqlite_plan(connection: Connection, statement: str, parameters: Any) -> str:
    return " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters))


def test_a_scrape_reads_no_table_from_end_to_end(at: Desk):
    """Every gauge comes from an index, as it is asked every few seconds by each host that is scraped."""
    fill(at.store)
    plans = Plans()
    plans.watch(at.store)
    with at.store.read() as connection:
        read_gauges(connection, [("acme", "stripe"), ("old-1", "old-1")])
        inbox_backlog(connection)

    assert len(plans.found) > 8
    assert [] == plans.scans()


def test_what_operators_ask_for_is_found_by_indexes(at: Desk):
    """To walk through a selection, to export, and to prune costs what is found, among years of rows."""
    fill(at.store)
    plans = Plans()
    plans.watch(at.store)
    with at.store.write() as connection:
        for wanted in (Selection(), Selection(app="old-7", platform="old-7"), Selection(statuses=("dead",))):
            selection.walk(connection, wanted, after=(ROWS // 2, ""), limit=10)
        inbox_retention.prune_notifications(connection, before_ms=100, limit=10)
        inboxes.untouched(connection, ["old-1", "old-2"])
        inboxes.reopen(connection, ["old-1", "old-2"], now_ms=1)
    assert [] == list(exports.read_refunds(at.store, Span(since_ms=ROWS * 1000 + 1), stretch=10))
    next(exports.read_events(at.store, Span(app="old-7"), (ROWS // 2, ROWS), stretch=10))

    assert len(plans.found) > 7
    assert [] == plans.scans()


def test_a_backlog_is_counted_without_its_rows(at: Desk):
    """However much waits, all of it is counted, and its age is known from some thousand rows."""
    fill(at.store)
    with at.store.write() as connection:
        connection.execute(text("UPDATE notifications SET status = 'accepted', reason = 'looking_up:orders'"))
        connection.execute(text("UPDATE notifications SET reason = NULL WHERE received_at_ms > 5000"))
        gauges = read_gauges(connection, [])
        connection.execute(text("UPDATE notifications SET attempts = 1 WHERE received_at_ms <= 6000"))
        backlog = inbox_backlog(connection)
        connection.execute(text("DELETE FROM notifications WHERE received_at_ms > 10000"))
        few = read_gauges(connection, [])

    assert (ROWS, 5001, 0) == (gauges.inbox_pending, gauges.inbox_oldest_ms, gauges.looking_up)
    assert (ROWS, 6001) == backlog, "what failed is put off, and says nothing of how far behind workers are"
    assert (5000, 5001, 5000) == (few.inbox_pending, few.inbox_oldest_ms, few.looking_up)


def test_a_set_is_found_without_reading_the_backlog(at: Desk):
    """Each notification of a set is found by its id, however much waits that the statistics do not know of yet."""
    # "The accepted ones among these" went through all that were accepted: each set cost the whole backlog.
    fill(at.store)
    backlog = "UPDATE notifications SET status = 'accepted' WHERE CAST(substr(id, 5) AS integer) <= 5000"
    with at.store.write() as connection:
        connection.execute(text(backlog))
    plans = Plans()
    plans.watch(at.store)
    with at.store.write() as connection:
        wanted = [f"old-{number}" for number in range(1, 65)]
        assert 64 == len(inboxes.load(connection, wanted)) == len(inboxes.claim(connection, wanted)())
        assert 64 == len(inboxes.untouched(connection, wanted))

    assert 3 == len(plans.found)
    assert [] == [plan for _, plan in plans.found if " pk_notifications" not in plan]


def test_a_table_that_is_read_from_end_to_end_is_seen(at: Desk):
    """What would have to look at every row is found out: the test above can fail."""
    plans = Plans()
    plans.watch(at.store)
    with at.store.read() as connection:
        connection.execute(text("SELECT document FROM events WHERE document = 'x'"))

    assert ["SELECT document FROM events WHERE document = 'x'"] == [said for said, _ in plans.scans()]
