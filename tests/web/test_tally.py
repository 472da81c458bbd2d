"""What one turn of the event loop is counted by is written once, and is all there before anybody reads an answer.

Real: the client library's counters and histograms, the event loop. Double: nothing.
"""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from worker.metrics import Metrics, child
from worker.web.tally import Tally

OUTCOMES = st.lists(st.sampled_from(["accepted", "duplicate", "malformed"]), max_size=20)


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    """Read a count, 0 where nothing was counted."""
    return metrics.registry.get_sample_value(f"clawback_{name}", labels) or 0.0


@given(turns=st.lists(OUTCOMES, max_size=4))
def test_every_one_is_counted_once_and_by_the_next_turn(turns):
    """However many are counted in however many turns, each is there when its turn is over, and once."""
    metrics, tally, so_far = Metrics(CollectorRegistry()), Tally(), list[str]()

    async def go() -> None:
        for outcomes in turns:
            for outcome in outcomes:
                tally.count(metrics.notifications.labels("stripe", "acme", outcome))
                tally.time(child(metrics.verify_seconds, "stripe"), 0.001)
            await asyncio.sleep(0)
            so_far.extend(outcomes)
            for outcome in set(outcomes):
                labels = {"platform": "stripe", "app": "acme", "outcome": outcome}
                assert so_far.count(outcome) == counted(metrics, "notifications_total", **labels)
            assert len(so_far) == counted(metrics, "verify_seconds_count", platform="stripe")

    asyncio.run(go())


async def test_a_turn_in_which_nothing_happens_writes_nothing():
    """Whoever counts nothing has nothing written, and writing twice counts nothing twice."""
    metrics, tally = Metrics(CollectorRegistry()), Tally()
    tally.count(metrics.notifications.labels("stripe", "acme", "accepted"))
    tally.write()
    tally.write()
    await asyncio.sleep(0)

    assert 1 == counted(metrics, "notifications_total", platform="stripe", app="acme", outcome="accepted")
