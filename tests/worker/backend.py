"""An app's backend on loopback, and our side around it: it remembers what it was told and answers as it was asked."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from config.settings import Settings
from tests.store.outbox_story import SEALER, SECRET, announce, new_store, subscribe_by_api, subscriber
from tests.worker.receiver import doubts
from worker.delivery import Deliverer
from worker.metrics import Metrics
from worker.runtime import Runtime
from worker.store import outbox
from worker.store.tables import attempts

Answer = Callable[["Told"], Awaitable[web.StreamResponse] | web.StreamResponse]


@dataclass(frozen=True, slots=True)
class Told:
    """One POST as it arrived."""

    request: web.Request = field(repr=False)
    body: bytes
    headers: dict[str, str]

    @property
    def id(self) -> str:
        """Give the event's id, as its header tells."""
        return self.headers["webhook-id"]


def ok(_told: Told) -> web.Response:
    """Say thank you."""
    return web.Response(text="thanks")


class Clock:
    """The machine's clock, which a test can set forward."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def __call__(self) -> float:
        """Read it."""
        return time.time() + self.ahead_seconds


class NoQueue:
    """A broker that is never asked: a deliverer finds what follows by itself."""

    def put_notifications(self, ids: Sequence[str]) -> None:
        """Refuse."""
        raise AssertionError(ids)

    def put_deliveries(self, ids: Collection[str]) -> None:
        """Refuse."""
        raise AssertionError(ids)


def new_runtime(directory: Path, clock: Clock) -> Runtime:
    """Put a runtime together around an empty database."""
    return Runtime(
        settings=Settings(),
        store=new_store(f"sqlite:///{directory / 'clawback.db'}"),
        queue=NoQueue(),
        metrics=Metrics(CollectorRegistry()),
        clock=clock,
        sealer=SEALER,
    )


class Backend:
    """A real aiohttp server, which believes nothing that two independent readers doubt. Open it with `async with`.

    Args:
        answer: what it says to a POST.
        secrets: each of them must find every POST signed for it: `whsec_…`, or `whpk_…` for `v1a`.
        clock: tells whether a signature is fresh; None: that is not looked at.
        server: how the socket is served.
    """

    def __init__(
        self,
        answer: Answer = ok,
        *,
        secrets: Sequence[str] = (SECRET,),
        clock: Callable[[], float] | None = None,
        **server: Any,
    ) -> None:
        self.answer = answer
        self.told: list[Told] = []
        self.doubts: list[str] = []
        self.secrets = secrets
        self._clock = clock
        self._server = server
        self._released = asyncio.Event()
        self._news = asyncio.Condition()

    @property
    def ids(self) -> list[str]:
        """List the events that arrived, in order of arrival."""
        return [told.id for told in self.told]

    async def hang(self, _told: Told) -> web.Response:
        """Answer nothing until the backend is closed, or `release` is called."""
        await self._released.wait()
        return web.Response(status=500)

    def release(self) -> None:
        """Let everything that hangs fail."""
        self._released.set()

    async def has_been_told(self, count: int) -> None:
        """Wait until so many POSTs have arrived."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.told) >= count)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._socket = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self._runner, self._socket, **self._server).start()
        scheme = "https" if self._server else "http"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}/refunds"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        await self._runner.cleanup()
        self._socket.close()
        if error is None:
            assert [] == self.doubts

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = Told(request, await request.read(), headers)
        self.told.append(told)
        now = self._clock() if self._clock else float(headers["webhook-timestamp"])
        self.doubts += doubts(headers, told.body, secrets=self.secrets, now=now)
        async with self._news:
            self._news.notify_all()
        answer = self.answer(told)
        return answer if isinstance(answer, web.StreamResponse) else await answer


def listens(runtime: Runtime, *backends: Backend, **chosen: Any) -> list[str]:
    """Subscribe these backends."""
    told = [subscriber(backend.url, **{"allow_private": True, **chosen}) for backend in backends]
    return subscribe_by_api(runtime.store, *told, now=runtime.clock())


async def sweep(runtime: Runtime, deliverer: Deliverer) -> None:
    """Deliver what is due, as the sweeper would have it."""
    with runtime.store.read() as connection:
        ids = outbox.due(connection, int(runtime.clock() * 1000), 1000)
    await deliverer.deliver(ids)
    await deliverer.drained()


@pytest.fixture(name="backend")
async def open_backend() -> AsyncIterator[Backend]:
    """Run a backend that thanks for everything."""
    async with Backend() as backend:
        yield backend


def happened(runtime: Runtime, *told: Any) -> list[str]:
    """Commit events, and give the deliveries that may begin."""
    return announce(runtime.store, told, now=runtime.clock())


def attempt_rows(runtime: Runtime) -> list[Any]:
    """Read every attempt, oldest first."""
    with runtime.store.read() as connection:
        return list(connection.execute(select(attempts).order_by(attempts.c.id)))
