"""An id that we gave out keeps leading to its purchase, even after a better id of it became known."""

import time

import pytest

from schemas.entry import Entry, EntryKind, PurchaseFacts, Source, Subject
from tests.worker.house import House, house
from worker.commit import Bookkeeper
from worker.store import queries


@pytest.fixture
def home(tmp_path):
    """Open a house."""
    with house(tmp_path, time.time()) as opened:
        yield opened


def said(subject: Subject, number: int) -> Entry:
    """Say that something was bought."""
    return Entry(
        id=f"ent_{number}",
        kind=EntryKind.PURCHASED,
        occurred_at_ms=1_700_000_000_000 + number,
        subject=subject,
        environment="sandbox",
        facts=PurchaseFacts(product_id="com.demo.pro.monthly", user_id="ann"),
        app="demo",
        platform="stripe",
        source=Source(type="charge.succeeded"),
    )


def tell(home: House, entry: Entry) -> str:
    """Tell an entry; give our id of the one purchase there is."""
    with home.store.write() as connection:
        keeper = Bookkeeper(connection, [entry], now_ms=1_700_000_001_000)
        keeper.tell([entry], home.settings.apps["demo"])
        keeper.write()
    [purchase] = [p for lineage in keeper.book.lineages.values() for p in lineage.purchases]
    return purchase.id


def test_an_earlier_id_finds_the_purchase_it_was_given_for(home: House):
    """A purchase first known by its payment intent is found under that id once its charge is known, as itself."""
    first = tell(home, said(Subject(aliases=("payment_intent:pi_1",)), 1))
    now = tell(home, said(Subject(purchase_id="ch_1", aliases=("payment_intent:pi_1",)), 2))
    with home.store.read() as connection:
        found = queries.find_purchases(connection, [first, now, "pur_unknown"], now=0)

    assert first != now
    assert {first: now, now: now} == {asked: purchase.id for asked, purchase in found.items()}
