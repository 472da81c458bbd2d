import json
from typing import Any

import pytest

from tests.web import seed
from tests.web.service import TOPIC, Service
from worker.store.retention import prune_events

Changes = dict[str, Any]

CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "b4e1a2f0-0000-4000-8000-000000000001",
    "Token": "2336412f37fb687f5d51e6e2425f004b",
    "TopicArn": TOPIC,
    "Message": "You have chosen to subscribe to the topic.",
    "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription"
    f"&TopicArn={TOPIC}&Token=2336412f37fb687f5d51e6e2425f004b",
    "Timestamp": "2026-03-01T00:00:00.000Z",
    "SignatureVersion": "1",
    "Signature": "AAAA",
    "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
}

NO_CONFIRMATION = json.dumps(CONFIRMATION | {"SubscribeURL": "https://elsewhere.example/"}).encode()


async def test_a_notification_shows_what_became_of_it(service: Service) -> None:
    """A notification is shown with its events and its stations, and without its body."""
    seed.insert_notification(service.store, 1)
    seed.insert(service.store, seed.event(1), seed.event(2))

    shown = await service.get(f"/v1/notifications/{seed.notification_id(1)}")

    assert {
        "id": seed.notification_id(1),
        "object": "notification",
        "app": seed.APP,
        "platform": "apple",
        "environment": "production",
        "notification_id": "00000000-0000-4000-8000-000000000001",
        "type": "REFUND",
        "subtype": "",
        "occurred_at": seed.NOW - seed.DAY,
        "received_at": seed.NOW - seed.DAY,
        "status": "processed",
        "reason": None,
        "detail": None,
        "attempts": 1,
        "events": [seed.event(1).id],
        "stations": {"stored": 3.5},
        "action": None,
    } == shown


async def test_events_that_are_forgotten_are_not_listed(service: Service) -> None:
    """A notification stays as it ended; of what it had us tell, the events are listed that can still be read."""
    for number in (1, 2, 3):
        seed.insert_notification(service.store, number)
        seed.insert(service.store, seed.event(number))

    with service.store.write() as connection:
        assert 2 == prune_events(connection, before_ms=2 * seed.NOW * 1000, limit=10).events
    listed = (await service.get("/v1/notifications"))["data"]
    shown = [await service.get(f"/v1/notifications/{seed.notification_id(number)}") for number in (3, 2, 1)]
    feed = (await service.get("/v1/events"))["data"]

    assert [("processed", [seed.event(3).id]), *[("processed", [])] * 2] == [
        (one["status"], one["events"]) for one in shown
    ]
    assert shown == listed
    assert [seed.event(3).id] == [one["id"] for one in feed]


async def test_notifications_are_listed_newest_first_in_pages(service: Service) -> None:
    """Following the cursor shows every notification once, newest first, by the millisecond."""
    for number in range(5):
        seed.insert_notification(service.store, number)

    first = await service.get("/v1/notifications", limit=3)
    rest = await service.get("/v1/notifications", limit=3, cursor=first["next_cursor"])

    seen = [shown["id"] for shown in (*first["data"], *rest["data"])]
    assert [seed.notification_id(number) for number in (4, 3, 2, 1, 0)] == seen


async def test_filters_keep_what_they_name(service: Service) -> None:
    """Each filter keeps the notifications that have its value and no others."""
    other: Changes = {"app": "other", "platform": "google", "environment": None, "status": "dead", "type": "VOIDED"}
    seed.insert_notification(service.store, 1)
    seed.insert_notification(service.store, 2, **other)

    for name in ("app", "platform", "status", "type"):
        page = await service.get("/v1/notifications", **{name: other[name]})
        assert [seed.notification_id(2)] == [shown["id"] for shown in page["data"]], name
    assert page["data"][0]["environment"] is None


async def test_an_operator_is_shown_how_to_confirm(service: Service) -> None:
    """A confirmation that waits for an operator shows its topic, its token and the address to visit."""
    body = json.dumps(CONFIRMATION).encode()
    waiting: Changes = {"platform": "amazon", "body": body, "status": "quarantined", "reason": "confirm_subscription"}
    id_ = seed.insert_notification(service.store, **waiting)

    action = {
        "type": "confirm_subscription",
        "topic": TOPIC,
        "token": CONFIRMATION["Token"],
        "url": CONFIRMATION["SubscribeURL"],
    }
    assert action == (await service.get(f"/v1/notifications/{id_}"))["action"]
    assert action == (await service.get("/v1/notifications"))["data"][0]["action"]


@pytest.mark.parametrize(
    "changes", [{"body": b"{}"}, {"body": NO_CONFIRMATION}, {"app": "gone"}, {"platform": "apple"}]
)
async def test_what_cannot_be_read_any_more_asks_for_nothing(service: Service, changes: Changes) -> None:
    """A confirmation of an app that is gone, or that nobody can read, is shown without an action."""
    waiting: Changes = {"platform": "amazon", "status": "quarantined", "reason": "confirm_subscription", "body": b"{"}
    id_ = seed.insert_notification(service.store, **(waiting | changes))

    assert (await service.get(f"/v1/notifications/{id_}"))["action"] is None


@pytest.mark.parametrize("status", ["processed", "ignored", "quarantined", "dead", "accepted"])
async def test_a_replay_makes_it_accepted_again(service: Service, status: str) -> None:
    """Whatever became of a notification, a replay makes it accepted, forgets its reason and queues it."""
    id_ = seed.insert_notification(service.store, status=status, reason="unknown_type", attempts=8)

    async with service.http.post(f"/v1/notifications/{id_}/replay") as response:
        shown = await response.json()

    assert (200, "accepted", None, 0) == (response.status, shown["status"], shown["reason"], shown["attempts"])
    assert [id_] == service.queue.put


async def test_a_replay_needs_no_queue(service: Service) -> None:
    """With the broker away a replay is recorded all the same: the sweeper queues it later."""
    id_ = seed.insert_notification(service.store, status="dead")
    service.queue.away = True

    async with service.http.post(f"/v1/notifications/{id_}/replay") as response:
        assert (200, "accepted") == (response.status, (await response.json())["status"])


async def test_a_replay_of_nothing_is_not_found(service: Service) -> None:
    """Neither a look at nor a replay of a notification that does not exist succeeds."""
    error = await service.refused("/v1/notifications/ntf_nothing", 404)
    async with service.http.post("/v1/notifications/ntf_nothing/replay") as response:
        assert (404, error) == (response.status, (await response.json())["error"])
