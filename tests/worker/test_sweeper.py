"""Finding what fell through.

Real: sweeper, inbox, processing, outbox and ledger on SQLite. Double: the queue and the clock.
"""

import gc
import threading
from dataclasses import replace

from sqlalchemy import event as watch

from config.settings import Settings
from handlers import ids
from schemas.base import Access
from schemas.resources import PurchaseTold
from tests.handlers.entries import ANNUAL, NOW_MS, acme
from tests.handlers.stripe_story import BASIL_INVOICE, BASIL_LINE
from tests.store.outbox_story import subscribe, subscriber
from tests.worker.desk import SETTINGS, Desk, Statements, arrival
from worker.audit import check_fold
from worker.inbox import Inbox
from worker.process import process
from worker.runtime import Runtime
from worker.store import locks, tables
from worker.store.engine import Store
from worker.sweeper import BATCH_MAX, LEASE_SECONDS, sweep, tidy
from worker.tell import tell

DAY = 86_400


def sold(at: Desk, name: str, *, days: int = 30, app: str = "acme", **said: object) -> None:
    """Sell a plan that ends in so many days."""
    now = int(at.clock())
    told = {"purchase_id": name, "product_id": ANNUAL, "user_id": f"user-of-{name}", "expires_at": now + days * DAY}
    fixed = {"app": app, "platform": "stripe", "environment": "production", "purchased_at": now}
    tell(at.runtime, PurchaseTold.model_validate({**fixed, **told, **said}))


def accesses(at: Desk) -> dict[str, str]:
    """Read the access of every purchase."""
    return {row["purchase_id"]: row["access"] for row in at.rows(tables.purchases)}


async def test_what_was_lost_is_queued_again_and_again(at: Desk):
    """Accepted and not finished: queued again when it is overdue, then left alone for as long, until it is done."""
    accepted = await Inbox(at.store, at.queue).accept(arrival(1))
    at.queue.notifications.clear()

    assert 0 == sweep(at.runtime)
    for _ in range(2):
        at.clock.now += SETTINGS.work.sweep_after_seconds
        assert 1 == sweep(at.runtime)
        assert 0 == sweep(at.runtime)
    assert [accepted.id] * 2 == at.queue.notifications
    process(at.runtime, at.queue.notifications)
    at.clock.now += DAY
    assert 0 == sweep(at.runtime)


async def test_a_round_leaves_no_circles(at: Desk):
    """A storm is overdue for hours, and each round names a thousand ids: nothing keeps them once they are queued."""
    # It once did: a statement made for its ids is a circle, and a worker grew by 100 kB with each round.
    for number in range(20):
        await Inbox(at.store, at.queue).accept(arrival(number))
    found = []
    for _ in range(3):  # statements are compiled in the first
        at.clock.now += SETTINGS.work.sweep_after_seconds
        gc.collect()
        gc.disable()
        try:
            assert 20 == sweep(at.runtime)
            found.append(gc.collect())
        finally:
            gc.enable()
    assert 0 == found[-1]


async def test_without_a_queue_the_next_round_finds_it_again(at: Desk):
    """While the queue is away rounds go on, and what they found is found again."""
    await Inbox(at.store, at.queue).accept(arrival(1))
    at.queue.notifications.clear()
    at.queue.away = True
    at.clock.now += SETTINGS.work.sweep_after_seconds
    assert 1 == sweep(at.runtime)
    at.queue.away = False
    at.clock.now += SETTINGS.work.sweep_after_seconds

    assert 1 == sweep(at.runtime)
    assert 1 == len(at.queue.notifications)


def test_an_idle_round_writes_nothing(at: Desk):
    """A system at rest is asked one question, whoever subscribes, and does not even take a lock."""
    subscribe(at.store, *(subscriber(f"https://{name}.example/") for name in "abc"))
    sold(at, "ch_1")
    at.queue.deliveries.clear()
    with at.store.write() as connection:
        connection.execute(tables.deliveries.update().values(status="delivered"))
    statements = Statements().watch(at.store)

    assert 0 == sweep(at.runtime)
    unasked = ("BEGIN", "SELECT set_config")  # sent along with what follows, and waited for by nobody
    assert ["SELECT"] == [text.split()[0] for text in statements.texts if not text.startswith(unasked)]


