"""A port for a worker, for whoever watches it: `/metrics` with what it counted, `/healthz`, `/readyz`.

It has a thread and an event loop of its own, so a worker answers while it works. Workers of one supervisor share the
port and their counts: whichever is asked answers for all of them, and together they are one target to scrape.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

from dramatiq.brokers.redis import RedisBroker

from worker.broker import queue_depths
from worker.loops import new_loop
from worker.runtime import Runtime
from worker.web.app import create_watched_app, make_runner
from worker.web.site import listen

Started = Future[tuple[str, Callable[[], object]]]
"""The address, and what ends it."""


@contextmanager
def watched(runtime: Runtime, broker: RedisBroker, *, share_port: bool = False) -> Iterator[str]:
    """Answer on the port that the configuration names, and give the address.

    Args:
        runtime: the parts of this process.
        broker: whose queues `/readyz` looks at.
        share_port: let siblings listen on the same port; the kernel spreads connections over them.

    Raises:
        NotReady: the address cannot be had.
    """
    started: Started = Future()
    answering = partial(_answer, runtime, broker, started, share_port=share_port)
    thread = threading.Thread(target=_run, args=(answering, started), name="watched")
    thread.start()
    try:
        url, stop = started.result()
        try:
            yield url
        finally:
            stop()
    finally:
        thread.join()


def _run(answering: Callable[[], Coroutine[None, None, None]], started: Started) -> None:
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(answering())
    except Exception as error:
        if started.done():
            raise
        started.set_exception(error)


async def _answer(runtime: Runtime, broker: RedisBroker, started: Started, *, share_port: bool) -> None:
    runner = make_runner(create_watched_app(runtime, depths=lambda: queue_depths(broker, runtime.clock())))
    await runner.setup()
    host, port = runtime.settings.server.host, runtime.settings.work.metrics_port
    try:
        url = await listen(runner, host, port, share_port=share_port, keys="[work] metrics_port")
        stop = asyncio.Event()
        started.set_result((url, partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set)))
        await stop.wait()
    finally:
        await runner.cleanup()
