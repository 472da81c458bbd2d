"""`/metrics`: what stations counted, and what is true of store and broker at this moment.

The counts are this host's; the rest is the same wherever it is asked, so of several hosts' answers one takes the `max`
and never the sum. A store that hangs costs its own part alone: what was counted is told in time.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

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

T = TypeVar("T")

READ_SECONDS_MAX = 4.0
"""What takes longer is absent. Prometheus gives up after ten seconds, and would miss what was counted as well."""

Depths = Callable[[], Sequence[QueueDepth]]
"""Asks the broker what its queues hold; raises whatever its client raises when it is away."""

DEPTHS: web.AppKey[Depths] = web.AppKey("depths")
READING: web.AppKey[dict[str, asyncio.Future[Any]]] = web.AppKey("reading")
"""Part → its reading under way: one that hangs is waited for by every scrape, and keeps one thread and not all."""


class State(Collector):
    """What was read of store and broker. What could not be asked is absent, which an alert can tell from zero."""

    def __init__(self, gauges: Gauges | None, depths: Sequence[QueueDepth] | None, now: float) -> None:
        self._gauges = gauges
        self._depths = depths
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Give every gauge."""
        reachable = _labeled("reachable", "Whether this host could ask it just now", ["part"])
        reachable.add_metric(["store"], self._gauges is not None)
        reachable.add_metric(["broker"], self._depths is not None)
        yield reachable
        if self._gauges is not None:
            yield from _of_the_store(self._gauges, self._now)
            yield from _of_subscribers(self._gauges, self._now)
        if self._depths is not None:
            yield from _of_the_broker(self._depths)


async def scrape(request: web.Request, _: Anything) -> web.Response:
    """Answer a scrape in the text format of Prometheus."""
    runtime = request.config_dict[RUNTIME]
    gauges, depths = await asyncio.gather(
        _in_time(request, "store", partial(_read, runtime)), _in_time(request, "broker", request.config_dict[DEPTHS])
    )
    return await _answered(request, State(gauges, depths, runtime.clock()))


async def scrape_counts(request: web.Request, _: Anything) -> web.Response:
    """Answer with what was counted alone: for workers, since each endpoint tells of store and broker."""
    return await _answered(request)


async def _in_time(request: web.Request, part: str, read: Callable[[], T]) -> T | None:
    """Read a part within its time; None: it is away, or takes longer."""
    reading = request.config_dict[READING]
    if part not in reading:
        reading[part] = asyncio.ensure_future(in_thread(request, read))
        reading[part].add_done_callback(lambda _: reading.pop(part))
    try:
        async with asyncio.timeout(READ_SECONDS_MAX):
            found: T = await asyncio.shield(reading[part])
    except Exception as error:  # noqa: BLE001 - a scrape shows what is left to see
        log.warning("scrape.failed", part=part, error=type(error).__name__)
        return None
    return found


async def _answered(request: web.Request, *more: Collector) -> web.Response:
    # Not on the API's threads: they may all wait for a store that hangs, and this waits for nothing.
    body = await asyncio.to_thread(_render, request.config_dict[RUNTIME], more)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _read(runtime: Runtime) -> Gauges:
    sources = [
        (name, platform)
        for name, app in runtime.settings.apps.items()
        for platform in PLATFORMS
        if app.platform(platform) is not None
    ]
    with runtime.store.read() as connection:
        return read_gauges(connection, sources)


def _render(runtime: Runtime, more: Iterable[Collector]) -> bytes:
    now = CollectorRegistry()
    for collector in more:
        now.register(collector)
    return generate_latest(shared_registry(runtime.metrics.registry)) + generate_latest(now)


def _of_the_store(gauges: Gauges, now: float) -> Iterable[Metric]:
    yield _gauge("inbox_pending", "Notifications accepted and not finished", gauges.inbox_pending)
    yield _gauge("inbox_oldest_seconds", "Age of the oldest of them", _age(gauges.inbox_oldest_ms, now))
    yield _gauge("looking_up", "Notifications in effect that wait for a platform's API", gauges.looking_up)
    yield _gauge("quarantined", "Notifications that were not understood", gauges.quarantined)
    yield _gauge("dead", "Notifications that failed too often", gauges.dead)
    yield _gauge("refunds_unmatched", "Refunds of which nobody knows whose they are", gauges.refunds_unmatched)
    age = _labeled("platform_age_seconds", "Time since the last authentic notification", ["platform", "app"])
    for (app, platform), newest_ms in sorted(gauges.newest_ms.items()):
        age.add_metric([platform, app], _age(newest_ms, now))
    yield age


def _of_subscribers(gauges: Gauges, now: float) -> Iterable[Metric]:
    backlog = _labeled("subscriber_backlog", "Deliveries that have not arrived", ["subscriber"])
    failing = _labeled("subscriber_failing_seconds", "Time since nothing arrives; 0: it does", ["subscriber"])
    disabled = _labeled("subscriber_disabled", "Told no more, by the reason", ["subscriber", "reason"])
    for one in gauges.subscribers:
        backlog.add_metric([one.id], gauges.subscriber_backlog.get(one.id, 0))
        if one.disabled_by is None:
            failing.add_metric([one.id], _age(one.failing_since_ms, now))
        else:
            disabled.add_metric([one.id, one.disabled_by], 1)
    yield from (backlog, failing, disabled)


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


COUNTS = Route("GET", "/metrics", scrape_counts, "Scrape the counts", "Operation", {}, query=Anything)
ROUTE = Route(
    "GET",
    "/metrics",
    scrape,
    "Scrape the metrics",
    "Operation",
    {200: Answer("The text format of Prometheus", media_type="text/plain")},
    query=Anything,
)
