"""How subscribers were told, how they are told again, and a sample at once.

Real: the service, both kinds of database, a backend on loopback, the deliverer. Double: the clock, which stands.
"""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import select, update

from schemas.events import EVENT_TYPES
from tests.store.outbox_story import SECRET, announce, event, subscribe_by_api, subscriber
from tests.web.service import Service
from tests.worker.backend import Backend
from tests.worker.receiver import believe
from worker.delivery import deliver
from worker.store import outbox
from worker.store.deliveries import BATCH_MAX
from worker.store.feed import newest_position
from worker.store.tables import attempts, deliveries, subscribers
from worker.web.deliveries import BATCHES_MAX


def listens(service: Service, backend: Backend, **chosen: Any) -> str:
    """Subscribe a backend."""
    (who,) = subscribe_by_api(service.store, subscriber(backend.url, allow_private=True, **chosen), now=service.clock())
    return who


def happens(service: Service, *told: Any) -> list[str]:
    """Commit events, a second after what was before."""
    service.clock.now += 1
    return announce(service.store, told, now=service.clock())


def change(service: Service, who: str, **values: Any) -> None:
    """Change a subscriber, as an operator does."""
    with service.store.write() as connection:
        connection.execute(update(subscribers).where(subscribers.c.id == who).values(**values))


async def tell(service: Service, ids: Sequence[str] | None = None) -> None:
    """Deliver these, or whatever is due."""
    if ids is None:
        with service.store.read() as connection:
            ids = outbox.due(connection, int(service.clock() * 1000), 1000)
    await deliver(service.runtime, ids)


async def post(service: Service, path: str, said: Any = None, *, expected: int = 200) -> Any:
    """POST as an operator."""
    async with service.http.post(path, json=said) as response:
        assert expected == response.status, await response.text()
        return await response.json()


def refuse(_told: Any) -> web.Response:
    """Answer 500, and say why."""
    return web.Response(status=500, text="no disk")


async def test_a_delivery_is_shown_with_its_attempts(service: Service) -> None:
    """What was told when, how often and what came back is there for whoever looks for the cause."""
    async with Backend(refuse) as backend:
        who = listens(service, backend)
        await tell(service, happens(service, event(1)))
        backend.answer = lambda _told: web.Response(text="thanks")
        service.clock.now += 10
        await tell(service)
        (shown,) = (await service.get(f"/v1/subscribers/{who}/deliveries"))["data"]

    tried = shown.pop("attempts")
    assert [(500, "not_2xx", "no disk"), (200, None, "thanks")] == [
        (one["status_code"], one["error"], one["response"]) for one in tried
    ]
    assert all(one["duration_ms"] > 0 for one in tried)
    now = int(service.clock.now)
    assert [now - 10, now] == [one["attempted_at"] for one in tried]
    assert {
        "object": "delivery",
        "subscriber": who,
        "event": event(1).id,
        "type": "entitlement.revoked",
        "app": "acme",
        "user_id": "user-42",
        "sequence": 1,
        "status": "delivered",
        "next_attempt_at": None,
        "created_at": now - 10,
        "finished_at": now,
        "retried_at": None,
    } == {name: value for name, value in shown.items() if name != "id"}


async def test_deliveries_are_listed_newest_first_in_pages(service: Service) -> None:
    """Following the cursor shows every one once, whatever stands how; filters leave out the rest."""
    async with Backend() as backend:
        who = listens(service, backend, order="none")
        for number in range(1, 7):
            kind = "refund.succeeded" if number % 2 else "entitlement.revoked"
            ready = happens(service, event(number, kind=kind))
            if number < 4:
                await tell(service, ready)
    path = f"/v1/subscribers/{who}/deliveries"

    seen: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await service.get(path, limit=2, **cursor)
        seen += [(one["sequence"], one["status"]) for one in page["data"]]
        if not page["has_more"]:
            break
        cursor = {"cursor": page["next_cursor"]}
    pending = await service.get(path, status="pending")
    refunds = await service.get(path, status="delivered", type="refund.succeeded")

    assert [(6, "pending"), (5, "pending"), (4, "pending")] == seen[:3]
    assert [(3, "delivered"), (2, "delivered"), (1, "delivered")] == seen[3:]
    assert [6, 5, 4] == [one["sequence"] for one in pending["data"]]
    assert [3, 1] == [one["sequence"] for one in refunds["data"]]
    assert [] == (await service.get(path, status="failed"))["data"]


