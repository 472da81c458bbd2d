"""The broker on a real server: quick to wake, honest in its counts, and able to find its server."""

import threading
import time
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq import Worker
from dramatiq.brokers.redis import RedisBroker

from config.settings import Settings
from tests.services import on_valkey, valkey
from worker.broker import NOTIFICATIONS, connect, make_broker, queue_depths, wake_key
from worker.queue import BrokerQueue

__all__ = ["on_valkey", "valkey"]

TIMES = 10
IDLE_SECONDS = 1.2
"""Long enough for a consumer that sleeps longer and longer to sleep for long."""


class Station:
    """A worker whose only actor notes what it was given."""

    def __init__(self, settings: Settings, threads: int = 2) -> None:
        self.seen: list[tuple[float, str]] = []
        self.news = threading.Semaphore(0)
        self.broker = make_broker(settings, consumes=True)
        dramatiq.actor(broker=self.broker, actor_name="process", queue_name=NOTIFICATIONS)(self.process)
        self.worker = Worker(self.broker, worker_threads=threads)

    def process(self, ids: list[str]) -> None:
        """Note what came and when."""
        for one in ids:
            self.seen.append((time.monotonic(), one))
            self.news.release()

    def wait(self, count: int, seconds: float = 30.0) -> None:
        """Wait until so many more came."""
        for _ in range(count):
            assert self.news.acquire(timeout=seconds)


@pytest.fixture
def station(on_valkey):
    """Start a worker on a queue of the test's own."""
    station = Station(on_valkey)
    station.worker.start()
    yield station
    station.worker.stop(timeout=5_000)
    station.broker.close()


@pytest.fixture
def hints(on_valkey):
    """Put on the same queue, as another process would."""
    queue = BrokerQueue(make_broker(on_valkey))
    yield queue
    queue.close()


def test_idle_system_reacts_at_once(station, hints):
    """A hint to a system that has been idle for long is taken in milliseconds, not at the next poll."""
    delays = []
    for number in range(TIMES):
        time.sleep(IDLE_SECONDS / TIMES if number else IDLE_SECONDS)
        put = time.monotonic()
        hints.put_notifications([f"ntf_{number}"])
        station.wait(1)
        delays.append(station.seen[-1][0] - put)

    # A poll alone takes hundreds of milliseconds here; the bound leaves room for a machine that is busy otherwise.
    assert sorted(delays)[TIMES // 2] < 0.1, delays


def test_nothing_is_lost_or_repeated_in_a_burst(station, hints):
    """More messages than a worker holds at a time are all taken, once each."""
    ids = [f"ntf_{number}" for number in range(500)]
    for one in ids:
        hints.put_notifications([one])

    station.wait(len(ids))

    assert sorted(ids) == sorted(one for _, one in station.seen)


def test_message_that_nobody_was_woken_for_is_found(station, hints):
    """A lost wake-up costs one poll and nothing else."""
    plain = RedisBroker(client=connect_like(station), namespace=station.broker.namespace, middleware=[])
    plain.enqueue(dramatiq.Message(NOTIFICATIONS, "process", (["ntf_1"],), {}, {}))

    station.wait(1, seconds=5.0)

    plain.client.close()


def test_hint_wakes_a_server_that_knows_no_script_any_more(station, hints):
    """A server that was started again has forgotten scripts; the next hint is put and wakes as ever."""
    hints.put_notifications(["ntf_1"])
    station.wait(1)
    hints.broker.client.script_flush()

    hints.put_notifications(["ntf_2"])
    station.wait(1, seconds=5.0)

    assert ["ntf_1", "ntf_2"] == [one for _, one in station.seen]


def test_hint_that_waits_for_its_time_wakes_nobody(on_valkey, hints):
    """A delayed message is nothing to do now: its own consumer looks when its time has come."""
    hints.broker.enqueue(dramatiq.Message(NOTIFICATIONS, "process", (["ntf_1"],), {}, {}), delay=60_000)

    assert [] == hints.broker.client.keys(f"{on_valkey.broker.namespace}-wake:*")


def test_consumer_that_took_all_asks_again_only_when_woken(on_valkey, hints):
    """After fewer than it has room for, a consumer waits for the next hint before it asks."""
    consumer = hints.broker.consume(NOTIFICATIONS, prefetch=4)
    hints.put_notifications(["ntf_1"])
    assert next(consumer) is not None
    hints.broker.client.delete(wake_key(on_valkey.broker.namespace, NOTIFICATIONS))
    fetches = fetched(hints)

    waiting = threading.Thread(target=next, args=(consumer,))
    waiting.start()
    while not hints.broker.client.info("clients")["blocked_clients"]:
        time.sleep(0.001)

    assert fetches == fetched(hints)
    waiting.join()


def test_whoever_is_woken_has_what_there_is_in_the_same_answer(on_valkey, hints):
    """Between a hint and its message there is one round trip, even where the server forgot the script meanwhile."""
    consumer = hints.broker.consume(NOTIFICATIONS, prefetch=4)
    hints.broker.client.delete(wake_key(on_valkey.broker.namespace, NOTIFICATIONS))
    assert next(consumer) is None
    before, taken = fetched(hints), []
    waiting = threading.Thread(target=lambda: taken.append(next(consumer)))
    waiting.start()
    while not hints.broker.client.info("clients")["blocked_clients"]:
        time.sleep(0.001)
    hints.put_notifications(["ntf_1"])
    waiting.join()
    asked = fetched(hints) - before
    hints.broker.client.script_flush()

    assert ([["ntf_1"]], 2) == ([message.args[0] for message in taken], asked)
    assert next(consumer) is None


def fetched(hints: BrokerQueue) -> int:
    """Count how often the server ran a script so far."""
    stats: Any = hints.broker.client.info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])


