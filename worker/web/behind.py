"""Look whether the workers keep up, for the gate: off the hot path, while something comes, and not for long.

Where it cannot be told, because the store is away or busy, the gate looks at what it knows itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import structlog
from aiohttp import web

from handlers.behind import Behind, Reading, go_on
from worker.runtime import Runtime
from worker.store.engine import StoreUnavailable
from worker.store.gauges import inbox_backlog
from worker.web.gate import Gate
from worker.web.ingest import DOOR
from worker.web.keys import POOL, RUNTIME, on_pool

log = structlog.get_logger()

LOOK_SECONDS = 2.0
REST = 20
"""A look rests so many times as long as it took: to count a million takes the database a while."""


async def watching(app: web.Application) -> AsyncIterator[None]:
    """Look for as long as an application runs, if the operator wants to know."""
    if not app[RUNTIME].settings.door.inbox_age_seconds:
        yield
        return
    task = asyncio.create_task(_watch(app))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _watch(app: web.Application) -> None:
    gate, seen, took = app[DOOR].gate, 0, 0.0
    while True:
        await asyncio.sleep(max(LOOK_SECONDS, REST * took))
        if gate.taken == seen and gate.behind.pace is None:
            continue
        seen, began = gate.taken, time.monotonic()
        before = gate.behind.pace
        gate.behind = await _look(app, gate)
        took = time.monotonic() - began
        if (before is None) != (gate.behind.pace is None):
            log.warning("ingest.paced", per_second=gate.behind.pace and round(gate.behind.pace))


async def _look(app: web.Application, gate: Gate) -> Behind:
    runtime = app[RUNTIME]
    try:
        pending, oldest_ms = await on_pool(app[POOL], lambda: _read(runtime))
    except StoreUnavailable:
        return Behind()
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not end the looks: a pace would stay for ever
        log.error("ingest.look_failed", error=type(error).__name__)  # noqa: TRY400 - as every line of the door
        return Behind()
    oldest = None if oldest_ms is None else oldest_ms / 1000
    reading = Reading(runtime.clock(), pending, oldest, gate.taken)
    bounds = runtime.settings.door
    return go_on(gate.behind, reading, age_seconds_max=bounds.inbox_age_seconds, pending_min=bounds.inbox_pending_min)


def _read(runtime: Runtime) -> tuple[int, int | None]:
    with runtime.store.read() as connection:
        return inbox_backlog(connection)
