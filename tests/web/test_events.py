import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from schemas.resources import Customer, Event
from tests.web import seed
from tests.web.service import Service
from worker.store.feed import PRUNED, STRETCH_MAX
from worker.store.tables import events, marks
from worker.web.pages import encode


async def test_the_feed_is_oldest_first_and_whole(service: Service) -> None:
    """Every event is in the feed as it was written, in the order in which they were committed."""
    told = [seed.event(n) for n in (3, 1, 2)]
    seed.insert(service.store, *told)

    page = await service.get("/v1/events")

    assert told == [Event.model_validate(one) for one in page["data"]]


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
        ("*re*d", ["entitlement.revoked", "refund.succeeded", "refund.failed"]),
        ("chargeback.*", []),
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

    async with asyncio.timeout(60):
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


@pytest.mark.parametrize(
    ("types", "nearest"),
    [
        ("refund.suceeded", "refund.succeeded"),
        ("refund_succeeded", "refund.succeeded"),
        ("refund", "refund.*"),
        ("refund.*,entitlements.*", "entitlement.*"),
        ("*.revoke", "entitlement.revoked"),
    ],
)
async def test_a_type_that_is_never_told_is_refused(service: Service, types: str, nearest: str) -> None:
    """A filter that no event could pass would wait for ever: it is refused, and the nearest type is named."""
    error = await service.refused("/v1/events", 400, types=types)

    assert ("parameter_invalid", "types") == (error["code"], error["param"])
    assert f"the nearest is {nearest!r}" in error["message"]


async def test_a_customer_s_events(service: Service) -> None:
    """With a customer only what concerns them is listed, and with an environment only what happened there."""
    bob = Customer(user_id="bob")
    told = [seed.event(1), seed.event(2, customer=bob), seed.event(3, customer=bob, environment="sandbox")]
    seed.insert(service.store, *told, seed.event(4, customer=None, sequence=None))

    assert [told[1].id, told[2].id] == ids(await service.get("/v1/events", customer="bob"))
    assert [told[2].id] == ids(await service.get("/v1/events", customer="bob", environment="sandbox"))
    assert [told[2].id] == ids(await service.get("/v1/events", environment="sandbox"))
    assert [] == ids(await service.get("/v1/events", customer="nobody"))


def ids(page: Any) -> list[str]:
    """List the ids of a page."""
    return [event["id"] for event in page["data"]]


async def test_a_rare_type_is_looked_for_a_stretch_at_a_time(service: Service) -> None:
    """A page looks through so many events: it may be empty while its cursor has moved, and says that there is more."""
    rare = {STRETCH_MAX + 5: "refund.failed", 2 * STRETCH_MAX + 7: "refund.failed"}
    many(service, 2 * STRETCH_MAX + 10, rare)

    pages = [await service.get("/v1/events", types="refund.failed")]
    while pages[-1]["has_more"]:
        pages.append(await service.get("/v1/events", types="refund.failed", after=pages[-1]["next_cursor"]))
    at_once = await service.get("/v1/events", types="refund.failed", wait=5)

    assert [0, 1, 1] == [len(page["data"]) for page in pages]
    assert ids(pages[1]) == ids(at_once)


def many(service: Service, count: int, types: dict[int, str]) -> None:
    """Insert many events that are hardly any, but for these."""
    row = {"app": "acme", "environment": "production", "timestamp_ms": 0, "document": "{}", "type": "refund.pending"}
    rows = [row | {"id": f"evt_{n}", "type": types.get(n, row["type"])} for n in range(count)]
    for number in types:
        rows[number]["document"] = f'{{"id":"evt_{number}"}}'
    with service.store.write() as connection:
        connection.execute(events.insert(), rows)


async def test_a_customer_of_many_events_is_looked_through_likewise(service: Service) -> None:
    """Also what concerns one customer is looked through a stretch at a time."""
    row = {"app": "acme", "environment": "production", "timestamp_ms": 0, "document": "{}", "type": "refund.pending"}
    with service.store.write() as connection:
        rows = [row | {"id": f"evt_{n}", "user_id": "bot"} for n in range(STRETCH_MAX + 1)]
        connection.execute(events.insert(), rows)

    first = await service.get("/v1/events", customer="bot", types="refund.failed")
    second = await service.get("/v1/events", customer="bot", types="refund.failed", after=first["next_cursor"])

    assert [([], True), ([], False)] == [(page["data"], page["has_more"]) for page in (first, second)]