def test_a_date_that_passed_ends_access_once(at: Desk):
    """When the clock passes an expiry date access ends, the app hears of it once, and it is counted."""
    sold(at, "ch_1", days=30)
    sold(at, "ch_2", days=31)
    at.clock.now += 30 * DAY

    assert 1 == sweep(at.runtime)
    assert {"ch_1": Access.EXPIRED, "ch_2": Access.ACTIVE} == accesses(at)
    assert {"user-of-ch_1": "expired", "user-of-ch_2": "active"} == at.statuses()
    (ended,) = [event for event in at.events() if event.type == "entitlement.expired"]
    assert (None, "lapsed") == (ended.data.cause.platform, ended.data.cause.rule)
    assert 0 == sweep(at.runtime)
    assert () == check_fold(at.runtime).differing
    metrics = at.runtime.metrics.registry
    assert 1 == metrics.get_sample_value("clawback_entitlement_changes_total", {"type": "entitlement.expired"})


async def test_a_purchase_told_after_its_end_runs_out_once(at: Desk):
    """Stripe tells on day 35 of an invoice whose period ended on day 30: one round ends it, and no other finds it."""
    # It stayed active in the ledger and was found in every round, so that enough of them hid all later ones.
    begins, ends = NOW_MS // 1000, NOW_MS // 1000 + 30 * DAY
    invoice = {
        **BASIL_INVOICE,
        "lines": {
            "object": "list",
            "data": [{**BASIL_LINE, "period": {"start": begins, "end": ends}}],
            "has_more": False,
        },
        "parent": None,
        "subscription": "sub_ann",
        "metadata": {"user_id": "ann", "product_id": ANNUAL},
    }
    late = await Inbox(at.store, at.queue).accept(arrival(1, "invoice.paid", invoice, at_ms=NOW_MS + 35 * DAY * 1000))
    at.clock.now += 36 * DAY
    process(at.runtime, [late.id])
    assert {"ann": "expired"} == at.statuses()

    assert 1 == sweep(at.runtime)
    assert {"in_1Annual": Access.EXPIRED} == accesses(at)
    assert 0 == sweep(at.runtime)


def test_an_app_that_left_the_configuration_hides_nobody(at: Desk):
    """Purchases of an app that is no longer configured stay as they are, and take no place in a round."""
    # They were found first, as they ran out first, and then passed over: a full round of them was all that happened.
    sold(at, "ch_1")
    (row,) = at.rows(tables.purchases)
    left = [
        {**row, "id": f"pur_{number}", "app": "gone", "lineage": "lin_gone", "expires_at": 1}
        for number in range(BATCH_MAX)
    ]
    with at.store.write() as connection:
        connection.execute(tables.purchases.insert(), left)
    at.clock.now += 30 * DAY

    assert 1 == sweep(at.runtime)
    assert BATCH_MAX == sum(row["access"] == Access.ACTIVE for row in at.rows(tables.purchases))


def runtime_with(at: Desk, settings: Settings) -> Runtime:
    """The same parts with another configuration."""
    runtime = at.runtime
    return Runtime(settings, runtime.store, runtime.queue, runtime.metrics, runtime.clock)


async def test_a_purchase_that_breaks_our_code_stops_nothing(at: Desk):
    """Where one purchase cannot be folded any more, all others run out and what was lost is queued again."""
    # One such purchase ended every round: nothing was requeued until somebody mended it.
    whole = SETTINGS.model_copy(update={"apps": {**SETTINGS.apps, "broken": acme()}})
    sold(Desk(runtime_with(at, whole), at.queue, at.clock), "ch_broken", app="broken")
    sold(at, "ch_1")
    lost = await Inbox(at.store, at.queue).accept(arrival(1))
    at.queue.notifications.clear()
    at.clock.now += 30 * DAY
    unfoldable = acme().model_copy(update={"products": {ANNUAL: "not a product"}})
    broken = SETTINGS.model_copy(update={"apps": {**SETTINGS.apps, "broken": unfoldable}})

    assert 3 == sweep(runtime_with(at, broken))
    assert [lost.id] == at.queue.notifications
    assert {"ch_1": Access.EXPIRED, "ch_broken": Access.ACTIVE} == accesses(at)
    assert 0 == sweep(runtime_with(at, broken)), "it is put off, or it would be logged each second, and hide others"
    at.clock.now += 3_600
    at.queue.notifications.clear()
    process(at.runtime, [lost.id])
    assert 1 == sweep(runtime_with(at, whole))
    assert {Access.EXPIRED} == set(accesses(at).values())


