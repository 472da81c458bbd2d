"""What the handlers of one application share: the runtime, and a way to ask the store without blocking the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from aiohttp import web
from sqlalchemy import Connection

from worker.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")

RUNTIME = web.AppKey("runtime", Runtime)
POOL = web.AppKey("pool", ThreadPoolExecutor)
"""Threads of the API alone: however many clients ask, accepting notifications never queues behind them."""

POOL_THREADS = 8


async def in_thread(request: web.Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work for a request."""
    return await on_pool(request.config_dict[POOL], partial(work, *args, **kwargs))


async def on_pool(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """Run blocking work on one of the API's threads."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)


async def ask(
    request: web.Request, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a query of `worker/store` in a transaction that only reads."""
    store = request.config_dict[RUNTIME].store

    def read() -> T:
        with store.read() as connection:
            return query(connection, *args, **kwargs)

    return await in_thread(request, read)


def now(request: web.Request) -> float:
    """Read the clock, in Unix seconds."""
    return request.config_dict[RUNTIME].clock()


async def pooled(app: web.Application) -> AsyncIterator[None]:
    """Keep the threads as long as the application runs."""
    with ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="clawback-api") as pool:
        app[POOL] = pool
        yield
