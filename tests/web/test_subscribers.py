"""`/v1/subscribers`: listed, changed, paused, enabled and deleted while everything runs.

Real: the service on a loopback port, its store, keys and seals. Double: the clock, which stands until it is set.
"""

from sqlalchemy import select, update

from tests.store.outbox_story import announce, event
from tests.web.seed import APP, NOW
from tests.web.service import Service
from tests.web.subscribing import OWN, URL, ask, make
from worker.store import outbox
from worker.store.feed import newest_position
from worker.store.tables import deliveries, subscribers


async def test_the_list_is_filtered_and_paged(service: Service) -> None:
    """Filters keep what they name, and pages neither repeat nor skip."""
    made = []
    for number in range(5):
        service.clock.now = NOW + number // 2
        made.append((await make(service, url=f"{URL}/{number}"))["id"])
    await ask(service, "PATCH", f"/{made[0]}", 200, {"state": "paused"})

    assert [made[0]] == [one["id"] for one in (await service.get("/v1/subscribers", state="paused"))["data"]]
    assert [] == (await service.get("/v1/subscribers", app="other"))["data"]
    seen, query = [], {"limit": 2}
    while True:
        page = await service.get("/v1/subscribers", **query)
        seen += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]
    assert sorted(made) == sorted(seen)
    assert made[4] == seen[0]


async def test_what_is_left_out_of_a_change_stays(service: Service) -> None:
    """A change says what it changes; null is said, too."""
    made = await make(service, environment="sandbox", rate_per_second=5)
    changed = await ask(service, "PATCH", f"/{made['id']}", 200, {"rate_per_second": None, "types": ["refund.*"]})

    del made["secret"]
    assert made | {"rate_per_second": None, "types": ["refund.*"]} == changed
    assert changed == await ask(service, "PATCH", f"/{made['id']}", 200, {})
    assert "secret" == (await ask(service, "PATCH", f"/{made['id']}", 400, {"secret": OWN}))["param"]


async def test_a_pause_queues_and_an_end_does_not(service: Service) -> None:
    """Paused, what happens waits and none is attempted; enabled, it is due; disabled, nothing is queued."""
    id_ = (await make(service))["id"]
    await ask(service, "PATCH", f"/{id_}", 200, {"state": "paused"})
    announce(service.store, [event(1, app=APP)], now=NOW)
    with service.store.read() as connection:
        assert [] == outbox.due(connection, NOW * 1000, 10)
        told = newest_position(connection)
    assert 1 == (await service.get(f"/v1/subscribers/{id_}"))["backlog"]

    service.clock.now += 60
    disabled = await ask(service, "PATCH", f"/{id_}", 200, {"state": "disabled"})
    announce(service.store, [event(2, app=APP)], now=NOW)
    assert ("disabled", "by_operator", NOW + 60, 1) == tuple(
        disabled[name] for name in ("state", "reason", "changed_at", "backlog")
    )
    with service.store.read() as connection:
        assert told == connection.execute(select(subscribers.c.missed_after)).scalar_one()

    enabled = await ask(service, "PATCH", f"/{id_}", 200, {"state": "enabled"})
    assert ("enabled", None, 1) == (enabled["state"], enabled["reason"], enabled["backlog"])
    with service.store.read() as connection:
        assert 1 == len(outbox.due(connection, NOW * 1000, 10))


async def test_saying_the_same_state_again_changes_nothing(service: Service) -> None:
    """A state that is said again keeps the moment of its change."""
    id_ = (await make(service))["id"]
    first = await ask(service, "PATCH", f"/{id_}", 200, {"state": "paused"})
    service.clock.now += 60

    assert first == await ask(service, "PATCH", f"/{id_}", 200, {"state": "paused"})


async def test_another_chance_begins_with_a_clean_slate(service: Service) -> None:
    """Enabled by an operator, nothing of its failures counts any more; disabled, it is the operator's word."""
    id_ = (await make(service))["id"]
    failed = {"state": "disabled", "reason": "long_failure", "failing_since_ms": 1, "not_before_ms": (NOW + 60) * 1000}
    with service.store.write() as connection:
        connection.execute(update(subscribers).values(failed))
    shown = await service.get(f"/v1/subscribers/{id_}")
    assert ("long_failure", 0, NOW + 60) == (shown["reason"], shown["failing_since"], shown["not_before"])

    assert "by_operator" == (await ask(service, "PATCH", f"/{id_}", 200, {"state": "disabled"}))["reason"]
    enabled = await ask(service, "PATCH", f"/{id_}", 200, {"state": "enabled"})
    assert (None, None, None) == (enabled["reason"], enabled["failing_since"], enabled["not_before"])


async def test_deleting_drops_what_is_on_its_way(service: Service) -> None:
    """A deleted subscriber is gone with its pending deliveries; what was delivered stays on record."""
    id_ = (await make(service))["id"]
    announce(service.store, [event(1, app=APP), event(2, app=APP)], now=NOW)
    with service.store.write() as connection:
        done = select(deliveries.c.id).limit(1).scalar_subquery()
        connection.execute(update(deliveries).where(deliveries.c.id == done).values(status="delivered"))

    assert {"id": id_, "object": "subscriber", "deleted": True} == await ask(service, "DELETE", f"/{id_}", 200)

    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")):
        body: dict[str, object] | None = {} if method == "PATCH" else None
        assert "subscriber_not_found" == (await ask(service, method, f"/{id_}{path}", 404, body))["code"]
    with service.store.read() as connection:
        assert ["delivered"] == list(connection.execute(select(deliveries.c.status)).scalars())
