"""`/metrics`: what stations counted, and what is true of store and broker at this moment."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from handlers.platforms import PLATFORMS
from worker.metrics import QueueDepth, shared_registry
from worker.runtime import Runtime
from worker.store.gauges import Gauges, read_gauges
from worker.web.keys import RUNTIME, in_thread
from worker.web.pages import Anything
from worker.web.routes import Answer, Route

log = structlog.get_logger()

Depths = Callable[[], Sequence[QueueDepth]]
"""Asks the broker what its queues hold; raises whatever its client raises when it is away."""

DEPTHS: web.AppKey[Depths] = web.AppKey("depths")


class State(Collector):
    """Ask store and broker. What cannot be asked is absent, which an alert can tell from zero."""

    def __init__(self, runtime: Runtime, depths: Depths) -> None:
        self._runtime = runtime
        self._depths = depths

    def collect(self) -> Iterator[Metric]:
        """Read every gauge, once."""
        try:
            yield from _of_the_store(self._read(), self._runtime.clock())
        except Exception as error:  # noqa: BLE001 - a scrape shows what is left to see
            log.warning("scrape.failed", part="store", error=type(error).__name__)
        try:
            yield from _of_the_broker(self._depths())
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("scrape.failed", part="broker", error=type(error).__name__)

    def _read(self) -> Gauges:
        sources = [
            (name, platform)
            for name, app in self._runtime.settings.apps.items()
            for platform in PLATFORMS
            if app.platform(platform) is not None
        ]
        with self._runtime.store.read() as connection:
            return read_gauges(connection, sources)


async def scrape(request: web.Request, _: Anything) -> web.Response:
    """Answer a scrape in the text format of Prometheus."""
    state = State(request.config_dict[RUNTIME], request.config_dict[DEPTHS])
    body = await in_thread(request, _render, request.config_dict[RUNTIME], state)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _render(runtime: Runtime, state: State) -> bytes:
    now = CollectorRegistry()
    now.register(state)
    return generate_latest(shared_registry(runtime.metrics.registry)) + generate_latest(now)


def _of_the_store(gauges: Gauges, now: float) -> Iterable[Metric]:
    yield _gauge("inbox_pending", "Notifications accepted and not finished", gauges.inbox_pending)
    yield _gauge("inbox_oldest_seconds", "Age of the oldest of them", _age(gauges.inbox_oldest_ms, now))
    yield _gauge("quarantined", "Notifications that were not understood", gauges.quarantined)
    yield _gauge("dead", "Notifications that failed too often", gauges.dead)
    yield _gauge("refunds_unmatched", "Refunds of which nobody knows whose they are", gauges.refunds_unmatched)
    backlog = _labeled("subscriber_backlog", "Deliveries that have not arrived", ["subscriber"])
    for subscriber, waiting in sorted(gauges.subscriber_backlog.items()):
        backlog.add_metric([subscriber], waiting)
    yield backlog
    age = _labeled("platform_age_seconds", "Time since the last authentic notification", ["platform", "app"])
    for (app, platform), newest_ms in sorted(gauges.newest_ms.items()):
        age.add_metric([platform, app], _age(newest_ms, now))
    yield age


def _of_the_broker(depths: Iterable[QueueDepth]) -> Iterable[Metric]:
    messages = _labeled("queue_messages", "Messages the broker holds", ["queue", "state"])
    oldest = _labeled("queue_oldest_seconds", "Age of the oldest message", ["queue"])
    for depth in depths:
        oldest.add_metric([depth.queue], depth.oldest_seconds)
        for state, count in depth.messages.items():
            messages.add_metric([depth.queue, state], count)
    yield messages
    yield oldest


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(f"clawback_{name}", says, value=value)


def _labeled(name: str, says: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"clawback_{name}", says, labels=labels)


def _age(since_ms: int | None, now: float) -> float:
    return 0.0 if since_ms is None else max(0.0, now - since_ms / 1000)


ROUTE = Route(
    "GET",
    "/metrics",
    scrape,
    "Scrape the metrics",
    "Operation",
    {200: Answer("The text format of Prometheus", media_type="text/plain")},
    query=Anything,
)
