"""The house under everything that may happen to it: arrive, repeat, overtake, lose the queue, be killed, sweep, lapse.

Real: inbox, processing, ledger, outbox, sweeper, the app's own calls, SQLite, Stripe's event shapes. Double: the queue,
a list that may lose everything, and the clock. A kill is a rollback: the database cuts the work off after any number
of statements. Asserted after every step: the stored view is the fold of its entries; every customer's events are
numbered without a gap, and a subscriber that believes them knows every entitlement; at the end: everything that was
accepted was processed exactly once, and the end is that of the same notifications one by one and never disturbed.
"""

import asyncio
import atexit
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from schemas.resources import PurchaseTold
from tests.effort import EFFORT
from tests.handlers.entries import ANNUAL, NOW_MS
from tests.worker.desk import Desk, Killed, Statements, arrival, desk, template
from tests.worker.stripe_events import charge, dispute, invoice, invoice_payment, refund
from worker.audit import check_fold
from worker.inbox import Accepted, Inbox
from worker.process import process
from worker.store import tables
from worker.sweeper import sweep
from worker.tell import tell

HALF: Final = 6000
_SALES = st.sampled_from(["annual", "monthly"])

STORIES: Final[Mapping[str, Callable[[str], tuple[str, dict[str, Any]]]]] = {
    "paid": lambda sale: ("charge.succeeded", charge(sale)),
    "invoiced": lambda sale: ("invoice.paid", invoice(sale, "sub_both")),
    "tied": lambda sale: ("invoice_payment.paid", invoice_payment(sale)),
    "half refunded": lambda sale: ("refund.created", refund(sale, 1, amount=HALF)),
    "other half refunded": lambda sale: ("refund.created", refund(sale, 2, amount=HALF)),
    "half failed": lambda sale: ("refund.failed", refund(sale, 1, amount=HALF, status="failed")),
    "sum told": lambda sale: ("charge.refunded", charge(sale, amount_refunded=HALF)),
    "disputed": lambda sale: ("charge.dispute.created", dispute(sale, "needs_response")),
    "won": lambda sale: ("charge.dispute.closed", dispute(sale, "won")),
    "ended": lambda _: ("customer.subscription.deleted", {"id": "sub_both", "ended_at": NOW_MS // 1000 + 50 * 86_400}),
    "something else": lambda sale: ("customer.updated", {"id": f"cus_{sale}"}),
    "not understood": lambda sale: ("refund.created", {"id": f"re_{sale}", "amount": "much"}),
}


@cache
def _scratch() -> Path:
    """Make one directory for every house of this run, gone when it ends: failing examples leave theirs behind."""
    directory = Path(tempfile.mkdtemp(prefix="house-machine-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _directory() -> Path:
    return Path(tempfile.mkdtemp(dir=_scratch()))


@cache
def _template() -> Path:
    return template(_directory())


def _undisturbed(accepted: list[str], told: list[PurchaseTold], at: Desk) -> object:
    """Play the same to a house of its own: one by one, in the order of its ids, with nothing going wrong."""
    directory = _directory()
    rows = [{**row, "status": "accepted", "attempts": 0} for row in at.rows(tables.notifications)]
    with desk(directory, copy_of=_template()) as calm:
        calm.clock.now = at.clock.now
        with calm.store.write() as connection:
            if rows:
                connection.execute(tables.notifications.insert(), rows)
        for each in sorted(accepted):
            process(calm.runtime, [each])
        for call in told:
            tell(calm.runtime, call)
        while sweep(calm.runtime):
            pass
        ends = _ends(calm)
    shutil.rmtree(directory)
    return ends


_BY_OUR_CLOCK = {"lineage", "updated_at", "sort_at"}
"""What may differ: only a purchase that was active when its date passed has a lapse, and a time of it."""


def _ends(at: Desk) -> object:
    """Reduce a house to what its API shows of purchases, refunds and access."""
    views = [
        {
            tuple(sorted((name, value) for name, value in row.items() if name not in _BY_OUR_CLOCK))
            for row in at.rows(table)
        }
        for table in (tables.purchases, tables.refunds)
    ]
    held = {
        (row["user_id"], row["key"], row["status"]) for row in at.rows(tables.entitlements) if row["purchases"] != "[]"
    }
    return views, held


class House(RuleBasedStateMachine):
    """Two sales of one subscription, and everything that may befall what is said of them."""

    @initialize()
    def open(self) -> None:
        """Begin with an empty database."""
        self.closing = ExitStack()
        self.directory = _directory()
        self.at = self.closing.enter_context(desk(self.directory, copy_of=_template()))
        self.database = Statements().watch(self.at.store)
        self.accepted: set[str] = set()
        self.told: list[PurchaseTold] = []

    @rule(
        what=st.lists(st.tuples(_SALES, st.sampled_from(sorted(STORIES))), min_size=1, max_size=4),
        day=st.integers(0, 60),
    )
    def arrive(self, what: list[tuple[str, str]], day: int) -> None:
        """Stripe posts; what it has posted before is a repetition, whenever it happened."""
        arrivals = []
        for sale, story in what:
            kind, subject = STORIES[story](sale)
            arrivals.append(arrival(f"{sale}_{story}", kind, subject, at_ms=NOW_MS + day * 86_400_000))

        async def accept() -> list[Accepted]:
            inbox = Inbox(self.at.store, self.at.queue)
            return await asyncio.gather(*map(inbox.accept, arrivals))

        for answer in asyncio.run(accept()):
            assert answer.duplicate == (answer.id in self.accepted)
            self.accepted.add(answer.id)

    @rule(sale=_SALES, quantity=st.sampled_from([None, 1]))
    def tell(self, sale: str, quantity: int | None) -> None:
        """The app's backend tells of a sale that ends after a month."""
        said = {"app": "acme", "platform": "stripe", "environment": "production", "product_id": ANNUAL}
        call = PurchaseTold.model_validate(
            {
                **said,
                "purchase_id": f"ch_{sale}",
                "user_id": f"user-{sale}",
                "quantity": quantity,
                "purchased_at": NOW_MS // 1000,
                "expires_at": NOW_MS // 1000 + 30 * 86_400,
            }
        )
        tell(self.at.runtime, call)
        self.told.append(call)

    @precondition(lambda self: self.at.queue.notifications)
    @rule(count=st.integers(1, 6), backwards=st.booleans(), kept=st.booleans())
    def work(self, count: int, *, backwards: bool, kept: bool) -> None:
        """A worker takes some of the queue, from either end, as one message; the broker may deliver it once more."""
        queue = self.at.queue.notifications
        taken = queue[-count:] if backwards else queue[:count]
        if not kept:
            self.at.queue.notifications = [each for each in queue if each not in taken]
        process(self.at.runtime, taken)

    @precondition(lambda self: self.at.queue.notifications)
    @rule(count=st.integers(1, 6), statements=st.integers(0, 14))
    def work_and_be_killed(self, count: int, statements: int) -> None:
        """A worker dies on the way; its message comes back, or does not."""
        self.database.kill_after = statements
        with suppress(Killed):
            process(self.at.runtime, self.at.queue.notifications[:count])
        self.database.kill_after = None

    @rule()
    def lose_the_queue(self) -> None:
        """The broker loses everything it had."""
        self.at.queue.notifications.clear()

    @rule(away=st.booleans())
    def reach_the_broker(self, *, away: bool) -> None:
        """The broker goes away, or comes back."""
        self.at.queue.away = away

    @rule(seconds=st.sampled_from([0, 11, 3600, 31 * 86_400]))
    def sweep(self, seconds: int) -> None:
        """Time passes, and the sweeper does a round."""
        self.at.clock.now += seconds
        sweep(self.at.runtime)

    @rule(statements=st.integers(0, 14))
    def sweep_and_be_killed(self, statements: int) -> None:
        """The sweeper dies on the way."""
        self.at.clock.now += 11
        self.database.kill_after = statements
        with suppress(Killed):
            sweep(self.at.runtime)
        self.database.kill_after = None

    @invariant()
    def stored_view_is_the_fold(self) -> None:
        """Whatever happened, what is stored is what the entries say."""
        assert () == check_fold(self.at.runtime).differing

    @invariant()
    def events_are_numbered_and_true(self) -> None:
        """No event twice, no number missing, and the last word on every entitlement is how it stands."""
        events, numbers, known = self.at.events(), defaultdict[str, list[int | None]](list), {}
        assert len(events) == len({event.id for event in events})
        for event in events:
            if event.customer:
                numbers[event.customer.user_id].append(event.sequence)
            if held := event.data.entitlement:
                known[held.user_id, held.key] = held.status
        assert {user: list(range(1, len(found) + 1)) for user, found in numbers.items()} == numbers
        assert {row["user_id"]: row["sequence"] for row in self.at.rows(tables.customers)} == {
            user: len(found) for user, found in numbers.items()
        }
        stored = {(row["user_id"], row["key"]): row["status"] for row in self.at.rows(tables.entitlements)}
        assert stored == known

    def teardown(self) -> None:
        """Let everything come to rest, and compare with a house in which nothing ever went wrong."""
        if not hasattr(self, "at"):
            return
        self.at.queue.away = False
        for _ in range(3):
            self.at.clock.now += 3600
            sweep(self.at.runtime)
            process(self.at.runtime, self.at.queue.notifications)
        while sweep(self.at.runtime):
            pass
        rows = self.at.rows(tables.notifications)
        assert self.accepted == {row["id"] for row in rows}
        assert {"accepted", "dead"}.isdisjoint(row["status"] for row in rows)
        assert all(row["attempts"] == 1 for row in rows)
        self.stored_view_is_the_fold()
        self.events_are_numbered_and_true()
        assert _ends(self.at) == _undisturbed(list(self.accepted), self.told, self.at)
        self.closing.close()
        shutil.rmtree(self.directory)


TestHouse = pytest.mark.law(House.TestCase)
TestHouse.settings = settings(
    max_examples=EFFORT.machine_runs,
    stateful_step_count=EFFORT.machine_steps,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
