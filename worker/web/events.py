"""`/v1/events`: the outgoing feed, oldest first, by cursor, and with a long poll for those who wait for the next.

`worker/web/stream.py` sends the same feed as server-sent events.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from handlers import filters
from schemas.base import Environment
from schemas.resources import Event
from worker.store import feed
from worker.store.engine import Store
from worker.store.feed import FeedPage, Told, Wanted
from worker.web.auth import recheck
from worker.web.errors import ExpiredAnswer, Refusal, Refused, bad_parameter
from worker.web.keys import POOL, RUNTIME, ask, in_thread, on_pool
from worker.web.pages import (
    LATEST,
    WHOLE,
    FeedCursor,
    FeedStart,
    Listing,
    Paged,
    Query,
    Seconds,
    Text,
    document,
    encode,
)
from worker.web.routes import Answer, Route
from worker.web.watch import LOOK_MAX, Watch

WAIT_SECONDS_MAX = 60
_PATTERNS = r"^[a-z_.*]{1,64}(,[a-z_.*]{1,64}){0,31}$"


def _split(value: object) -> object:
    return tuple(value.split(",")) if isinstance(value, str) else value


def _some_fit(types: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a type that is never told: its reader would wait for ever."""
    if mistake := filters.mistake(types):
        raise ValueError(mistake)
    return types


Pattern = Annotated[str, Field(pattern=r"^[a-z_.*]{1,64}$")]
Types = Annotated[
    tuple[Pattern, ...],
    BeforeValidator(_split),
    Field(max_length=32),
    AfterValidator(_some_fit),
    WithJsonSchema({"type": "string", "pattern": _PATTERNS, "examples": ["entitlement.*,refund.succeeded"]}),
]


class FeedQuery(Query):
    """What may be asked of the feed, however it is read."""

    after: Annotated[
        FeedStart | None, Field(description="`next_cursor` of the page before; `latest`: only what is told from now on")
    ] = None
    cursor: Annotated[FeedStart | None, Field(description="Means the same as `after`")] = None
    since: Annotated[
        Seconds | None, Field(description="Without a cursor: begin with what was told then, or a little earlier")
    ] = None
    types: Annotated[Types, Field(description="Comma-separated; `*` stands for any text")] = ()
    app: Text | None = None
    customer: Annotated[Text | None, Field(description="A `user_id`")] = None
    environment: Environment | None = None

    @property
    def wanted(self) -> Wanted:
        """Say which events are asked for."""
        return Wanted(self.types, self.app, self.environment, self.customer)


