import asyncio
import threading

import pytest

from tests.store.later import at_9999
from tests.web import seed
from tests.web.service import SECRET, Service
from tests.web.test_ingest import GOOD, STRIPE, signed
from worker.simulator.stripe import sign
from worker.web.health import INBOX_AGE_SECONDS_MAX
from worker.web.keys import POOL, POOL_THREADS
from worker.web.scrape import READ_SECONDS_MAX


async def test_a_process_that_answers_lives(service: Service) -> None:
    """Being alive depends on nothing: neither on the store nor on the broker."""
    service.queue.away = True
    with service.store.write() as connection:
        connection.exec_driver_sql("DROP TABLE notifications")

    assert {"status": "ok"} == await service.get("/healthz")


async def test_ready_means_that_everything_is_there(service: Service) -> None:
    """Readiness names each thing it looked at."""
    ready = await service.get("/readyz")

    assert ("ready", {"store", "migrations", "broker", "inbox"}) == (ready["status"], set(ready["checks"]))
    assert all(check["ok"] for check in ready["checks"].values())


async def _missing(service: Service) -> dict[str, str]:
    async with service.http.get("/readyz") as response:
        body = await response.json()
    assert (503, "not_ready") == (response.status, body["status"])
    return {name: check["detail"] for name, check in body["checks"].items() if not check["ok"]}


async def test_a_broker_that_is_away_is_named(service: Service) -> None:
    """Without its broker a process is not ready, and says that it is the broker."""
    service.queue.away = True

    assert {"broker": "QueueUnavailable"} == await _missing(service)


async def test_a_pending_migration_is_named(service: Service) -> None:
    """With a pending migration a process is not ready, and says what to do."""
    with service.store.write() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")

    assert {"migrations": "pending: run clawback migrate"} == await _missing(service)


@pytest.mark.parametrize(("fits_from", "status"), [("0000", "ready"), ("9999", "not_ready")])
async def test_a_newer_database_is_served_while_it_fits(service: Service, fits_from: str, status: str) -> None:
    """Hosts are updated after the database: until it is its turn a process stays ready, if the tables still fit it."""
    at_9999(service.store, fits_from)

    async with service.http.get("/readyz") as response:
        body = await response.json()
    assert (status, status == "ready") == (body["status"], body["checks"]["migrations"]["ok"])
    assert "update Clawback on this host" in body["checks"]["migrations"]["detail"]


async def test_an_inbox_that_nobody_empties_is_named(service: Service) -> None:
    """A notification that waits for too long makes a process not ready; the bound itself still passes."""
    received_at_ms = (seed.NOW - INBOX_AGE_SECONDS_MAX) * 1000
    seed.insert_notification(service.store, status="accepted", received_at_ms=received_at_ms)

    assert "ready" == (await service.get("/readyz"))["status"]
    service.clock.now += 1
    assert {"inbox": "oldest waits for 301 s"} == await _missing(service)


async def test_metrics_tell_of_store_and_broker(service: Service) -> None:
    """A scrape shows what stations counted and what is true of store and broker at that moment."""
    for number, status in enumerate(["accepted", "accepted", "quarantined", "dead", "processed"]):
        seed.insert_notification(
            service.store, number, status=status, platform="stripe", received_at_ms=(seed.NOW - 60 + number) * 1000
        )
    async with service.http.post(STRIPE, data=GOOD, headers=signed(GOOD)) as response:
        assert 200 == response.status

    samples = await _scrape(service)

    assert {
        'clawback_notifications_total{app="acme",outcome="accepted",platform="stripe"}': 1,
        "clawback_inbox_pending": 3,
        "clawback_inbox_oldest_seconds": 60,
        "clawback_quarantined": 1,
        "clawback_dead": 1,
        'clawback_queue_messages{queue="notifications",state="ready"}': 1,
        'clawback_queue_oldest_seconds{queue="notifications"}': 1.5,
        'clawback_platform_age_seconds{app="acme",platform="stripe"}': 0,
        'clawback_verify_seconds_count{platform="stripe"}': 1,
        'clawback_accept_seconds_count{platform="stripe"}': 1,
    }.items() <= samples.items()