def test_one_process_at_a_time(at: Desk):
    """While another process holds the lock a round changes nothing; when its time is over, this one takes over."""
    sold(at, "ch_1")
    at.clock.now += 30 * DAY
    with at.store.write() as connection:
        assert locks.acquire(connection, "sweeper", holder="another:1", lease_ms=int(LEASE_SECONDS * 1000))

    assert 0 == sweep(at.runtime)
    with at.store.write() as connection:
        connection.execute(tables.locks.update().values(until_ms=0))
    assert 1 == sweep(at.runtime)


async def test_a_round_acts_on_what_is_there_when_it_gets_the_lock(at: Desk):
    """Stopped between its look and its lock, a process finds what others finished meanwhile finished."""
    await Inbox(at.store, at.queue).accept(arrival(1))
    waiting = list(at.queue.notifications)
    at.queue.notifications.clear()
    at.clock.now += SETTINGS.work.sweep_after_seconds
    looked = threading.Event()

    def meanwhile(_connection: object) -> None:
        # Its first transaction, which only reads, has just ended: the round has seen the notification waiting.
        if not looked.is_set():
            looked.set()
            process(runtime, waiting)

    runtime = at.runtime
    other = Store(at.store.url)
    watch.listen(other.engine, "checkin", lambda connection, _record: meanwhile(connection))
    assert 0 == sweep(replace(runtime, store=other))
    other.close()

    assert looked.is_set()
    assert [] == at.queue.notifications


def test_tidying_forgets_old_answers(at: Desk):
    """What only had to be remembered for a while is forgotten, and nothing else."""
    with at.store.write() as connection:
        old = {"key": "k1", "fingerprint": "f", "created_at_ms": 0}
        connection.execute(tables.idempotency.insert(), [old, {**old, "key": "k2", "created_at_ms": NOW_MS}])

    assert 1 == tidy(at.runtime)
    assert ["k2"] == [row["key"] for row in at.rows(tables.idempotency)]


async def test_a_date_that_ends_nothing_is_forgotten(at: Desk):
    """What was refunded keeps its date until that has passed: no round finds it, and tidying leaves nobody to look."""
    sold(at, "ch_1")
    sold(at, "ch_2", days=60)
    refund = {"id": "re_1", "object": "refund", "charge": "ch_1", "amount": 4999, "currency": "usd"}
    said = {**refund, "status": "succeeded", "created": NOW_MS // 1000, "payment_intent": None}
    back = await Inbox(at.store, at.queue).accept(arrival(1, "refund.created", said))
    process(at.runtime, [back.id])
    assert {"ch_1": Access.REVOKED, "ch_2": Access.ACTIVE} == accesses(at)
    assert {"ch_1", "ch_2"} == dated(at)
    assert 0 == tidy(at.runtime)

    at.clock.now += 30 * DAY
    assert 0 == sweep(at.runtime)
    assert (1, {"ch_2"}) == (tidy(at.runtime), dated(at))

    at.clock.now += 30 * DAY
    assert (1, 0) == (sweep(at.runtime), tidy(at.runtime))
    assert set() == dated(at)


def dated(at: Desk) -> set[str]:
    """Name the purchases that somebody will look at."""
    return {row["purchase_id"] for row in at.rows(tables.purchases) if row["due_at"] is not None}


def test_the_id_of_a_lapse_is_stable(at: Desk):
    """Two rounds that find the same purchase enter one lapse: its id is made of purchase and date."""
    sold(at, "ch_1")
    at.clock.now += 30 * DAY
    sweep(at.runtime)
    (purchase,) = at.rows(tables.purchases)

    expected = ids.make("ent", "lapsed", purchase["id"], purchase["expires_at"] * 1000)
    assert [expected] == [row["id"] for row in at.rows(tables.entries) if row["kind"] == "lapsed"]
