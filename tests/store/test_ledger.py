"""Loading the book and writing what changed: what is read back equals what was decided, at a fixed price.

Real: the store on SQLite, placing, folding, deciding. Double: nothing.
"""

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from handlers.decide import decide
from schemas.book import Book
from schemas.entry import Entry, EntryKind
from tests.handlers.entries import NOW_MS, SUBSCRIPTION, acme, bought, dispute, entry, money, told, total
from tests.strategies import APP, some_entries
from tests.worker.desk import Desk, Statements, arrival, desk, template
from tests.worker.stripe_events import a_refunded_subscription
from worker.commit import Bookkeeper
from worker.inbox import Inbox
from worker.process import process
from worker.store import ledger, tables

K = EntryKind


@pytest.fixture(name="embedded")
def _embedded(tmp_path: Path) -> Iterator[Desk]:
    """Open a desk on SQLite, where writers queue; `test_contention.py` has what is PostgreSQL's."""
    with desk(tmp_path) as opened:
        yield opened


@pytest.fixture(name="empty", scope="module")
def _empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return template(tmp_path_factory.mktemp("template"))


def write(at: Desk, sets: Sequence[Sequence[Entry]], app=None) -> Book:
    """Commit sets of entries, each set in a transaction; give the last one's book."""
    book = Book()
    for entries in sets:
        with at.store.write() as connection:
            keeper = Bookkeeper(connection, entries, now_ms=NOW_MS)
            for each in entries:
                keeper.tell([each], app or acme())
            keeper.write()
            book = keeper.book
    return book


def read(at: Desk, entries: Sequence[Entry]) -> Book:
    """Load the book that these entries concern."""
    with at.store.read() as connection:
        return ledger.load_book(connection, entries)


def comparable(book: Book) -> object:
    """Forget the order of what has none, and what is empty."""
    lineages = {
        key: (frozenset(each.entries), frozenset(each.purchases), frozenset(each.refunds))
        for key, each in book.lineages.items()
    }
    holdings = {holder: held for holder, held in book.holdings.items() if held}
    sequences = {customer: n for customer, n in book.sequences.items() if n}
    return lineages, dict(book.refs), dict(book.entitlements), sequences, holdings


FULL = (
    bought(
        0,
        aliases=["payment_intent:pi_1"],
        lineage=SUBSCRIPTION,
        quantity=2,
        kind="subscription",
        expires_at_ms=NOW_MS * 2,
    ),
    money(
        K.REFUND_FAILED,
        60,
        3000,
        type="reversal",
        scope="partial",
        amount_source="exact",
        reason="fraudulent",
        description="Goodwill",
        reference="74285",
        receipt_number="1234-5678",
        failed_reason="lost_or_stolen_card",
    ),
    dispute(K.CHARGEBACK_LOST, 70),
    total(80, 3500),
    told(0, purchased_at_ms=NOW_MS),
    entry(K.EXPIRED, 90, None, lineage=SUBSCRIPTION, reason="voluntary"),
)


def test_what_is_read_is_what_was_written(at: Desk):
    """Every field of entries, purchases, refunds and entitlements survives the store."""
    assert comparable(write(at, [FULL])) == comparable(read(at, FULL))


@settings(max_examples=60)
@given(
    entries=some_entries(max_size=10),
    cuts=st.lists(st.integers(0, 10), max_size=3).map(sorted),
)
def test_the_store_forgets_nothing_that_decides(empty: Path, tmp_path_factory, entries: list[Entry], cuts: list[int]):
    """However notifications are cut into sets, the stored book equals the one that was never stored."""
    bounds = [0, *cuts, len(entries)]
    sets = [entries[begin:end] for begin, end in pairwise(bounds)]
    never_stored = Book()
    for each in entries:
        never_stored = decide(never_stored, [each], app=APP, now_ms=NOW_MS).book
    with desk(tmp_path_factory.mktemp("cut"), copy_of=empty) as at:
        write(at, [one for one in sets if one], APP)

        assert comparable(never_stored) == comparable(read(at, entries))


def test_a_chain_of_merges_in_one_set(at: Desk):
    """Lineages that are merged into lineages that are merged themselves, all in one transaction, end in one."""
    apart = [bought(0, f"ch_{number}") for number in range(6)]
    pairs = [(f"ch_{one}", f"ch_{other}") for one, other in ((0, 1), (2, 3), (4, 5), (1, 2), (3, 4))]
    ties = [
        entry(K.TOLD, 0, name, lineage=[f"subscription:{number}"]) for number, pair in enumerate(pairs) for name in pair
    ]
    book = write(at, [apart, ties])

    assert comparable(book) == comparable(read(at, [*apart, *ties]))
    (home,) = book.lineages
    for table in (tables.refs, tables.entries, tables.purchases):
        assert {home} == {row["lineage"] for row in at.rows(table)}


