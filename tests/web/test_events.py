import asyncio
from typing import Any

import pytest

from schemas.resources import Event
from tests.web import seed
from tests.web.service import Service
from worker.web.events import Watch


async def test_the_feed_is_oldest_first_and_whole(service: Service) -> None:
    """Every event is in the feed as it was written, in the order in which they were committed."""
    events = [seed.event(n) for n in (3, 1, 2)]
    seed.insert(service.store, *events)

    page = await service.get("/v1/events")

    assert events == [Event.model_validate(one) for one in page["data"]]


async def test_the_cursor_carries_on_forever(service: Service) -> None:
    """A reader that asks again with the cursor it was given sees each event once, also those that come later."""
    seed.insert(service.store, *(seed.event(n) for n in range(1, 4)))

    first = await service.get("/v1/events", limit=2)
    second = await service.get("/v1/events", limit=2, after=first["next_cursor"])
    nothing = await service.get("/v1/events", after=second["next_cursor"])
    seed.insert(service.store, seed.event(4))
    later = await service.get("/v1/events", cursor=nothing["next_cursor"])

    assert [2, 1, 0, 1] == [len(page["data"]) for page in (first, second, nothing, later)]
    assert [True, False, False, False] == [page["has_more"] for page in (first, second, nothing, later)]
    assert [seed.event(4).id] == [event["id"] for event in later["data"]]


async def test_an_empty_feed_has_no_cursor(service: Service) -> None:
    """Before the first event there is nothing to carry on from: the reader starts at the beginning."""
    assert {"object": "list", "data": [], "has_more": False, "next_cursor": None} == await service.get("/v1/events")


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ("*", ["entitlement.revoked", "refund.succeeded", "refund.failed"]),
        ("refund.*", ["refund.succeeded", "refund.failed"]),
        ("*.failed,entitlement.revoked", ["entitlement.revoked", "refund.failed"]),
        ("refund.succeeded", ["refund.succeeded"]),
        ("refund_succeeded", []),
        ("refund", []),
    ],
)
async def test_types_are_words_with_wildcards(service: Service, types: str, expected: list[str]) -> None:
    """A star stands for any text, and nothing else is special."""
    words = ("entitlement.revoked", "refund.succeeded", "refund.failed")
    seed.insert(service.store, *(seed.event(n, type_=word) for n, word in enumerate(words, 1)))

    page = await service.get("/v1/events", types=types)

    assert expected == [event["type"] for event in page["data"]]


async def test_what_a_filter_leaves_out_is_read_once(service: Service) -> None:
    """The cursor moves past events that a filter leaves out, and skips none that comes after them."""
    seed.insert(service.store, seed.event(1), seed.event(2, app="other"))

    mine = await service.get("/v1/events", app="nobody's")
    seed.insert(service.store, seed.event(3, app="nobody's"))
    later = await service.get("/v1/events", app="nobody's", after=mine["next_cursor"])

    assert ([], [seed.event(3).id]) == (mine["data"], [event["id"] for event in later["data"]])


async def test_a_long_poll_answers_with_what_comes(service: Service) -> None:
    """Who waits is answered by the next event, long before the time is over."""
    seed.insert(service.store, seed.event(1))
    cursor = (await service.get("/v1/events"))["next_cursor"]

    waiting = asyncio.create_task(service.get("/v1/events", after=cursor, wait=30))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    seed.insert(service.store, seed.event(2))

    async with asyncio.timeout(5):
        assert [seed.event(2).id] == [event["id"] for event in (await waiting)["data"]]


async def test_a_long_poll_ends(service: Service) -> None:
    """Who waits in vain is answered with an empty page and the cursor to wait with again."""
    seed.insert(service.store, seed.event(1))
    cursor = (await service.get("/v1/events"))["next_cursor"]

    page = await service.get("/v1/events", after=cursor, wait=1)

    assert ([], cursor) == (page["data"], page["next_cursor"])


async def test_after_and_cursor_are_one_parameter(service: Service) -> None:
    """Both at once is an error: nobody could tell which one counts."""
    error = await service.refused("/v1/events", 400, after="WzFd", cursor="WzFd")

    assert "cursor" == error["param"]


async def test_all_who_wait_share_one_question() -> None:
    """However many wait, the store is asked once per interval; and nobody is asked when nobody waits."""
    asked = 0

    async def newest() -> int:
        nonlocal asked
        asked += 1
        return asked

    watch = Watch(newest, every_seconds=0.001)
    await asyncio.gather(*(watch.beyond(2) for _ in range(50)))
    await asyncio.sleep(0.05)

    assert 3 == asked


async def test_a_closed_watch_lets_everybody_go() -> None:
    """A shutdown does not wait for those who wait for an event."""

    async def newest() -> int:
        return 0

    watch = Watch(newest, every_seconds=0.001)
    waiting: list[asyncio.Task[Any]] = [asyncio.create_task(watch.beyond(0)) for _ in range(3)]
    await asyncio.sleep(0)
    watch.close()

    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


async def test_an_error_of_the_store_reaches_everybody_who_waits() -> None:
    """When the question fails, everybody who waited hears of it instead of waiting on."""

    async def newest() -> int:
        raise ConnectionError

    watch = Watch(newest, every_seconds=0.001)
    answers = await asyncio.gather(*(watch.beyond(0) for _ in range(3)), return_exceptions=True)

    assert [ConnectionError] * 3 == [type(answer) for answer in answers]
