"""Put the HTTP side together: which routes listen where, and what every answer of theirs has in common."""

import logging
from collections.abc import Callable

import structlog
from aiohttp import web

from worker.runtime import Runtime
from worker.web import (
    admission,
    asyncapi,
    audit,
    auth,
    behind,
    customers,
    deliveries,
    events,
    front,
    health,
    idempotency,
    ingest,
    keys,
    notifications,
    openapi,
    patience,
    peers,
    purchases,
    refunds,
    scrape,
    stream,
    subscribers,
    tokens,
    traced,
)
from worker.web.errors import refusals
from worker.web.failures import Failures
from worker.web.register import REGISTER, Register
from worker.web.routes import Route, mount

log = structlog.get_logger()

API: tuple[Route, ...] = (
    *refunds.ROUTES,
    *purchases.ROUTES,
    *customers.ROUTES,
    *events.ROUTES,
    *stream.ROUTES,
    *notifications.ROUTES,
    *subscribers.ROUTES,
    *deliveries.ROUTES,
    *tokens.ROUTES,
    *audit.ROUTES,
)

EVENTS = asyncapi.serving(API)

ROUTES: tuple[Route, ...] = (ingest.ROUTE, *API, EVENTS, health.LIVE, health.READY, scrape.ROUTE)
"""Everything that is served, in the order of the document, which is one more."""

LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and thrown away, so that its sender gets to read the answer."""

SHUTDOWN_SECONDS = 15.0
"""How long a shutdown waits for answers that are under way."""


def create_app(
    runtime: Runtime,
    *,
    trust: ingest.Verifier,
    open_inbox: Callable[[], ingest.Acceptor],
    depths: scrape.Depths,
) -> web.Application:
    """Make what platforms reach; and with `admin_port = 0` everything else, too.

    Args:
        runtime: the parts of this process.
        trust: verifies notifications.
        open_inbox: makes the inbox once the loop runs.
        depths: asks the broker what its queues hold; it raises if the broker is away.
    """
    app = _application(runtime)
    door = traced.TracedDoor if runtime.traces.on else ingest.Door
    app.cleanup_ctx.append(ingest.opened(trust, open_inbox, make=door))
    app.cleanup_ctx.append(behind.watching)
    # Any method: a wrong one is counted and logged like every other mistake of a platform's configuration.
    app.router.add_route("*", ingest.ROUTE.path, ingest.webhook)
    mount(app, [health.LIVE])
    if runtime.settings.server.admin_port == 0:
        _administer(app, depths)
    return app


def create_admin_app(runtime: Runtime, *, depths: scrape.Depths) -> web.Application:
    """Make what app backends and operators reach, for a port of its own."""
    app = _application(runtime)
    mount(app, [health.LIVE])
    _administer(app, depths)
    return app


def create_watched_app(runtime: Runtime, *, depths: scrape.Depths) -> web.Application:
    """Make what a worker answers to those who watch it."""
    app = _application(runtime)
    app[scrape.DEPTHS] = depths
    mount(app, [health.LIVE, health.READY, scrape.COUNTS])
    return app


def make_runner(app: web.Application, *, head_seconds: float = patience.HEAD_SECONDS_MAX) -> web.AppRunner:
    """Make the runner that serves an application the way its laws want.

    Bodies stay as they came: unpacked by the server they would be in memory before anything could refuse them.

    Args:
        app: made by `create_app` or `create_admin_app`.
        head_seconds: how long a connection may stay without asking for anything.
    """
    runner = front.Runner(
        app,
        access_log=None,
        auto_decompress=False,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
        logger=_WireLog("clawback.http"),
    )
    app.cleanup_ctx.append(patience.watching(lambda: runner.server, head_seconds))
    return runner


def _application(runtime: Runtime) -> web.Application:
    app = web.Application(middlewares=[patience.listening, refusals, auth.authentication, idempotency.idempotency])
    app[keys.RUNTIME] = runtime
    app[patience.ASKED] = set()
    app[auth.GUARDS] = auth.guards(runtime.settings.admin)
    app[auth.FAILURES] = Failures()
    app[REGISTER] = Register()
    app[peers.PROXIES] = peers.networks(runtime.settings.server.trusted_proxies)
    app.cleanup_ctx.append(keys.pooled)
    app.on_response_prepare.append(front.dress)
    return app


def _administer(app: web.Application, depths: scrape.Depths) -> None:
    app[scrape.DEPTHS] = depths
    app[scrape.READING] = {}
    app.cleanup_ctx.append(events.watching)
    app.cleanup_ctx.append(stream.streaming)
    app.cleanup_ctx.append(admission.resolving)
    app.on_shutdown.append(events.let_go)
    app.on_shutdown.append(stream.let_go)
    mount(app, [*API, EVENTS, health.READY, scrape.ROUTE, openapi.serving(ROUTES)])


class _WireLog(logging.Logger):
    """Take what aiohttp says of bytes that were no HTTP: one line each, without the bytes that its traceback quotes."""

    def exception(self, msg: object, *_args: object, **kwargs: object) -> None:
        """Log that a connection was refused, and why."""
        log.warning("http.refused", error=type(kwargs.get("exc_info") or msg).__name__)
