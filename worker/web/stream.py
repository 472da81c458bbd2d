"""`/v1/events/stream`: the outgoing feed as server-sent events.

A listener at the end of the feed costs a task and a timer: what is new is read once for all (`worker/web/watch.py`),
written once as bytes, and sent to each. One that is behind reads pages from the store. Nothing is kept for a listener
but what it is being sent, and one that takes nothing is hung up on: it comes back with the last id that it saw.
"""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import Gauge
from pydantic import TypeAdapter, ValidationError

from config.settings import Server
from worker.sse import MEDIA_TYPE, beat, message
from worker.store.engine import StoreUnavailable
from worker.store.feed import FeedPage, Told, Wanted
from worker.web.auth import recheck
from worker.web.errors import ExpiredAnswer, Refused, bad_parameter, blame, try_again
from worker.web.events import FEED, FeedQuery, begin, read
from worker.web.keys import RUNTIME
from worker.web.pages import FeedCursor, encode
from worker.web.routes import Answer, Route
from worker.web.watch import KEPT_MAX

PAGE: Final = 50
"""Of up to 20 kB each: what somebody who is behind may have us hold."""
SEND_BYTES: Final = 64 * 1024
KERNEL_BYTES: Final = 128 * 1024
"""What the kernel may hold for one listener; by itself it takes megabytes."""
RETRY_MS: Final = 2_000
LAST_SECONDS: Final = 1.0
"""How long whoever is slow to take something may go on with that once the process is about to end."""
LAST_EVENT_ID: Final = "Last-Event-ID"
HEADERS: Final = {"Content-Type": f"{MEDIA_TYPE}; charset=utf-8", "X-Accel-Buffering": "no"}
"""nginx would hold a stream back: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering."""

_CURSOR: TypeAdapter[FeedCursor] = TypeAdapter(FeedCursor)

log = structlog.get_logger()