async def test_a_scrape_survives_what_is_away(service: Service) -> None:
    """With store and broker away the counts are still there, and the gauges are absent instead of zero."""
    service.queue.away = True
    with service.store.write() as connection:
        for table in ("notifications", "alembic_version"):  # as before a restore
            connection.exec_driver_sql(f"DROP TABLE {table}")
    await service.http.post(STRIPE, data=b"{}", headers={"Stripe-Signature": sign(b"", secret=SECRET, now=seed.NOW)})

    samples = await _scrape(service)

    assert 1 == samples['clawback_notifications_total{app="acme",outcome="unauthentic",platform="stripe"}']
    assert not [name for name in samples if name.startswith(("clawback_inbox", "clawback_queue"))]


async def test_a_scrape_tells_what_is_away(service: Service) -> None:
    """Whether store and broker could be asked is a sample of its own, which is there when nothing else is."""
    assert {"store": 1, "broker": 1} == _reachable(await _scrape(service))
    service.queue.away = True

    assert {"store": 1, "broker": 0} == _reachable(await _scrape(service))


def _reachable(samples: dict[str, float]) -> dict[str, float]:
    return {part: samples[f'clawback_reachable{{part="{part}"}}'] for part in ("store", "broker")}


async def test_a_scrape_waits_for_nobody_for_long(service: Service) -> None:
    """While the broker hangs, scrapes answer with all the rest within their time, and keep one thread and not all."""
    service.queue.hangs.clear()
    try:
        both = await asyncio.gather(_scrape(service), _scrape(service))
        asked = service.queue.asked
        assert [{"store": 1, "broker": 0}] * 2 == [_reachable(samples) for samples in both]
        assert [0, 0] == [samples["clawback_inbox_pending"] for samples in both]
    finally:
        service.queue.hangs.set()

    assert 1 == asked
    assert {"store": 1, "broker": 1} == _reachable(await _scrape(service))


async def test_counts_are_told_while_the_api_is_stuck(service: Service) -> None:
    """While every thread of the API waits for a store that hangs, a scrape still tells in time what was counted."""
    stuck = threading.Event()
    for _ in range(POOL_THREADS):
        service.runner.app[POOL].submit(stuck.wait)
    try:
        async with asyncio.timeout(2 * READ_SECONDS_MAX):
            assert {"store": 0, "broker": 0} == _reachable(await _scrape(service))
    finally:
        stuck.set()


async def test_subscribers_are_told_apart(service: Service) -> None:
    """Each subscriber has its backlog, also an empty one, and says for how long it fails or why it is told no more."""
    columns = 'id, app, url, secrets, types, "order", allow_private, timeout_seconds, state, reason, origin, created_at'
    with service.store.write() as connection:
        for id_, state, reason, since in (
            ("sub_well", "enabled", "NULL", "NULL"),
            ("sub_fails", "enabled", "NULL", str((seed.NOW - 90) * 1000)),
            ("sub_gone", "disabled", "'gone'", "NULL"),
        ):
            values = f"'{id_}', 'acme', '{id_}', '[]', '[]', 'none', 0, 1, '{state}', {reason}, 'api', 0, {since}"
            connection.exec_driver_sql(f"INSERT INTO subscribers ({columns}, failing_since_ms) VALUES ({values})")  # noqa: S608 - a test's own words

    samples = await _scrape(service)

    found = {name: value for name, value in samples.items() if name.startswith("clawback_subscriber_")}
    assert {
        'clawback_subscriber_backlog{subscriber="sub_fails"}': 0,
        'clawback_subscriber_backlog{subscriber="sub_gone"}': 0,
        'clawback_subscriber_backlog{subscriber="sub_well"}': 0,
        'clawback_subscriber_failing_seconds{subscriber="sub_fails"}': 90,
        'clawback_subscriber_failing_seconds{subscriber="sub_well"}': 0,
        'clawback_subscriber_disabled{reason="gone",subscriber="sub_gone"}': 1,
    } == found


async def test_a_stranger_cannot_grow_the_metrics(service: Service) -> None:
    """However many names strangers guess, the number of time series stays the same."""
    for number in range(20):
        await service.http.post(f"/webhooks/platform{number}/app{number}", data=b"x")

    assert {("unknown", "unknown", "unknown_app"): 20} == service.counted()


async def _scrape(service: Service) -> dict[str, float]:
    async with service.http.get("/metrics") as response:
        assert "text/plain" == response.content_type
        lines = (await response.text()).splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
