"""The endpoint and the API of one process: aiohttp on an event loop, until SIGTERM or SIGINT.

A stop closes the port first, then lets what is under way finish: a notification whose row is being committed still gets
its 200.
"""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import structlog
from aiohttp import web
from dramatiq.brokers.redis import RedisBroker

from config.settings import Settings
from worker import bootstrap, garbage
from worker.broker import make_broker, queue_depths
from worker.collector import open_traces
from worker.control import Control
from worker.fetch import HttpFetch
from worker.inbox import Inbox
from worker.loops import new_loop
from worker.metrics import QueueDepth
from worker.runtime import Runtime
from worker.trust import Trust
from worker.web.app import create_admin_app, create_app, make_runner
from worker.web.site import listen

log = structlog.get_logger()

FILES_MAX = 131_072


def serve(settings: Settings, control: Control, *, share_port: bool = False) -> None:
    """Serve until told to stop.

    Args:
        settings: settled ones.
        control: the line to a supervisor.
        share_port: let siblings listen on the same port; the kernel spreads connections over them.

    Raises:
        NotReady: the address cannot be had.
    """
    raise_open_files()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(settings, control, share_port=share_port))


def raise_open_files() -> None:
    """Allow this process more connections than shells do, whose 1,024 is for programs that use `select`."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if most == resource.RLIM_INFINITY else min(FILES_MAX, most)
    if usual != resource.RLIM_INFINITY and usual < wanted:
        with suppress(ValueError, OSError):  # macOS names a limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def _serve(settings: Settings, control: Control, *, share_port: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _opened(settings) as (public, admin):
        server = settings.server
        address = partial(listen, share_port=share_port, keys="[server] host and port")
        addresses = {"url": await address(public, server.host, server.port)}
        if admin is not None:
            addresses["admin_url"] = await address(admin, server.host, server.admin_port)
        garbage.leave_out_what_is_there()
        garbage.look_rarely()
        control.stop_with_parent()
        control.ready(**{"admin_url": addresses["url"], **addresses})
        log.info("serve.started", **addresses)
        await stop.wait()
        log.info("serve.stopping")
    log.info("serve.stopped")


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[web.AppRunner, web.AppRunner | None]]:
    """Put the parts together, and take them apart in the reverse order."""
    broker = make_broker(settings)
    runtime = bootstrap.build(settings, broker=broker, traces=open_traces(settings, "serve"))
    depths = partial(_depths, runtime, broker)
    async with AsyncExitStack() as stack:
        stack.callback(bootstrap.close, runtime)
        bootstrap.introduce_subscribers(runtime)
        fetch = await stack.enter_async_context(HttpFetch())
        app = create_app(
            runtime, trust=Trust(settings.apps, fetch), open_inbox=partial(_open_inbox, runtime), depths=depths
        )
        runners = [make_runner(app)]
        if settings.server.admin_port:
            runners.append(make_runner(create_admin_app(runtime, depths=depths)))
        for runner in runners:
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
        yield runners[0], runners[1] if len(runners) > 1 else None


def _open_inbox(runtime: Runtime) -> Inbox:
    seconds = runtime.settings.work.sweep_after_seconds
    return Inbox(runtime.store, runtime.queue, retry_after_seconds=seconds, bodies=runtime.bodies)


def _depths(runtime: Runtime, broker: RedisBroker) -> Sequence[QueueDepth]:
    return queue_depths(broker, runtime.clock())
