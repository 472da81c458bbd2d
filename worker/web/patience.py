"""Hang up on whoever connects and asks nothing: aiohttp bounds a body and a pause between requests, not the first head.

Without it a stranger who opens connections and stays silent holds each of them for good, until none is left for a
platform.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

HEAD_SECONDS_MAX = 20.0
"""From connecting to the end of the first request's head. The platforms send theirs in one packet."""

log = structlog.get_logger()

ASKED: web.AppKey[set[web.RequestHandler]] = web.AppKey("asked")
"""The connections that have made a request; from then on aiohttp's own bounds hold."""


@web.middleware
async def listening(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Remember that this connection asked for something."""
    request.app[ASKED].add(request.protocol)
    return await handler(request)


def watching(
    server: Callable[[], web.Server | None], head_seconds: float
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Say how connections are watched for as long as an application runs.

    Args:
        server: gives the server once it is there.
        head_seconds: how long a connection may say nothing, give or take a quarter.
    """

    async def watched(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_watch(server, app[ASKED], head_seconds))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return watched


async def _watch(server: Callable[[], web.Server | None], asked: set[web.RequestHandler], head_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    since: dict[web.RequestHandler, float] = {}
    while True:
        await asyncio.sleep(head_seconds / 4)
        running, now = server(), loop.time()
        here = running.connections if running is not None else []
        asked.intersection_update(here)
        since = {connection: since.get(connection, now) for connection in here if connection not in asked}
        silent = [connection for connection, at in since.items() if now - at >= head_seconds]
        for connection in silent:
            connection.force_close()
        if silent:
            log.warning("http.silent", closed=len(silent))