class EventsQuery(Paged, FeedQuery):
    """What may be asked of the feed page by page."""

    wait: Annotated[
        int, Field(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for an event if there is none"), WHOLE
    ] = 0


class EventList(Listing[Event]):
    """A page of the feed."""


class Feed:
    """The feed as those who read it share it: who looks for what is new, and whose feed it is.

    Args:
        watch: looks.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._id = ""

    async def id(self, request: web.Request) -> str:
        """Give the id that cursors carry; the first who asks at a new database makes it."""
        if not self._id:
            known: str | None = await ask(request, feed.feed_id)
            self._id = await in_thread(request, _name_feed, request) if known is None else known
        return self._id


FEED = web.AppKey("feed", Feed)


async def list_events(request: web.Request, asked: EventsQuery) -> web.Response:
    """List events, oldest first; wait for one if there is none and the client wants to."""
    id_ = await request.config_dict[FEED].id(request)
    page = await begin(request, asked, id_, limit=asked.limit)
    try:
        async with asyncio.timeout(asked.wait):
            page = await _wait(request, asked, page)
    except TimeoutError:
        pass
    if asked.wait:
        await recheck(request)
    return _answer(page, id_)


async def begin(
    request: web.Request, asked: FeedQuery, id_: str, *, limit: int, last_event_id: FeedCursor | None = None
) -> FeedPage:
    """Read the first page of what is asked for.

    Args:
        request: who asks.
        asked: from where on, and what.
        id_: of this feed.
        limit: how many at most.
        last_event_id: where a stream broke off; it counts more than where it had begun.

    Raises:
        Refused: the cursor is of another feed, or what follows it has been pruned.
    """
    param = "Last-Event-ID" if last_event_id is not None else "cursor" if asked.cursor is not None else "after"
    cursor = last_event_id if last_event_id is not None else _one_of(asked)
    if cursor is None or isinstance(cursor, str):
        return await read(request, asked.wanted, after=await _start(request, asked), limit=limit)
    if cursor[1:] not in ((), (id_,)):
        raise _foreign(param)
    page = await read(request, asked.wanted, after=cursor[0], limit=limit)
    if cursor[0] > page.newest:
        # Nobody was given it here: the feed is younger than its reader.
        raise _foreign(param)
    if cursor[0] < page.pruned:
        raise _expired(param, encode([page.pruned, id_]))
    return page


async def read(request: web.Request, wanted: Wanted, *, after: int, limit: int) -> FeedPage:
    """Read a page."""
    return await ask(request, feed.read_feed, after=after, wanted=wanted, limit=limit)


def _one_of(asked: FeedQuery) -> FeedStart | None:
    """Take the one of these that is given."""
    given = {name: value for name in ("after", "cursor", "since") if (value := getattr(asked, name)) is not None}
    if len(given) > 1:
        raise bad_parameter(list(given)[1], f"Give it, or {next(iter(given))}: both say where to begin.")
    return asked.after if asked.after is not None else asked.cursor


async def _start(request: web.Request, asked: FeedQuery) -> int:
    """Find the position to begin after without a cursor."""
    if LATEST in (asked.after, asked.cursor):
        return await ask(request, feed.newest_position)
    if asked.since is not None:
        return await ask(request, feed.position_at, at_ms=asked.since * 1000)
    return 0


def _foreign(param: str) -> Refused:
    message = (
        "This cursor is of another deployment, or of a database before it was restored. "
        "Begin without one, or with since, and drop the events that you have by their ids."
    )
    return Refused(Refusal(400, "cursor_foreign", message, param))


def _expired(param: str, oldest: str) -> Refused:
    message = (
        "What came next has been pruned: [store] keep_events_days. Fetch what you may have missed from "
        f"/v1/customers/…/entitlements and /v1/refunds, and go on with oldest_cursor: {oldest}"
    )
    return Refused(Refusal(410, "cursor_expired", message, param, more={"oldest_cursor": oldest}))


async def _wait(request: web.Request, asked: EventsQuery, page: FeedPage) -> FeedPage:
    watch, wanted = request.config_dict[FEED].watch, asked.wanted
    while not page.events and asked.wait and not watch.closed:
        known = None if page.has_more else await _news(watch, page)
        if known is None:
            page = await read(request, wanted, after=page.end, limit=asked.limit)
        else:
            page = _page_of(known, wanted, page, limit=asked.limit)
    return page


async def _news(watch: Watch, page: FeedPage) -> Sequence[Told] | None:
    await watch.beyond(page.end)
    return watch.after(page.end)


def _page_of(known: Sequence[Told], wanted: Wanted, page: FeedPage, *, limit: int) -> FeedPage:
    """Make the next page of what somebody else has read already."""
    fitting = [told for told in known if wanted.fits(told)]
    shown, full = tuple(fitting[:limit]), len(fitting) > limit
    newest = known[-1].position if known else page.newest
    return FeedPage(shown, shown[-1].position if full else max(newest, page.end), full, newest, page.pruned)


def _answer(page: FeedPage, id_: str) -> web.Response:
    """Join events as they were written, without reading them again.

    Unlike other lists the feed has no last page, so there is always a cursor to carry on from, but for the beginning.
    """
    cursor = f'"{encode([page.end, id_])}"' if page.end else "null"
    more = "true" if page.has_more else "false"
    data = ",".join(told.document for told in page.events)
    return document(f'{{"object":"list","data":[{data}],"has_more":{more},"next_cursor":{cursor}}}')


def _name_feed(request: web.Request) -> str:
    return request.config_dict[RUNTIME].store.change(feed.name_feed)


async def watching(app: web.Application) -> AsyncIterator[None]:
    """Watch the feed as long as the application runs."""
    store = app[RUNTIME].store
    app[FEED] = Feed(Watch(lambda position: on_pool(app[POOL], lambda: _look(store, position))))
    yield


def _look(store: Store, position: int) -> list[Told]:
    with store.look() as connection:
        return feed.read_new(connection, after=position, limit=LOOK_MAX)


async def let_go(app: web.Application) -> None:
    """Answer everybody who waits, so that a shutdown does not wait for them."""
    app[FEED].watch.close()


ROUTES = (
    Route(
        "GET",
        "/v1/events",
        list_events,
        "Read the feed of events",
        "Events",
        {
            200: Answer("Events, oldest first. `next_cursor` is there as soon as there was any event", EventList),
            410: Answer("What would come next has been pruned; go on with `oldest_cursor`", ExpiredAnswer),
        },
        query=EventsQuery,
        description="A page may be empty and its cursor have moved: `has_more` tells whether to ask again at once.",
        scope="read",
    ),
)
