"""`/v1/subscribers/{id}/deliveries` and `/test`: how subscribers were told, how to tell them again, and a try."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from aiohttp import web
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, select

from config.nearest import nearest
from handlers.outgoing import matches
from handlers.samples import sample
from schemas.base import Environment
from schemas.deliveries import (
    Delivery,
    DeliveryStatus,
    Retried,
    RetryWanted,
    TestDelivery,
    TestWanted,
)
from schemas.events import EVENT_TYPES
from worker.deeds import Deed
from worker.keyring import Keyring
from worker.post import Poster
from worker.process import hint_deliveries
from worker.runtime import Runtime
from worker.signing import post_signed
from worker.store import deliveries as kept
from worker.store.tables import subscribers
from worker.web.auditing import DEED, note
from worker.web.errors import bad_parameter, not_found
from worker.web.keys import RUNTIME, ask, in_thread, now
from worker.web.pages import Listing, Query, Text, TimeCursor, TimePaged, encode, listing, path_text, resource
from worker.web.routes import Answer, Route

BATCHES_MAX = 4
"""So many batches one request puts in line; each is a transaction of its own, and whoever wants more asks again."""

_CURSOR: TypeAdapter[tuple[int, str]] = TypeAdapter(TimeCursor)


class DeliveryList(Listing[Delivery]):
    """A page of deliveries."""


class DeliveriesQuery(TimePaged):
    """What may be asked of the list."""

    status: DeliveryStatus | None = None
    type: Text | None = None


class _Queued(NamedTuple):
    """What several batches came to."""

    ids: Sequence[str]
    answer: Retried


async def list_(request: web.Request, asked: DeliveriesQuery) -> web.Response:
    """List deliveries, newest first."""
    whom = await _subscriber(request)
    found = await ask(
        request,
        kept.list_deliveries,
        whom.id,
        status=asked.status,
        type_=asked.type,
        after=asked.cursor,
        limit=asked.limit + 1,
    )
    made = {shown.id: at_ms for at_ms, shown in found}
    return listing([shown for _, shown in found], asked.limit, lambda shown: (made[shown.id], shown.id))


async def retry_one(request: web.Request, _: Query) -> web.Response:
    """Put one delivery in line again."""
    whom, id_ = await _subscriber(request), path_text(request, "delivery")
    now_ms = int(now(request) * 1000)
    shown = await in_thread(request, _retry_one, _runtime(request), request[DEED], whom.id, id_, now_ms)
    if shown is None:
        raise not_found("delivery")
    return resource(shown)


async def retry_many(request: web.Request, asked: RetryWanted) -> web.Response:
    """Put many deliveries in line again: those of a time, or what was missed."""
    whom, now_ms = await _subscriber(request), int(now(request) * 1000)
    work = _missed if asked.missed else _range
    filters = _checked(asked).model_dump(mode="json", exclude_none=True, exclude={"cursor"})
    # Before its batches, each of which is a transaction of its own: what was begun is on record if we die meanwhile.
    await note(request, whom.id, **filters)
    queued = await in_thread(request, work, _runtime(request), whom.id, asked, now_ms)
    await in_thread(request, hint_deliveries, _runtime(request), queued.ids)
    return resource(queued.answer)


async def test(request: web.Request, asked: TestWanted) -> web.Response:
    """Send a signed sample at once, and tell how that went."""
    whom, at = await _subscriber(request), now(request)
    type_ = _testable(asked.type, json.loads(whom.types))
    await note(request, whom.id, type=type_)
    environment: Environment = whom.environment or "sandbox"
    event = sample(type_, app=whom.app, environment=environment, mark=str(int(at * 1000)), at_ms=int(at * 1000))
    document = json.dumps({**event.model_dump(mode="json"), "test": True}, ensure_ascii=False, separators=(",", ":"))
    keyring, poster = Keyring(_runtime(request).settings.subscribers, _runtime(request).sealer), Poster()
    try:
        answer = await post_signed(poster, keyring, whom, event_id=event.id, document=document, now=at)
    finally:
        await poster.close()
    return resource(
        TestDelivery(
            subscriber=whom.id,
            event=event.id,
            type=type_,
            delivered=answer.error is None,
            status_code=answer.status_code,
            duration_ms=answer.duration_ms,
            error=answer.error,
            response=answer.response,
        )
    )


async def _subscriber(request: web.Request) -> Any:
    """Find whom the address names."""
    whom = await ask(request, _find, path_text(request, "id"))
    if whom is None:
        raise not_found("subscriber")
    return whom


def _find(connection: Connection, id_: str) -> Any:
    return connection.execute(select(subscribers).where(subscribers.c.id == id_)).one_or_none()


def _checked(asked: RetryWanted) -> RetryWanted:
    """Refuse what says two things at once, or nothing, or goes on from nowhere."""
    if asked.missed and (asked.since is not None or asked.until is not None):
        raise bad_parameter("missed", "Give missed, or a time by since and until; not both.")
    if not asked.missed and asked.since is None:
        raise bad_parameter("since", "Give since (Unix seconds), or missed: true.")
    _after(asked.cursor)
    return asked


def _retry_one(runtime: Runtime, deed: Deed, subscriber: str, id_: str, now_ms: int) -> Delivery | None:
    def change(connection: Connection) -> Delivery | None:
        if kept.find_delivery(connection, subscriber, id_) is None:
            return None
        kept.retry(connection, [id_], now_ms)
        deed.note(connection, id_, subscriber=subscriber)
        return kept.find_delivery(connection, subscriber, id_)

    shown = runtime.store.change(change)
    hint_deliveries(runtime, [] if shown is None else [id_])
    return shown


def _missed(runtime: Runtime, subscriber: str, _: RetryWanted, now_ms: int) -> _Queued:
    ids: list[str] = []
    queued, more = 0, True
    for _batch in range(BATCHES_MAX):
        batch = runtime.store.change(partial(kept.queue_missed, subscriber=subscriber, now_ms=now_ms))
        ids += batch.ids
        queued, more = queued + batch.queued, batch.has_more
        if not more:
            break
    return _Queued(ids, Retried(queued=queued, has_more=more))


def _range(runtime: Runtime, subscriber: str, asked: RetryWanted, now_ms: int) -> _Queued:
    ids: list[str] = []
    queued, after = 0, _after(asked.cursor)
    until_ms = now_ms if asked.until is None else asked.until * 1000
    batch_of = partial(
        kept.retry_range,
        subscriber=subscriber,
        status=asked.status,
        since_ms=(asked.since or 0) * 1000,
        until_ms=until_ms,
        now_ms=now_ms,
    )
    for _batch in range(BATCHES_MAX):
        batch = runtime.store.change(partial(batch_of, after=after))
        ids += batch.ids
        queued, after = queued + batch.queued, batch.after
        if after is None:
            break
    cursor = None if after is None else encode(after)
    return _Queued(ids, Retried(queued=queued, has_more=after is not None, next_cursor=cursor))


def _after(cursor: str | None) -> tuple[int, str] | None:
    try:
        return None if cursor is None else _CURSOR.validate_python(cursor)
    except ValidationError:
        raise bad_parameter("cursor", "Should be the next_cursor of the answer before.") from None


def _testable(wanted: str | None, asked_for: Sequence[str]) -> str:
    """Choose the type of a sample: any that there is, or the first that the subscriber asks for."""
    if wanted is None:
        return next((one for one in EVENT_TYPES if matches(asked_for, one)), next(iter(EVENT_TYPES)))
    if wanted not in EVENT_TYPES:
        raise bad_parameter("type", f"There is no such event type; the nearest is {nearest(wanted, EVENT_TYPES)}.")
    return wanted


def _runtime(request: web.Request) -> Runtime:
    return request.config_dict[RUNTIME]


_ID = {"id": "The subscriber's, `sub_…`"}

ROUTES = (
    Route(
        "GET",
        "/v1/subscribers/{id}/deliveries",
        list_,
        "List what a subscriber was told, with every attempt",
        "Deliveries",
        {200: Answer("Deliveries, newest first", DeliveryList)},
        query=DeliveriesQuery,
        notes=_ID,
        scope="read",
    ),
    Route(
        "POST",
        "/v1/subscribers/{id}/deliveries/{delivery}/retry",
        retry_one,
        "Tell one event again",
        "Deliveries",
        {200: Answer("The delivery, which is in line again", Delivery)},
        notes={**_ID, "delivery": "Its id, `dlv_…`"},
        scope="operate",
        action="delivery.retry",
    ),
    Route(
        "POST",
        "/v1/subscribers/{id}/deliveries/retry",
        retry_many,
        "Tell again what failed in a time, or what was missed while disabled",
        "Deliveries",
        {200: Answer("How many are in line that were not", Retried)},
        body=RetryWanted,
        notes=_ID,
        scope="operate",
        action="subscriber.retry",
    ),
    Route(
        "POST",
        "/v1/subscribers/{id}/test",
        test,
        "Send a signed sample at once, and tell how that went",
        "Deliveries",
        {200: Answer("How the sample arrived; also where it did not", TestDelivery)},
        body=TestWanted,
        body_optional=True,
        notes=_ID,
        scope="write",
        action="subscriber.test",
    ),
)
