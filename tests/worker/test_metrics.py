"""What is counted many at a time is counted as if it had been counted one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from worker.metrics import LAG_SECONDS, WITHIN_SECONDS, Metrics

AMOUNTS = st.lists(st.sampled_from([*LAG_SECONDS, *WITHIN_SECONDS]) | st.integers(0, 10_000).map(lambda n: n / 8))


@given(amounts=AMOUNTS)
def test_a_set_is_timed_like_its_members_one_by_one(amounts):
    """Observing many at once adds to the same buckets, count and sum as observing each."""
    together, one_by_one = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    together.receive_to_effect_seconds.labels("stripe").observe_all(amounts)
    child = one_by_one.receive_to_effect_seconds.labels("stripe")
    for amount in amounts:
        child.observe(amount)

    assert buckets(one_by_one) == buckets(together)
    assert total(one_by_one) == pytest.approx(total(together))


def buckets(metrics: Metrics) -> list[bytes]:
    """List what a scrape says of every bucket and of the count."""
    lines = generate_latest(metrics.registry).splitlines()
    return [line for line in lines if b"receive_to_effect" in line and (b"_bucket" in line or b"_count" in line)]


def total(metrics: Metrics) -> float:
    """Give the sum of all that was timed."""
    labels = {"platform": "stripe"}
    return metrics.registry.get_sample_value("clawback_receive_to_effect_seconds_sum", labels) or 0.0