def test_nothing_is_left_of_a_lineage_that_was_begun_in_vain(at: Desk):
    """What broke before it was placed, or proved to belong to another, leaves no row to lock."""
    apart = [bought(0, "ch_1"), bought(0, None, aliases=["invoice:in_1"])]
    tie = entry(K.LINKED, 0, "ch_1", aliases=["invoice:in_1"])
    with at.store.write() as connection:
        keeper = Bookkeeper(connection, [*apart, tie, bought(0, "ch_that_breaks")], now_ms=NOW_MS)
        keeper.tell([*apart, tie], acme())
        keeper.write()

    assert {row["lineage"] for row in at.rows(tables.refs)} == {row["id"] for row in at.rows(tables.lineages)}


def test_merges_cost_the_same_however_many(at: Desk):
    """Ten pairs that turn out to be one each are merged by as many statements as one pair."""
    # On Stripe each paid invoice merges two lineages: a set of fifty cost two hundred statements more than one.
    counts = []
    for pairs in (1, 10):
        names = [f"{pairs}_{number}" for number in range(pairs)]
        charges = [bought(0, f"ch_{name}", user_id=name) for name in names]
        invoices = [bought(0, None, aliases=[f"invoice:in_{name}"], user_id=name) for name in names]
        write(at, [[*charges, *invoices]])
        statements = Statements().watch(at.store)
        write(at, [[entry(K.LINKED, 1, f"ch_{name}", aliases=[f"invoice:in_{name}"]) for name in names]])
        counts.append(len(statements.texts))

    assert 1 == len(set(counts))
    assert 11 == len({row["lineage"] for row in at.rows(tables.purchases)})


async def test_a_set_costs_the_same_however_large(at: Desk):
    """The number of statements for a set of notifications does not grow with the set, from claim to outbox."""
    counts = []
    for size in (1, 10, 50):
        inbox = Inbox(at.store, at.queue)
        accepted = [
            await inbox.accept(arrival(f"{size}_{user}_{number}", kind, subject))
            for user in range(size)
            for number, (kind, subject) in enumerate(a_refunded_subscription(f"{size}_{user}"))
        ]
        statements = Statements().watch(at.store)
        process(at.runtime, [each.id for each in accepted])
        counts.append(len(statements.texts))

    assert 1 == len(set(counts))
    assert 61 == len(at.statuses())
    assert {"revoked"} == set(at.statuses().values())


def test_a_set_of_many_customers(at: Desk):
    """More customers, ids and lineages in one set than SQLite takes rows in a compound select."""
    crowd = [bought(0, f"ch_{number}", user_id=f"user-{number}") for number in range(700)]

    assert 700 == len(write(at, [crowd]).entitlements) == len(read(at, crowd).entitlements)


def test_nothing_to_load_is_an_empty_book(at: Desk):
    """Without entries nothing is asked."""
    assert Book() == read(at, [])
    assert Book(refs={}) == read(at, [bought(0, user_id=None)])


def test_a_purchase_whose_name_became_known_is_one_row(at: Desk):
    """Known by an alias, then by its charge: the old row is replaced, and the entitlement points at the new."""
    write(at, [[bought(0, None, aliases=["payment_intent:pi_1"])]])
    write(at, [[entry(K.LINKED, 1, "ch_1", aliases=["payment_intent:pi_1"])]])
    (row,) = at.rows(tables.purchases)
    (held,) = at.rows(tables.entitlements)

    assert ("ch_1", f'["{row["id"]}"]') == (row["purchase_id"], held["purchases"])
    assert 1 == len(at.events())


async def test_a_second_hint_at_what_is_finished_waits_for_no_writer(embedded: Desk):
    """A message about notifications that are done already is over after one look, while somebody else writes."""
    # It took the write lock, only to find nothing to do.
    accepted = await Inbox(embedded.store, embedded.queue).accept(arrival(1))
    process(embedded.runtime, [accepted.id])
    statements = Statements()
    with embedded.store.write():
        statements.watch(embedded.store)
        process(embedded.runtime, [accepted.id])

    assert 0 == statements.writers


async def test_two_workers_with_one_message_do_its_work_once(embedded: Desk):
    """Both have read the notification before either writes: the second finds it taken, and reports nothing."""
    accepted = await Inbox(embedded.store, embedded.queue).accept(arrival(1, *a_refunded_subscription("1")[0]))
    have_read = threading.Semaphore(0)
    workers = [threading.Thread(target=process, args=(embedded.runtime, [accepted.id])) for _ in range(2)]
    with embedded.store.write():
        # Each looks once, and gives the connection back, before it waits to write.
        event.listen(embedded.store.engine, "checkin", lambda *_: have_read.release())
        for worker in workers:
            worker.start()
        assert all(have_read.acquire(timeout=20) for _ in workers)
    for worker in workers:
        worker.join()

    labels = {"platform": "stripe", "status": "processed"}
    assert 1 == embedded.runtime.metrics.registry.get_sample_value("clawback_notifications_processed_total", labels)
    assert 1 == len(embedded.events())