async def test_a_cursor_of_another_database_is_refused(service: Service, embedded: Service) -> None:
    """A cursor leads on where it was given, and nowhere else: positions are numbers, and mean something else there."""
    for one in (service, embedded):
        seed.insert(one.store, seed.event(1), seed.event(2))
        with one.store.write() as connection:
            connection.execute(marks.delete())
    cursor = (await service.get("/v1/events", limit=1))["next_cursor"]

    assert 1 == len((await service.get("/v1/events", after=cursor))["data"])
    error = await embedded.refused("/v1/events", 400, after=cursor)
    assert ("cursor_foreign", "after") == (error["code"], error["param"])


async def test_a_cursor_from_before_feeds_had_ids_stays_good(service: Service) -> None:
    """Readers hold cursors without an id of the feed: they carry on."""
    seed.insert(service.store, *(seed.event(n) for n in (1, 2, 3)))
    with service.store.read() as connection:
        first = connection.execute(select(func.min(events.c.position))).scalar_one()

    assert [seed.event(2).id, seed.event(3).id] == ids(await service.get("/v1/events", after=encode([first])))


async def test_a_cursor_ahead_of_the_feed_is_refused(service: Service) -> None:
    """After a backup was restored the feed is younger than its readers, who would miss what is told next."""
    seed.insert(service.store, seed.event(1))
    cursor = (await service.get("/v1/events"))["next_cursor"]
    with service.store.write() as connection:
        connection.execute(events.delete())

    assert "cursor_foreign" == (await service.refused("/v1/events", 400, cursor=cursor))["code"]


async def test_a_cursor_older_than_what_is_kept_says_where_to_go_on(service: Service) -> None:
    """What a reader would miss is not passed over in silence: 410, with the cursor from which everything is there."""
    seed.insert(service.store, *(seed.event(n) for n in range(1, 6)))
    cursors = [(await service.get("/v1/events", limit=n))["next_cursor"] for n in (1, 3)]
    with service.store.write() as connection:
        third = connection.execute(select(events.c.position).where(events.c.id == seed.event(3).id)).scalar_one()
        connection.execute(events.delete().where(events.c.position <= third))
        connection.execute(marks.insert().values(name=PRUNED, value=str(third)))

    error = await service.refused("/v1/events", 410, after=cursors[0])
    assert ("invalid_request_error", "cursor_expired", "after") == (error["type"], error["code"], error["param"])
    assert error["oldest_cursor"] in error["message"]
    rest = [seed.event(4).id, seed.event(5).id]
    for query in ({"after": error["oldest_cursor"]}, {"after": cursors[1]}, {}):
        assert rest == ids(await service.get("/v1/events", **query))


async def test_only_what_is_told_from_now_on(service: Service) -> None:
    """`latest` leaves out everything there is, and gives the cursor to carry on from."""
    seed.insert(service.store, seed.event(1))
    now = await service.get("/v1/events", after="latest")
    seed.insert(service.store, seed.event(2))

    assert [] == now["data"]
    assert [seed.event(2).id] == ids(await service.get("/v1/events", after=now["next_cursor"]))


async def test_what_was_told_since(service: Service) -> None:
    """With a moment the feed begins with what was told then, half a minute early as clocks differ."""
    row = {"app": "acme", "environment": "production", "document": "{}", "type": "refund.pending"}
    with service.store.write() as connection:
        rows = [row | {"id": f"evt_{n}", "timestamp_ms": n * 10_000, "document": f'{{"id":"{n}"}}'} for n in range(50)]
        connection.execute(events.insert(), rows)

    for since, first in ((0, 0), (10, 0), (31, 1), (300, 27), (490, 46), (600, None)):
        expected = [] if first is None else [str(n) for n in range(first, 50)]
        assert expected == ids(await service.get("/v1/events", since=since)), since
    assert "since" == (await service.refused("/v1/events", 400, since=1, after="latest"))["param"]


async def test_many_who_wait_hear_the_same(service: Service) -> None:
    """Whoever waits for something else waits on, and each gets what it asked for."""
    seed.insert(service.store, seed.event(1))
    cursor = (await service.get("/v1/events"))["next_cursor"]
    asked = ({"customer": "ada"}, {"customer": "bob"}, {"types": "refund.*"}, {"environment": "sandbox", "wait": 1})
    waiting = [asyncio.create_task(service.get("/v1/events", after=cursor, **{"wait": 30} | query)) for query in asked]
    await asyncio.sleep(0.3)
    seed.insert(service.store, seed.event(2))
    await asyncio.sleep(0.3)
    seed.insert(service.store, seed.event(3, customer=Customer(user_id="bob"), type_="refund.failed"))

    async with asyncio.timeout(60):
        pages = await asyncio.gather(*waiting)
    assert [[seed.event(2).id], [seed.event(3).id], [seed.event(3).id], []] == [ids(page) for page in pages]
