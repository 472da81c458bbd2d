"""Hints go out quickly, in handy portions, and a broker that is away is told apart from a mistake."""

import json
import select
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dramatiq.brokers.redis import RedisBroker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.settings import Broker, Settings
from tests.services import on_valkey, require_valkey, valkey
from worker.broker import ANSWER_SECONDS_MAX, DELIVERIES, NOTIFICATIONS, connect, make_broker
from worker.hinting import WouldWait
from worker.queue import IDS_PER_MESSAGE_MAX, BrokerQueue
from worker.runtime import QueueUnavailable
from worker.valkey import EmbeddedValkey

__all__ = ["on_valkey", "valkey"]


@pytest.fixture
def hints(on_valkey):
    """Put on a queue of the test's own."""
    queue = BrokerQueue(make_broker(on_valkey))
    yield queue
    queue.close()


def waiting(queue: BrokerQueue, name: str) -> list[dict]:
    """Read the messages that wait, in their order."""
    broker = queue.broker
    client: Any = broker.client
    ids = client.lrange(f"{broker.namespace}:{name}", 0, -1)
    return [json.loads(client.hget(f"{broker.namespace}:{name}.msgs", one)) for one in ids]


def test_message_is_a_pointer(hints):
    """A message names the actor and carries the ids, nothing else."""
    hints.put_notifications(["ntf_1", "ntf_2"])
    hints.put_deliveries(["dlv_1"])

    (process,), (deliver,) = waiting(hints, NOTIFICATIONS), waiting(hints, DELIVERIES)
    assert ("process", [["ntf_1", "ntf_2"]], {}) == (process["actor_name"], process["args"], process["kwargs"])
    assert ("deliver", [["dlv_1"]], {}) == (deliver["actor_name"], deliver["args"], deliver["kwargs"])


def test_message_says_whose_deliveries_are(hints):
    """What is known of a delivery's subscriber goes with the hint, in portions as handy as any."""
    owners = {f"dlv_{number}": f"sub_{number % 2}" for number in range(IDS_PER_MESSAGE_MAX + 1)}

    hints.put_deliveries(owners)

    first, second = (message["args"][0] for message in waiting(hints, DELIVERIES))
    assert owners == first | second
    assert list(owners) == [*first, *second]
    assert 1 == len(second)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(count=st.integers(min_value=0, max_value=350))
def test_every_id_is_put_once_and_in_order(hints, count):
    """However many ids come at once, each is in exactly one message, and no message is too large."""
    hints.broker.flush_all()
    hints.broker.flush(NOTIFICATIONS)
    ids = [f"ntf_{number}" for number in range(count)]

    hints.put_notifications(ids)

    portions = [message["args"][0] for message in waiting(hints, NOTIFICATIONS)]
    assert ids == [one for portion in portions for one in portion]
    assert all(0 < len(portion) <= IDS_PER_MESSAGE_MAX for portion in portions)


def test_hints_at_the_same_time_are_all_put(hints):
    """However many threads hint at once, each hint is there once and whole."""
    ids = [f"ntf_{number}" for number in range(400)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one: hints.put_notifications([one]), ids))

    assert sorted(ids) == sorted(message["args"][0][0] for message in waiting(hints, NOTIFICATIONS))


def test_hint_outlives_its_connection(hints):
    """A server that closed every connection, or knows no script any more, costs no hint."""
    hints.put_notifications(["ntf_1"])
    hints.broker.client.client_kill_filter(_type="normal", skipme=True)
    hints.put_notifications(["ntf_2"])
    hints.broker.client.script_flush()
    hints.broker.client.client_kill_filter(_type="normal", skipme=True)

    hints.put_notifications(["ntf_3"])

    assert [["ntf_1"], ["ntf_2"], ["ntf_3"]] == [message["args"][0] for message in waiting(hints, NOTIFICATIONS)]


