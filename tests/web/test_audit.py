"""What operators do over the API is in the audit log: who, what, to which, from where, and how it ended."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.web import seed
from tests.web.seed import APP, NOW
from tests.web.service import TOKEN, Service
from worker.web.app import API

WANTED = {"app": APP, "url": "https://93.184.216.34/hooks"}


async def log(service: Service, **query: Any) -> list[Any]:
    """Read the log, oldest first."""
    return list(reversed((await service.get("/v1/audit", **query))["data"]))


async def do(service: Service, method: str, path: str, **more: Any) -> Any:
    """Do something, a second after what was done before, and give the answer with its status."""
    service.clock.now += 1
    async with service.http.request(method, path, **more) as response:
        return response.status, await response.json()


def test_every_route_that_changes_something_has_a_word_in_the_log():
    """Only the words of an app's backend about its purchases are not written down: they are in the ledger."""
    silent = {(route.method, route.path) for route in API if route.method != "GET" and not route.action}
    actions = [route.action for route in API if route.action]

    assert {("POST", "/v1/purchases")} == silent
    assert len(actions) == len(set(actions))
    assert [] == [route.path for route in API if route.method == "GET" and route.action]


async def test_a_deed_is_written_down_with_all_that_matters(service: Service):
    """Who, what, to which, when, from where, and how it ended."""
    _, made = await do(service, "POST", "/v1/subscribers", json=WANTED)
    (record,) = await log(service)
    id_ = record.pop("id")

    assert id_.startswith("aud_")
    assert record == {
        "object": "audit_record",
        "at": NOW + 1,
        "operator": "admin.tokens[0]",
        "token": None,
        "address": "127.0.0.1",
        "action": "subscriber.create",
        "target": made["id"],
        "outcome": "done",
        "reason": None,
        "detail": {"app": APP},
    }


async def test_the_life_of_a_subscriber_is_in_the_log(service: Service):
    """Each step has its row, by whoever's token it was, and none holds a secret or an address."""
    _, token = await do(service, "POST", "/v1/tokens", json={"name": "ada", "scopes": ["read", "write", "operate"]})
    ada = {"Authorization": f"Bearer {token['token']}"}
    _, made = await do(service, "POST", "/v1/subscribers", json=WANTED, headers=ada)
    at = f"/v1/subscribers/{made['id']}"
    _, rotated = await do(service, "POST", f"{at}/rotate", headers=ada)
    await do(service, "PATCH", at, json={"url": "https://93.184.216.34/other", "state": "paused"}, headers=ada)
    await do(service, "POST", f"{at}/deliveries/retry", json={"missed": True}, headers=ada)
    await do(service, "DELETE", at, headers=ada)
    records = (await log(service))[1:]

    assert [
        ("subscriber.create", {"app": APP}),
        ("subscriber.rotate", {"expires_in_seconds": 86400}),
        ("subscriber.change", {"fields": ["state", "url"], "state": "paused"}),
        ("subscriber.retry", {"missed": True, "status": "failed"}),
        ("subscriber.delete", {"app": APP, "deliveries": 0}),
    ] == [(one["action"], one["detail"]) for one in records]
    assert {("ada", token["id"], made["id"], "done")} == {
        (one["operator"], one["token"], one["target"], one["outcome"]) for one in records
    }
    for secret in (made["secret"], rotated["secret"], token["token"], TOKEN, "93.184"):
        assert secret not in str(records)


async def test_a_refused_deed_is_written_down_too(service: Service):
    """What somebody tried and may not, or cannot, is in the log with its reason; what was not understood is no deed."""
    _, token = await do(service, "POST", "/v1/tokens", json={"name": "backend", "scopes": ["read"]})
    backend = {"Authorization": f"Bearer {token['token']}"}
    await do(service, "POST", "/v1/notifications/ntf_x/replay", headers=backend)
    await do(service, "POST", "/v1/notifications/ntf_x/replay")
    await do(service, "POST", "/v1/subscribers", json=WANTED)
    await do(service, "POST", "/v1/subscribers", json=WANTED)
    await do(service, "POST", "/v1/subscribers", json={"app": APP})
    await do(service, "POST", "/v1/notifications/ntf_%00/replay", headers=backend)
    refused = await log(service, outcome="refused")

    assert [
        ("backend", "notification.replay", "ntf_x", "scope_missing"),
        ("admin.tokens[0]", "notification.replay", "ntf_x", "notification_not_found"),
        ("admin.tokens[0]", "subscriber.create", None, "subscriber_exists"),
        ("backend", "notification.replay", None, "scope_missing"),
    ] == [(one["operator"], one["action"], one["target"], one["reason"]) for one in refused]


async def test_a_deed_and_its_row_come_together_or_not_at_all(service: Service):
    """Where the row cannot be written nothing is done: it is one transaction."""
    seed.insert_notification(service.store, 1)
    with service.store.write() as connection:
        (id_,) = connection.execute(text("UPDATE notifications SET status = 'processed' RETURNING id")).scalars()
        connection.execute(text("ALTER TABLE audit RENAME TO audit_away"))
    answers = [
        await do(service, "POST", f"/v1/notifications/{id_}/replay"),
        await do(service, "POST", "/v1/subscribers", json=WANTED),
        await do(service, "POST", "/v1/tokens", json={"name": "ada", "scopes": ["read"]}),
    ]
    with service.store.write() as connection:
        connection.execute(text("ALTER TABLE audit_away RENAME TO audit"))
        counts = [connection.execute(text(f"SELECT count(*) FROM {t}")).scalar() for t in ("subscribers", "tokens")]  # noqa: S608 - two names of our own
        status = connection.execute(text("SELECT status FROM notifications")).scalar_one()

    assert [500, 500, 500] == [status for status, _ in answers]
    assert ([0, 0], "processed") == (counts, status)


async def test_a_repetition_is_no_second_deed(service: Service):
    """What an Idempotency-Key answers from memory was done once, and is in the log once."""
    for _ in range(2):
        headers = {"Idempotency-Key": "once"}
        assert 201 == (await do(service, "POST", "/v1/subscribers", json=WANTED, headers=headers))[0]

    assert 1 == len(await log(service))


async def test_the_log_is_read_in_pages_and_by_what_is_asked(service: Service):
    """It is a list like the others, newest first."""
    for number in range(3):
        service.clock.now += 1
        await do(service, "POST", f"/v1/notifications/ntf_{number}/replay")
    first = await service.get("/v1/audit", limit=2)
    rest = await service.get("/v1/audit", limit=2, cursor=first["next_cursor"])

    assert ["ntf_2", "ntf_1", "ntf_0"] == [one["target"] for one in (*first["data"], *rest["data"])]
    assert not rest["has_more"]
    assert ["ntf_1"] == [one["target"] for one in await log(service, target="ntf_1", action="notification.replay")]
    assert [] == await log(service, operator="nobody")


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_nobody_writes_to_the_log_over_the_api(service: Service, method: str):
    """It is read, and that is all."""
    assert 405 == (await do(service, method, "/v1/audit"))[0]