async def test_nobody_there_is_said(service: Service) -> None:
    """A subscriber or a delivery that does not exist is a 404, whatever is asked of it."""
    async with Backend() as backend:
        who = listens(service, backend)
    error = await service.refused("/v1/subscribers/sub_nobody/deliveries", 404)
    assert "subscriber_not_found" == error["code"]
    for path, said, code in (
        ("sub_nobody/test", {}, "subscriber_not_found"),
        ("sub_nobody/deliveries/retry", {"missed": True}, "subscriber_not_found"),
        ("sub_nobody/deliveries/dlv_1/retry", None, "subscriber_not_found"),
        (f"{who}/deliveries/dlv_1/retry", None, "delivery_not_found"),
    ):
        answer = await post(service, f"/v1/subscribers/{path}", said, expected=404)
        assert code == answer["error"]["code"]


async def test_one_is_told_again(service: Service) -> None:
    """A delivery that was given up is in line again with its whole schedule before it, hinted at, and arrives."""
    async with Backend(refuse) as backend:
        who = listens(service, backend)
        (failed,) = happens(service, event(1))
        await tell(service, [failed])
        with service.store.write() as connection:
            connection.execute(update(deliveries).values(status="failed", attempts=10, finished_at_ms=1))
        service.clock.now += 5
        service.queue.put.clear()

        again = await post(service, f"/v1/subscribers/{who}/deliveries/{failed}/retry")
        backend.answer = lambda _told: web.Response()
        await tell(service, service.queue.put)

    assert ("pending", int(service.clock.now), None) == (again["status"], again["retried_at"], again["finished_at"])
    assert 1 == len(again["attempts"])
    (shown,) = (await service.get(f"/v1/subscribers/{who}/deliveries"))["data"]
    assert ("delivered", 2) == (shown["status"], len(shown["attempts"]))
    assert 1 == len(set(backend.ids))


async def test_a_time_is_told_again_in_order(service: Service) -> None:
    """What failed in a time is in line again and nothing else; a customer's events come in their order, once each."""
    async with Backend(refuse) as backend:
        who = listens(service, backend)
        early = happens(service, event(1))
        since = int(service.clock.now) + 1
        happens(service, event(2), event(3), event(1, user="user-7"))
        with service.store.write() as connection:
            connection.execute(update(deliveries).values(status="failed", finished_at_ms=1))
        service.clock.now += 60
        path = f"/v1/subscribers/{who}/deliveries/retry"

        first = await post(service, path, {"since": since})
        again = await post(service, path, {"since": since})
        backend.answer = lambda _told: web.Response()
        await tell(service, service.queue.put)

    assert {"object": "retry", "queued": 3, "has_more": False, "next_cursor": None} == first
    assert 0 == again["queued"]
    assert [event(2).id, event(3).id] == [one for one in backend.ids if one != event(1, user="user-7").id]
    assert 3 == len(backend.ids)
    assert [early[0]] == [one["id"] for one in (await listed(service, who, "failed"))]


async def listed(service: Service, who: str, status: str) -> Any:
    """List what stands so."""
    return (await service.get(f"/v1/subscribers/{who}/deliveries", status=status))["data"]


async def test_what_was_missed_is_told_in_order(service: Service) -> None:
    """Everything since it was disabled that its filters match is told, in order, however often it is asked for."""
    async with Backend() as backend:
        who = listens(service, backend, types=("entitlement.*",))
        await tell(service, happens(service, event(1)))
        with service.store.read() as connection:
            newest = newest_position(connection)
        change(service, who, state="disabled", reason="by_operator", missed_after=newest)
        sandbox = event(5, user="user-9").model_copy(update={"environment": "sandbox"})
        happens(service, event(2), event(3), event(4, kind="refund.succeeded"), sandbox, event(1, app="umbrella"))
        change(service, who, state="paused", environment="production", changed_at=int(service.clock.now))
        happens(service, event(5))
        path = f"/v1/subscribers/{who}/deliveries/retry"

        counts = [(await post(service, path, {"missed": True}))["queued"] for _ in range(2)]
        change(service, who, state="enabled")
        service.clock.now += 61
        counts.append((await post(service, path, {"missed": True}))["queued"])
        await tell(service)

    assert [2, 0, 0] == counts
    assert [event(number).id for number in (1, 2, 3, 5)] == backend.ids
    with service.store.read() as connection:
        assert connection.execute(select(subscribers.c.missed_after)).scalar_one() is None


