"""Processing when something breaks: the database, the queue, or what one notification makes of them.

Real: processing, ledger, store on SQLite, Stripe's event shapes. Double: queue and clock.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings, Subscriber
from tests.worker.desk import SELLS_ON_STRIPE, SETTINGS, Desk, Statements, arrival, desk
from tests.worker.stripe_events import charge, refund
from worker.inbox import Inbox
from worker.process import process
from worker.runtime import Runtime
from worker.store import tables
from worker.store.engine import StoreUnavailable
from worker.store.gauges import inbox_backlog, inbox_oldest_ms
from worker.store.subscribers import sync_subscribers
from worker.sweeper import sweep

REFUSES_ONE_CHARGE = """
CREATE TRIGGER refuses BEFORE INSERT ON purchases WHEN NEW.purchase_id = 'ch_2'
BEGIN SELECT RAISE(ABORT, 'for whatever reason'); END
"""


@pytest.fixture(name="at")
def _at(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as opened:
        yield opened


async def accepted(at: Desk, *told: tuple[str, dict[str, Any]]) -> list[str]:
    """Stripe posts these; give our ids of them."""
    inbox = Inbox(at.store, at.queue)
    return [(await inbox.accept(arrival(number, *each))).id for number, each in enumerate(told)]


def refuse_one_charge(at: Desk) -> None:
    """Have the database refuse what is made of the second sale."""
    with at.store.write() as connection:
        connection.exec_driver_sql(REFUSES_ONE_CHARGE)


def row(at: Desk, name: str) -> dict[str, Any]:
    """Read one notification."""
    return next(dict(each) for each in at.rows(tables.notifications) if each["id"] == name)


async def test_what_the_database_refuses_harms_no_neighbor(at: Desk):
    """Of a set in which the database refuses one purchase the others are processed, and that one is tried again."""
    refuse_one_charge(at)
    ids = await accepted(
        at,
        ("charge.succeeded", charge("1")),
        ("charge.succeeded", charge("2")),
        ("charge.succeeded", charge("3")),
    )
    process(at.runtime, ids)

    assert ["processed", "accepted", "processed"] == [row(at, each)["status"] for each in ids]
    assert ("error:IntegrityError", 1) == (row(at, ids[1])["reason"], row(at, ids[1])["attempts"])
    assert {"user-1": "active", "user-3": "active"} == at.statuses()


async def test_what_fails_is_old_and_no_backlog(at: Desk):
    """Operators see how long it waits; to the door only what nobody tried says how far behind the workers are."""
    refuse_one_charge(at)
    (failed,) = await accepted(at, ("charge.succeeded", charge("2")))
    process(at.runtime, [failed])
    came = row(at, failed)["received_at_ms"]
    with at.store.read() as connection:
        assert (came, (1, None)) == (inbox_oldest_ms(connection), inbox_backlog(connection))
    at.clock.now += 60
    (_, waits) = await accepted(at, ("charge.succeeded", charge("2")), ("charge.succeeded", charge("3")))

    with at.store.read() as connection:
        assert (2, row(at, waits)["received_at_ms"]) == inbox_backlog(connection)
        assert came == inbox_oldest_ms(connection)


async def test_what_never_works_dies_visibly(at: Desk):
    """Tried again by the sweeper, each time later, and dead after so many attempts: kept, with the error's name."""
    refuse_one_charge(at)
    (name,) = await accepted(at, ("charge.succeeded", charge("2")))
    waits = []
    while row(at, name)["status"] == "accepted":
        process(at.runtime, [name])
        waits.append(row(at, name)["retry_at_ms"] / 1000 - at.clock.now)
        at.clock.now += waits[-1]
        assert (row(at, name)["status"] == "accepted") == (sweep(at.runtime) == 1)

    assert SETTINGS.work.max_attempts == len(waits) == row(at, name)["attempts"]
    assert sorted(waits) == waits
    assert ("dead", "error:IntegrityError") == (row(at, name)["status"], row(at, name)["reason"])


async def test_a_database_that_is_away_changes_nothing(at: Desk):
    """The set is tried again as a whole; nothing counts as an attempt."""
    ids = await accepted(at, ("charge.succeeded", charge("1")), ("refund.created", refund("1")))
    with at.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE refunds RENAME TO elsewhere")
        connection.exec_driver_sql("ALTER TABLE alembic_version RENAME TO another")  # as while a restore is under way
    with pytest.raises(StoreUnavailable):
        process(at.runtime, ids)
    assert {("accepted", 0)} == {(each["status"], each["attempts"]) for each in at.rows(tables.notifications)}

    with at.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO refunds")
        connection.exec_driver_sql("ALTER TABLE another RENAME TO alembic_version")
    process(at.runtime, ids)
    assert {"user-1": "revoked"} == at.statuses()


async def test_a_fold_that_breaks_harms_no_neighbor(at: Desk):
    """Where our own code breaks over one notification the others of its set are decided in the same transaction."""
    broken = SELLS_ON_STRIPE.model_copy(update={"products": {**SELLS_ON_STRIPE.products, "odd": "not a product"}})
    runtime = with_settings(at, SETTINGS.model_copy(update={"apps": {"acme": broken}}))
    odd = charge("2", metadata={"user_id": "user-2", "product_id": "odd"})
    ids = await accepted(at, ("charge.succeeded", charge("1")), ("charge.succeeded", odd))
    statements = Statements().watch(at.store)
    process(runtime, ids)

    assert ["processed", "accepted"] == [row(at, each)["status"] for each in ids]
    assert 1 == statements.writers
    assert "error:AttributeError" == row(at, ids[1])["reason"]


async def test_an_app_that_was_taken_off_is_quarantined(at: Desk):
    """A notification that waited while its app left the configuration is kept for a person to see."""
    (name,) = await accepted(at, ("charge.succeeded", charge("1")))
    process(with_settings(at, Settings()), [name])

    assert ("quarantined", "not_configured") == (row(at, name)["status"], row(at, name)["reason"])


async def test_without_a_queue_deliveries_wait_for_the_sweeper(at: Desk):
    """What was decided stays decided while the broker is away; its deliveries are hinted at by the next round."""
    with at.store.write() as connection:
        sync_subscribers(connection, [Subscriber(app="acme", url="https://api.acme.example/refunds")], 0)
    (name,) = await accepted(at, ("charge.succeeded", charge("1")))
    at.queue.away = True
    process(at.runtime, [name])
    assert ("processed", []) == (row(at, name)["status"], at.queue.deliveries)

    at.queue.away = False
    assert 1 == sweep(at.runtime)
    assert 1 == len(at.queue.deliveries)


def with_settings(at: Desk, settings: Settings) -> Runtime:
    """The same parts with another configuration."""
    runtime = at.runtime
    return Runtime(settings, runtime.store, runtime.queue, runtime.metrics, runtime.clock)
