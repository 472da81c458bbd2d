"""The one place where concrete parts meet: settings in, a running process's parts out."""

import time
from pathlib import Path

from dramatiq.brokers.redis import RedisBroker
from prometheus_client import CollectorRegistry

from config.section import Section
from config.settings import Settings
from worker.broker import make_broker
from worker.lookups import Lookups
from worker.metrics import Metrics
from worker.queue import BrokerQueue
from worker.runtime import Runtime
from worker.store.engine import Store
from worker.valkey import socket_url

EMBEDDED = "embedded"


def settle(settings: Settings, data_dir: Path) -> Settings:
    """Replace what means "in the data directory" by where that is: the embedded broker, a store nobody named."""
    changes: dict[str, Section] = {}
    if settings.broker.url == EMBEDDED:
        changes["broker"] = settings.broker.model_copy(update={"url": socket_url(data_dir)})
    if "url" not in settings.store.model_fields_set:
        url = f"sqlite:///{data_dir.absolute() / 'clawback.db'}"
        changes["store"] = settings.store.model_copy(update={"url": url})
    return settings.model_copy(update=changes)


def build(settings: Settings, *, broker: RedisBroker | None = None) -> Runtime:
    """Make the parts of this process; nothing is connected before it is used.

    Args:
        settings: settled ones.
        broker: a worker's own, which also consumes; None: one that only puts.
    """
    metrics = Metrics(CollectorRegistry())
    return Runtime(
        settings=settings,
        store=Store(settings.store.url, settings.store),
        queue=BrokerQueue(broker or make_broker(settings)),
        metrics=metrics,
        clock=time.time,
        lookups=Lookups(settings, metrics, clock=time.time),
    )


def close(runtime: Runtime) -> None:
    """Give back what `build` took."""
    if isinstance(runtime.queue, BrokerQueue):
        runtime.queue.close()
    runtime.lookups.close()
    runtime.store.close()
