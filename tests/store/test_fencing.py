"""A worker that was stopped for longer than its lease does not commit over the one that took over.

Real: SQLite and PostgreSQL, two connections of two workers, whose steps are interleaved. Double: the time, which the
steps bring along; a worker that is "stopped" is one whose next step comes late. Asserted: rows.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from handlers.backoff import Verdict
from tests.effort import law
from tests.services import STORES
from tests.store.outbox_story import NOW_MS, announce, event, new_store, subscribe, subscriber
from worker.store import outbox
from worker.store.attempts import Attempt, record
from worker.store.engine import Store
from worker.store.outbox import Claim
from worker.store.tables import attempts, customers, deliveries, events, subscribers

VERDICTS = {
    "delivered": Verdict("delivered"),
    "failed": Verdict("failed", 5.0),
    "resting": Verdict("failed", 600.0, rest_seconds=600.0),
    "dead": Verdict("dead"),
    "gone": Verdict("dead", gone=True),
}
LEASE_MS = 10_000 + outbox.LEASE_SLACK_MS

Step = tuple[str, int, Any]
_claims = st.tuples(st.just("claim"), st.integers(0, 1), st.none())
_ends = st.tuples(st.just("end"), st.integers(0, 1), st.sampled_from(sorted(VERDICTS)))
_passes = st.tuples(st.just("passes"), st.just(0), st.sampled_from([1, 5_000, LEASE_MS - 1, LEASE_MS, 700_000]))
STEPS = st.lists(st.one_of(_claims, _ends, _passes), max_size=14)


@pytest.fixture(name="empty", scope="module", params=STORES)
def _empty(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], tuple[Store, Store]]]:
    """Give both workers' stores to every example, emptied each time: migrating is what takes long."""
    if request.param == "postgresql":
        url = str(request.getfixturevalue("shared_database").url)
    else:
        url = f"sqlite:///{tmp_path_factory.mktemp('fencing') / 'clawback.db'}"
    both = new_store(url), Store(url)

    def empty() -> tuple[Store, Store]:
        with both[0].write() as connection:
            for table in (attempts, deliveries, events, subscribers, customers):
                connection.execute(table.delete())
        return both

    yield empty
    for store in both:
        store.close()


class Interleaved:
    """Two workers at one outbox, and who of them may decide about what."""

    def __init__(self, both: tuple[Store, Store]) -> None:
        self.both = both
        self.now_ms = NOW_MS
        subscribe(both[0], subscriber(timeout_seconds=10))
        self.ids = announce(both[0], [event(1), event(2)]) and sorted(self._rows())
        self.held: tuple[list[Claim], list[Claim]] = ([], [])
        self.last: dict[str, Claim] = {}
        self.recorded = 0

    def take(self, step: Step) -> None:
        """Take one step, and hold what it did against the law."""
        name, worker, what = step
        if name == "passes":
            self.now_ms += what
        elif name == "claim":
            self._claim(worker)
        elif self.held[worker]:
            self._end(worker, what)

    def _claim(self, worker: int) -> None:
        with self.both[worker].write() as connection:
            claims = outbox.claim(connection, self.ids, self.now_ms).claims
        for claim in claims:
            before = self.last.get(claim.id)
            assert before is None or before.claimed_until_ms <= self.now_ms, "two hold it at once"
            self.last[claim.id] = claim
        self.held[worker].extend(claims)

    def _end(self, worker: int, outcome: str) -> None:
        claim, verdict = self.held[worker].pop(0), VERDICTS[outcome]
        before, stood = self._rows(), self._standing()
        with self.both[worker].write() as connection:
            record(connection, [Attempt(claim, verdict, self.now_ms, 1.0, 503, None)], self.now_ms)
        self.recorded += 1
        after = self._rows()
        if self.last.get(claim.id) is claim and before[claim.id]["status"] == "pending":
            assert (before[claim.id]["attempts"] + 1, 0) == (
                after[claim.id]["attempts"],
                after[claim.id]["claimed_until_ms"],
            )
        elif outcome != "delivered":
            assert (before, stood) == (after, self._standing()), "who came late decided something"
        assert {"delivered", "failed"} >= {after[one]["status"] for one in before if self._over(before[one])}
        if after[claim.id]["claimed_until_ms"] == 0:
            self.last.pop(claim.id, None)

    def _over(self, row: dict[str, Any]) -> bool:
        return bool(row["status"] != "pending")

    def attempted(self) -> int:
        """Count the attempts on record."""
        with self.both[0].read() as connection:
            return int(connection.execute(select(func.count()).select_from(attempts)).scalar_one())

    def _rows(self) -> dict[str, dict[str, Any]]:
        with self.both[0].read() as connection:
            return {row["id"]: dict(row) for row in connection.execute(select(deliveries)).mappings()}

    def _standing(self) -> list[dict[str, Any]]:
        with self.both[0].read() as connection:
            return [dict(row) for row in connection.execute(select(subscribers)).mappings()]


@law
@given(steps=STEPS)
def test_whoever_took_over_decides(empty: Callable[[], tuple[Store, Store]], steps: list[Step]):
    """However the steps of two workers fall, one holds a delivery at a time, and a late failure moves nothing."""
    story = Interleaved(empty())
    for step in steps:
        story.take(step)

    assert story.recorded == story.attempted()


def test_a_late_failure_puts_nobody_off(empty: Callable[[], tuple[Store, Store]]):
    """What was let go by the one who took over is not put off again by the one that comes late, nor its subscriber."""
    story = Interleaved(empty())
    late = [
        ("claim", 0, None),
        ("passes", 0, LEASE_MS),
        ("claim", 1, None),
        ("end", 1, "delivered"),
        ("end", 0, "gone"),
    ]
    for step in late:
        story.take(step)
    story.take(("claim", 1, None))

    assert [2] == [claim.sequence for claim in story.held[1]]