async def test_many_are_put_in_line_in_bounded_batches(service: Service) -> None:
    """One request puts a bounded number in line and says that there is more; asking again goes on from there."""
    most = BATCHES_MAX * BATCH_MAX
    async with Backend() as backend:
        who = listens(service, backend)
        change(service, who, state="disabled", missed_after=0)
        happens(service, *(event(1, user=f"user-{number}") for number in range(most + 3)))
        path = f"/v1/subscribers/{who}/deliveries/retry"

        missed = [await post(service, path, {"missed": True}) for _ in range(2)]
        service.clock.now += 1
        first = await post(service, path, {"since": 0, "status": "pending"})
        rest = await post(service, path, {"since": 0, "status": "pending", "cursor": first["next_cursor"]})

    assert [(most, True), (3, False)] == [(one["queued"], one["has_more"]) for one in missed]
    assert [(most, True), (3, False)] == [(one["queued"], one["has_more"]) for one in (first, rest)]


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({}, "since"),
        ({"missed": True, "since": 1}, "missed"),
        ({"since": 1, "cursor": "nonsense"}, "cursor"),
        ({"since": -1}, "since"),
        ({"since": 1, "status": "lost"}, "status"),
        ({"everything": True}, "everything"),
    ],
)
async def test_a_retry_that_cannot_be_meant_is_refused(service: Service, said: Any, param: str) -> None:
    """What says nothing, two things at once or nonsense is refused by the name of the field."""
    async with Backend() as backend:
        who = listens(service, backend)
    answer = await post(service, f"/v1/subscribers/{who}/deliveries/retry", said, expected=400)

    assert param == answer["error"]["param"]


@pytest.mark.parametrize("type_", sorted(EVENT_TYPES))
async def test_a_sample_of_any_type_is_sent_at_once(embedded: Service, type_: str) -> None:
    """A test is a complete event of that type, signed like every other, and says in its signed body that it is one."""
    async with Backend(lambda _told: web.Response(text="thanks")) as backend:
        who = listens(embedded, backend)
        answer = await post(embedded, f"/v1/subscribers/{who}/test", {"type": type_})

    (told,) = backend.told
    said = believe(told.headers, told.body, secret=SECRET, now=embedded.clock())
    assert (True, type_, "acme", "sandbox") == (said["test"], said["type"], said["app"], said["environment"])
    assert (told.id, type_, True, 200, None, "thanks") == (
        answer["event"],
        answer["type"],
        answer["delivered"],
        answer["status_code"],
        answer["error"],
        answer["response"],
    )
    with embedded.store.read() as connection:
        assert [] == connection.execute(select(attempts)).all() == connection.execute(select(deliveries)).all()


async def test_a_test_that_fails_says_why(embedded: Service) -> None:
    """Whatever the other side does is an answer to the test, and changes nothing about the subscriber."""
    async with Backend(lambda _told: web.Response(status=410, text="away")) as backend:
        who = listens(embedded, backend, types=("refund.*",))
        answer = await post(embedded, f"/v1/subscribers/{who}/test", {})
    gone = await post(embedded, f"/v1/subscribers/{who}/test")

    assert (False, 410, "not_2xx", "away") == tuple(
        answer[name] for name in ("delivered", "status_code", "error", "response")
    )
    assert "refund.requested" == answer["type"]
    assert (False, None, "not_connected") == tuple(gone[name] for name in ("delivered", "status_code", "error"))
    with embedded.store.read() as connection:
        assert "enabled" == connection.execute(select(subscribers.c.state)).scalar_one()


async def test_a_test_of_no_type_names_the_nearest(embedded: Service) -> None:
    """A type that there is none of is refused with the one that was probably meant."""
    async with Backend() as backend:
        who = listens(embedded, backend)
        answer = await post(embedded, f"/v1/subscribers/{who}/test", {"type": "refund.succeded"}, expected=400)

    assert "type" == answer["error"]["param"]
    assert "refund.succeeded" in answer["error"]["message"]
    assert [] == backend.told
    assert "whsec" not in json.dumps(answer)