def test_a_loop_hints_without_waiting(hints):
    """Once a connection is there, a hint leaves at once; whoever hints meanwhile takes another connection."""
    hints.put_notifications(["ntf_1"])
    with hints.hinting(["ntf_2"]) as socket_:
        hints.put_notifications(["ntf_3"])
        select.select([socket_], [], [], ANSWER_SECONDS_MAX)

    assert {"ntf_1", "ntf_2", "ntf_3"} == {message["args"][0][0] for message in waiting(hints, NOTIFICATIONS)}


def test_a_loop_is_told_where_it_would_wait(hints):
    """No connection, or one in use or ended by its server, a script to be sent again, too many ids: a thread's."""
    _assert_it_would_wait(hints)  # nobody connected
    hints.put_notifications(["ntf_1"])
    with hints.hinting(["ntf_2"]) as socket_:
        _assert_it_would_wait(hints)  # in use
        select.select([socket_], [], [], ANSWER_SECONDS_MAX)
    _assert_it_would_wait(hints, ["ntf_many"] * (IDS_PER_MESSAGE_MAX + 1))
    hints.broker.client.script_flush()
    _assert_it_would_wait(hints)
    hints.put_notifications(["ntf_3"])
    hints.broker.client.client_kill_filter(_type="normal", skipme=True)
    _assert_it_would_wait(hints)
    hints.put_notifications(["ntf_4"])

    put = [message["args"][0][0] for message in waiting(hints, NOTIFICATIONS)]
    assert ["ntf_1", "ntf_2", "ntf_3", "ntf_4"] == put


def test_a_broker_that_knows_no_waking_makes_a_loop_wait(on_valkey):
    """A queue over Dramatiq's own broker hints by a thread alone."""
    queue = BrokerQueue(RedisBroker(client=connect(on_valkey.broker.url)))
    _assert_it_would_wait(queue)
    queue.close()


def test_a_broker_that_says_nothing_is_left_alone(hints):
    """Where no answer came in time, nobody waits for the next one either."""
    hints.put_notifications(["ntf_1"])
    hints.broker.client.client_pause(200)
    with pytest.raises(QueueUnavailable), hints.hinting(["ntf_2"]):
        pass
    _assert_it_would_wait(hints)

    with pytest.raises(QueueUnavailable):
        hints.put_notifications(["ntf_3"])


def _assert_it_would_wait(hints: BrokerQueue, ids: Sequence[str] = ("ntf_lost",)) -> None:
    with pytest.raises(WouldWait), hints.hinting(ids) as socket_:
        select.select([socket_], [], [], ANSWER_SECONDS_MAX)


def test_broker_that_comes_back_is_hinted_at_again(tmp_path):
    """While the broker is away each hint is refused; the first one after its return is there."""
    server = EmbeddedValkey(tmp_path, require_valkey())
    server.start()
    queue = BrokerQueue(make_broker(Settings(broker=Broker(url=server.url))))
    queue.put_notifications(["ntf_1"])
    server.stop()
    for _ in range(2):
        with pytest.raises(QueueUnavailable):
            queue.put_notifications(["ntf_lost"])
    server.start()

    queue.put_notifications(["ntf_2"])

    assert [["ntf_1"], ["ntf_2"]] == [message["args"][0] for message in waiting(queue, NOTIFICATIONS)]
    queue.close()
    server.stop()


def test_absent_broker_is_no_mistake(tmp_path):
    """A broker that is away raises the one error that callers go on from."""
    queue = BrokerQueue(make_broker(Settings(broker=Broker(url=f"unix://{tmp_path}/nobody.sock"))))

    with pytest.raises(QueueUnavailable):
        queue.put_notifications(["ntf_1"])

    queue.close()


def test_a_silent_broker_is_waited_for_once():
    """Whoever hints next does not wait for a broker that has just not answered: a 200 must not, either."""
    # Every commit of the door waited for four seconds, and under load the next one behind it.
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
        queue = BrokerQueue(make_broker(Settings(broker=Broker(url=url))))
        with pytest.raises(QueueUnavailable):
            queue.put_notifications(["ntf_1"])

        began = time.monotonic()
        with pytest.raises(QueueUnavailable):
            queue.put_notifications(["ntf_2"])
        assert time.monotonic() - began < 1.0

        queue.close()