def connect_like(station: Station) -> redis.Redis:
    """Connect to the station's server once more."""
    path = station.broker.client.connection_pool.connection_kwargs["path"]
    return connect(f"unix://{path}")


def test_wake_ups_are_bounded(on_valkey):
    """With nobody to wake, wake-ups do not pile up and do not stay."""
    queue = BrokerQueue(make_broker(on_valkey))
    for number in range(100):
        queue.put_notifications([f"ntf_{number}"])

    key = wake_key(on_valkey.broker.namespace, NOTIFICATIONS)
    assert 16 == queue.broker.client.llen(key)
    assert 0 < queue.broker.client.ttl(key) <= 5
    queue.close()


def test_depths_tell_every_state(on_valkey, hints):
    """What is ready, delayed, in flight and dead is counted where it is."""
    hints.put_notifications(["ntf_1"])
    hints.put_notifications(["ntf_2"])
    hints.put_notifications(["ntf_3"])
    hints.broker.enqueue(dramatiq.Message(NOTIFICATIONS, "process", (["ntf_4"],), {}, {}), delay=60_000)
    consumer = hints.broker.consume(NOTIFICATIONS, prefetch=2)
    taken, dead = next(consumer), next(consumer)
    consumer.nack(dead)

    (notifications, deliveries) = queue_depths(hints.broker, now=time.time() + 60)

    assert {"ready": 1, "delayed": 1, "in_flight": 1, "dead": 1} == notifications.messages
    assert 59 < notifications.oldest_seconds < 70
    assert ({"ready": 0, "delayed": 0, "in_flight": 0, "dead": 0}, 0) == (
        deliveries.messages,
        deliveries.oldest_seconds,
    )
    assert taken is not None


def test_a_message_that_is_worked_on_ages_too(on_valkey, hints):
    """The age is that of the oldest message, whether it waits or a worker holds it, and ends with the last one."""
    hints.put_notifications(["ntf_1"])
    consumer = hints.broker.consume(NOTIFICATIONS, prefetch=2)
    taken = next(consumer)
    sent = taken.message_timestamp / 1000
    while time.time() < sent + 0.05:
        time.sleep(0.005)
    hints.put_notifications(["ntf_2"])

    assert 60 == pytest.approx(oldest(hints, sent + 60), abs=0.002)
    consumer.ack(taken)
    assert 59 < oldest(hints, sent + 60) < 59.96
    consumer.ack(next(consumer))
    assert 0 == oldest(hints, sent + 60)


def oldest(hints: BrokerQueue, now: float) -> float:
    """Read the age of the oldest message about notifications."""
    return queue_depths(hints.broker, now)[0].oldest_seconds


def test_dead_worker_gives_its_messages_back(on_valkey, hints):
    """What a dead process held comes back to the queue for another."""
    hints.put_notifications(["ntf_1"])
    dead = make_broker(on_valkey)
    assert next(dead.consume(NOTIFICATIONS, prefetch=2)) is not None
    dead.close()

    heir = make_broker(on_valkey, consumes=True)
    heir.heartbeat_timeout, heir.maintenance_chance = 1, 1_000_000
    time.sleep(0.01)

    assert next(heir.consume(NOTIFICATIONS, prefetch=2)) is not None
    heir.close()


def test_sentinels_are_asked_for_the_master():
    """A Sentinel address names hosts, service, database and credentials; nothing is connected before it is used."""
    client = connect("redis+sentinel://user:p%40ss@one:26379,two/refunds/3?sentinel_password=s")

    pool: Any = client.connection_pool
    assert "refunds" == pool.service_name
    assert (3, "user", "p@ss") == tuple(pool.connection_kwargs[key] for key in ("db", "username", "password"))
    addresses = [
        (sentinel.connection_pool.connection_kwargs["host"], sentinel.connection_pool.connection_kwargs["port"])
        for sentinel in pool.sentinel_manager.sentinels
    ]
    assert [("one", 26379), ("two", 26379)] == addresses
