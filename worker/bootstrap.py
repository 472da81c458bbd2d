"""The one place where concrete parts meet: settings in, a running process's parts out."""

import time

from dramatiq.brokers.redis import RedisBroker
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from config.settings import Settings
from worker.bodies import Bodies
from worker.broker import make_broker
from worker.keyring import sealed_anew
from worker.lookups import Lookups
from worker.metrics import Metrics, begin_at_zero, share_counts, take_room
from worker.queue import BrokerQueue
from worker.runtime import Runtime
from worker.sealing import Sealer
from worker.store import subscribers
from worker.store.engine import Store
from worker.tracing import OFF, Traces


def build(settings: Settings, *, broker: RedisBroker | None = None, traces: Traces = OFF) -> Runtime:
    """Make the parts of this process; nothing is connected before it is used.

    Args:
        settings: settled ones.
        broker: a worker's own, which also consumes; None: one that only puts.
        traces: what a process that stays up tells of.
    """
    share_counts()
    metrics = Metrics(CollectorRegistry())
    begin_at_zero(metrics, settings)
    take_room()
    return Runtime(
        settings=settings,
        store=Store(settings.store.url, settings.store, met=metrics.store_conflicts.inc),
        queue=BrokerQueue(broker or make_broker(settings)),
        metrics=metrics,
        clock=time.time,
        lookups=Lookups(settings, metrics, clock=time.time),
        sealer=Sealer(settings.store.encryption_keys),
        bodies=Bodies(settings.store.encryption_keys),
        traces=traces,
    )


def introduce_subscribers(runtime: Runtime) -> None:
    """Enter the subscribers of the configuration into the store: what is decided from now on is told to them.

    Every process does, before it works; doing it again changes nothing.
    """
    now = runtime.clock()
    runtime.store.change(lambda connection: subscribers.sync_subscribers(connection, runtime.settings.subscribers, now))
    if runtime.sealer:
        runtime.store.change(lambda connection: _seal_anew(connection, runtime.sealer))


def _seal_anew(connection: Connection, sealer: Sealer) -> None:
    """Seal with the first key what an earlier one sealed, so that the earlier one can go."""
    for id_, column in subscribers.sealed_secrets(connection).items():
        if (anew := sealed_anew(column, sealer)) != column:
            subscribers.replace_secrets(connection, id_, column, anew)


def close(runtime: Runtime) -> None:
    """Give back what `build` took."""
    if isinstance(runtime.queue, BrokerQueue):
        runtime.queue.close()
    runtime.lookups.close()
    runtime.store.close()
    runtime.traces.close()