class Streams:
    """Those who listen to this process.

    Args:
        server: how many, and how patiently each is served.
        files_max: how many files and connections the process may have open; half of them are left to everybody else.
        gauge: shows how many there are.
    """

    def __init__(self, server: Server, *, files_max: int, gauge: Gauge) -> None:
        self.heartbeat_seconds = server.stream_heartbeat_seconds
        self.stall_seconds = server.stream_stall_seconds
        self.max = (
            server.streams_max if files_max == resource.RLIM_INFINITY else min(server.streams_max, files_max // 2)
        )
        self._gauge = gauge
        # A process that had our number before us, and was killed, may have left its own.
        gauge.set(0)
        self._open: set[asyncio.Transport] = set()
        self._sending: set[asyncio.Timeout] = set()
        self._closed = False

    @contextmanager
    def seat(self, transport: asyncio.Transport) -> Iterator[None]:
        """Give one listener a place for as long as it stays.

        Raises:
            Refused: all are taken.
        """
        self._open = {other for other in self._open if not other.is_closing()}
        if len(self._open) >= self.max:
            raise Refused(
                try_again("too_many_streams", "As many listen as may: [server] streams_max.", after_seconds=30)
            )
        self._open.add(transport)
        self._gauge.set(len(self._open))
        try:
            yield
        finally:
            self._open.discard(transport)
            self._gauge.set(len(self._open))

    async def send(self, response: web.StreamResponse, data: bytes) -> None:
        """Send something; raise `TimeoutError` if it is not taken."""
        seconds = min(self.stall_seconds, LAST_SECONDS) if self._closed else self.stall_seconds
        async with asyncio.timeout(seconds) as deadline:
            self._sending.add(deadline)
            try:
                await response.write(data)
            finally:
                self._sending.discard(deadline)

    def close(self) -> None:
        """Wait for nobody any longer."""
        self._closed = True
        soon = asyncio.get_running_loop().time() + LAST_SECONDS
        for deadline in self._sending:
            if not deadline.expired():
                deadline.reschedule(min(soon, deadline.when() or soon))


STREAMS = web.AppKey("streams", Streams)


class Listener:
    """One who listens.

    Args:
        request: what it asked.
        response: already begun.
        id_: of the feed.
        wanted: which events.
    """

    def __init__(self, request: web.Request, response: web.StreamResponse, id_: str, wanted: Wanted) -> None:
        self._request, self._response = request, response
        self._id, self._wanted = id_, wanted
        self._streams = request.config_dict[STREAMS]
        self._watch = request.config_dict[FEED].watch
        self._position = 0
        self._untaken = 0

    async def tell(self, page: FeedPage) -> None:
        """Send everything from a page on, until one of both sides ends it."""
        greeting = beat(id_=None if page.events else self._cursor(page.end), retry_ms=RETRY_MS)
        await self._send([greeting, *self._frames(page.events)], page.end)
        # Whoever is so far behind that there is a gap is told so when it comes back.
        while not self._watch.closed and page.pruned <= self._position:
            try:
                page = await self._next(page)
            except StoreUnavailable:
                # Those who listen have nothing to do with it; they hear on when it is back.
                await asyncio.sleep(1)
                await self._beat()

    async def _next(self, page: FeedPage) -> FeedPage:
        """Send what comes next: from the store while there is more, from what all share at the end of the feed."""
        if not page.has_more:
            await self._hear()
        if self._watch.closed:
            return page
        page = await read(self._request, self._wanted, after=self._position, limit=PAGE)
        if page.pruned <= self._position:
            await self._tell(self._frames(page.events), page.end)
            if page.has_more and not page.events:
                await self._beat()
        return page

    async def _hear(self) -> None:
        """Send what is new as long as that is at hand."""
        while not self._watch.closed:
            if not await self._something():
                await self._beat()
                continue
            fresh = self._watch.after(self._position)
            if fresh is None:
                return
            if fresh:
                frames = [_shared(told, self._id) for told in fresh if self._wanted.fits(told)]
                await self._tell(frames, fresh[-1].position)

    async def _something(self) -> bool:
        """Wait for something new; False: it is time to say that we are still here."""
        try:
            async with asyncio.timeout(self._streams.heartbeat_seconds):
                await self._watch.beyond(self._position)
        except TimeoutError:
            return False
        return True

    async def _beat(self) -> None:
        """Say that we are still here, and how far we are: whoever wants little need not begin far behind again."""
        if 0 < self._untaken <= self._buffered():
            raise TimeoutError  # nothing was taken since we last said something
        with suppress(StoreUnavailable):  # that nobody can say whose token has ended is no reason to hang up on all
            await recheck(self._request)
        await self._send([beat(id_=self._cursor(self._position))], self._position)
        self._untaken = self._buffered()

    async def _tell(self, events: Iterable[bytes], end: int) -> None:
        """Send events, to whoever may still hear them."""
        await recheck(self._request)
        await self._send(events, end)

    async def _send(self, frames: Iterable[bytes], end: int) -> None:
        """Send a little at a time, so that a little is all that is held for somebody who is slow."""
        held = b""
        for frame in frames:
            held += frame
            if len(held) >= SEND_BYTES:
                await self._streams.send(self._response, held)
                held = b""
        if held:
            await self._streams.send(self._response, held)
        self._position = end

    def _frames(self, events: Sequence[Told]) -> list[bytes]:
        return [_frame(told, self._id) for told in events]

    def _cursor(self, position: int) -> str | None:
        return encode([position, self._id]) if position else None

    def _buffered(self) -> int:
        transport = self._request.transport
        return transport.get_write_buffer_size() if transport is not None else 0


def _frame(told: Told, id_: str) -> bytes:
    return message(id_=encode([told.position, id_]), event=told.type, data=told.document)


_shared = lru_cache(maxsize=KEPT_MAX)(_frame)
"""What is new is written once for all who hear it."""


async def stream(request: web.Request, asked: FeedQuery) -> web.StreamResponse:
    """Send events as they come."""
    if request.method == "HEAD":
        return web.Response(headers=HEADERS)
    last, transport = _last_event_id(request), request.transport
    if transport is None:
        raise ConnectionResetError
    with request.config_dict[STREAMS].seat(transport):
        id_ = await request.config_dict[FEED].id(request)
        page = await begin(request, asked, id_, limit=PAGE, last_event_id=last)
        response = web.StreamResponse(headers=HEADERS)
        _bound(transport)
        await response.prepare(request)
        await _serve(Listener(request, response, id_, asked.wanted), page, transport)
    return response


async def _serve(listener: Listener, page: FeedPage, transport: asyncio.Transport) -> None:
    """Let somebody listen; from here on there is no status to answer with."""
    try:
        await listener.tell(page)
    except TimeoutError:
        log.warning("stream.dropped")
        transport.abort()
    except Refused as refused:
        # Whoever comes back hears why, and a client that was written to the specification then stays away.
        log.info("stream.ended", reason=refused.refusal.code)
    except ConnectionError:
        pass
    except Exception as error:  # noqa: BLE001 - the answer has begun: all that can be said is to say no more
        log.error("stream.failed", **blame(error))  # noqa: TRY400 - a traceback may quote an event
        transport.abort()


def _bound(transport: asyncio.Transport) -> None:
    """Have the kernel hold little for somebody who does not read."""
    own = transport.get_extra_info("socket")
    if own is not None:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)


def _last_event_id(request: web.Request) -> FeedCursor | None:
    said = request.headers.get(LAST_EVENT_ID)
    if not said:
        return None
    try:
        return _CURSOR.validate_python(said)
    except ValidationError:
        raise bad_parameter(LAST_EVENT_ID, "Should be an id that this stream sent.") from None


async def streaming(app: web.Application) -> AsyncIterator[None]:
    """Take listeners as long as the application runs."""
    files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    runtime = app[RUNTIME]
    app[STREAMS] = Streams(runtime.settings.server, files_max=files_max, gauge=runtime.metrics.streams_open)
    yield


async def let_go(app: web.Application) -> None:
    """End every stream: who listened comes back, to another process."""
    app[STREAMS].close()


ROUTES = (
    Route(
        "GET",
        "/v1/events/stream",
        stream,
        "Listen to the feed of events",
        "Events",
        {
            200: Answer(
                "Server-sent events: `id` is a cursor, `event` the type, `data` the event", media_type=MEDIA_TYPE
            ),
            410: Answer("What would come next has been pruned; go on with `oldest_cursor`", ExpiredAnswer),
        },
        query=FeedQuery,
        headers={LAST_EVENT_ID: "The last `id` that came: what follows it is sent, whatever the query says"},
        description="The feed from its beginning, or from where the query says, and then what is new as it comes.",
        scope="read",
    ),
)
