"""`/v1/events`: the outgoing feed, oldest first, by cursor, and with a long poll for those who wait for the next."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from aiohttp import web
from pydantic import BeforeValidator, Field, WithJsonSchema

from schemas.resources import Event
from worker.store.feed import FeedPage, newest_position, read_feed
from worker.web.errors import bad_parameter
from worker.web.keys import POOL, RUNTIME, ask, on_pool
from worker.web.pages import WHOLE, FeedCursor, Listing, Paged, Text, document, encode
from worker.web.routes import Answer, Route

LOOK_EVERY_SECONDS = 0.2
WAIT_SECONDS_MAX = 60
_PATTERNS = r"^[a-z_.*]{1,64}(,[a-z_.*]{1,64}){0,31}$"


def _split(value: object) -> object:
    return tuple(value.split(",")) if isinstance(value, str) else value


Pattern = Annotated[str, Field(pattern=r"^[a-z_.*]{1,64}$")]
Types = Annotated[
    tuple[Pattern, ...],
    BeforeValidator(_split),
    Field(max_length=32),
    WithJsonSchema({"type": "string", "pattern": _PATTERNS, "examples": ["entitlement.*,refund.succeeded"]}),
]


class EventsQuery(Paged):
    """What may be asked of the feed."""

    after: Annotated[FeedCursor | None, Field(description="`next_cursor` of the page before")] = None
    cursor: Annotated[FeedCursor | None, Field(description="Means the same as `after`")] = None
    types: Annotated[Types, Field(description="Comma-separated; `*` stands for any text")] = ()
    app: Text | None = None
    wait: Annotated[
        int, Field(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for an event if there is none"), WHOLE
    ] = 0


class EventList(Listing[Event]):
    """A page of the feed."""


class Watch:
    """Know whether there may be something new, with one question to the store for all who wait, and none otherwise.

    Args:
        newest: asks the store for the newest position.
        every_seconds: how often, at most.
    """

    def __init__(self, newest: Callable[[], Awaitable[int]], *, every_seconds: float = LOOK_EVERY_SECONDS) -> None:
        self._ask = newest
        self._every_seconds = every_seconds
        self._newest = 0
        self._look: asyncio.Task[None] | None = None
        self._closed = False

    async def beyond(self, position: int) -> None:
        """Return when there is something beyond a position, or when nobody shall wait any more."""
        while self._newest <= position and not self._closed:
            if self._look is None:
                self._look = asyncio.create_task(self._look_soon())
                self._look.add_done_callback(_seen)
            await asyncio.shield(self._look)

    async def _look_soon(self) -> None:
        try:
            await asyncio.sleep(self._every_seconds)
            self._newest = await self._ask()
        finally:
            self._look = None

    def close(self) -> None:
        """Let everybody go at their next look: the process is about to end."""
        self._closed = True

    @property
    def closed(self) -> bool:
        """Tell whether waiting has ended for good."""
        return self._closed


def _seen(look: asyncio.Task[None]) -> None:
    """Take note of a failed look even if everybody who waited for it has left."""
    if not look.cancelled():
        look.exception()


WATCH = web.AppKey("watch", Watch)


async def list_events(request: web.Request, asked: EventsQuery) -> web.Response:
    """List events, oldest first; wait for one if there is none and the client wants to."""
    if asked.after is not None and asked.cursor is not None:
        raise bad_parameter("cursor", "It means the same as after; give one of them.")
    after = asked.after or asked.cursor
    page = await _read(request, asked, 0 if after is None else after[0])
    try:
        async with asyncio.timeout(asked.wait):
            page = await _wait(request, asked, page)
    except TimeoutError:
        pass
    return _answer(page)


async def _wait(request: web.Request, asked: EventsQuery, page: FeedPage) -> FeedPage:
    watch = request.config_dict[WATCH]
    while not page.documents and asked.wait and not watch.closed:
        await watch.beyond(page.end)
        page = await _read(request, asked, page.end)
    return page


async def _read(request: web.Request, asked: EventsQuery, after: int) -> FeedPage:
    return await ask(request, read_feed, after=after, types=asked.types, app=asked.app, limit=asked.limit)


def _answer(page: FeedPage) -> web.Response:
    """Join events as they were written, without reading them again.

    Unlike other lists the feed has no last page, so there is always a cursor to carry on from, but for the beginning.
    """
    cursor = f'"{encode([page.end])}"' if page.end else "null"
    more = "true" if page.has_more else "false"
    data = ",".join(page.documents)
    return document(f'{{"object":"list","data":[{data}],"has_more":{more},"next_cursor":{cursor}}}')


async def watching(app: web.Application) -> AsyncIterator[None]:
    """Watch the feed as long as the application runs."""
    store = app[RUNTIME].store

    def newest() -> int:
        with store.read() as connection:
            return newest_position(connection)

    app[WATCH] = Watch(lambda: on_pool(app[POOL], newest))
    yield


async def let_go(app: web.Application) -> None:
    """Answer everybody who waits, so that a shutdown does not wait for them."""
    app[WATCH].close()


ROUTES = (
    Route(
        "GET",
        "/v1/events",
        list_events,
        "Read the feed of events",
        "Events",
        {200: Answer("Events, oldest first. `next_cursor` is there as soon as there was any event", EventList)},
        query=EventsQuery,
    ),
)
