"""Whoever listens or waits when their token ends: the token was good when they came, and is not any more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from config.settings import Settings
from tests.web import seed
from tests.web.listening import listening
from tests.web.service import Service, running, settings
from tests.web.test_tokens import asked, made
from worker.web.events import FEED
from worker.web.register import REGISTER

PATIENT, IMPATIENT = 60.0, 0.2


def chosen(heartbeat_seconds: float) -> Settings:
    """Configure how long nothing is said on a stream."""
    return settings(stream_heartbeat_seconds=heartbeat_seconds)


@pytest.fixture(name="service")
async def _service(url: str) -> AsyncIterator[Service]:
    async with running(url, chosen(PATIENT)) as service:
        yield service


def shown(token: Any) -> dict[str, str]:
    """Give the header that shows a token."""
    return {"Authorization": f"Bearer {token['token']}"}


async def revoked(service: Service, id_: str) -> None:
    """Have it revoked by somebody who asks this process."""
    async with service.http.delete(f"/v1/tokens/{id_}") as response:
        assert 200 == response.status


async def revoked_elsewhere(service: Service, id_: str) -> None:
    """Have it revoked in the store, and let the five seconds pass after which this process sees that."""
    with service.store.write() as connection:
        connection.execute(text("UPDATE tokens SET revoked_at = 1 WHERE id = :id"), {"id": id_})
    service.runner.app[REGISTER]._clock = lambda: 1e12


async def rotated(service: Service, id_: str) -> None:
    """Have it replaced, and let the time pass for which it was to go on."""
    async with service.http.post(f"/v1/tokens/{id_}/rotate", json={"keep_seconds": 60}) as response:
        assert 200 == response.status
    service.clock.now += 60


async def expired(service: Service, _: str) -> None:
    """Let the time pass for which it was made."""
    service.clock.now += 3600


ENDS = [
    (revoked, "token_revoked"),
    (revoked_elsewhere, "token_revoked"),
    (rotated, "token_expired"),
    (expired, "token_expired"),
]
End = Callable[[Service, str], Awaitable[None]]


@pytest.mark.parametrize(("end", "code"), ENDS)
async def test_no_event_is_told_to_a_token_that_ended(service: Service, end: End, code: str) -> None:
    """The first event after it ends the stream instead of being told, and who comes back hears why."""
    token = await made(service, expires_in_seconds=3600)
    with capture_logs() as lines:
        async with listening(service, headers=shown(token)) as ear:
            seed.insert(service.store, seed.event(1))
            assert [seed.event(1).id] == [one["data"]["id"] for one in await ear.hear(1)]
            await end(service, token["id"])
            seed.insert(service.store, seed.event(2))
            assert b"" == await ear.end()

    assert (401, code) == await asked(service, token["token"], path="/v1/events/stream")
    assert [code] == [line["reason"] for line in lines if line["event"] == "stream.ended"]


@pytest.mark.parametrize(("end", "code"), ENDS)
async def test_a_silent_stream_ends_with_its_token(url: str, end: End, code: str) -> None:
    """Where nothing happens it ends with the next heartbeat: no place is held for who may hear nothing."""
    async with running(url, chosen(IMPATIENT)) as service:
        token = await made(service, expires_in_seconds=3600)
        async with listening(service, headers=shown(token)) as ear:
            await ear.comment()
            await end(service, token["id"])
            assert b"data" not in await ear.end()
        assert (401, code) == await asked(service, token["token"])


@pytest.mark.parametrize(("end", "code"), ENDS)
async def test_who_waits_for_a_page_is_told_nothing_after_the_token(service: Service, end: End, code: str) -> None:
    """A long poll whose token ended meanwhile is answered as one that comes now: 401, and no event."""
    seed.insert(service.store, seed.event(1))
    cursor = (await service.get("/v1/events"))["next_cursor"]
    token = await made(service, expires_in_seconds=3600)
    waiting = asyncio.create_task(asked(service, token["token"], path=f"/v1/events?wait=30&after={cursor}"))
    await somebody_waits(service)

    await end(service, token["id"])
    seed.insert(service.store, seed.event(2))

    async with asyncio.timeout(10):
        assert (401, code) == await waiting


async def somebody_waits(service: Service) -> None:
    """Return once somebody waits for news of the feed."""
    async with asyncio.timeout(10):
        while not service.runner.app[FEED].watch._waiting:  # noqa: ASYNC110 - who waits is counted and not told
            await asyncio.sleep(0.01)


async def test_other_listeners_hear_on(url: str) -> None:
    """Another's end is nobody else's: a token of the store and one of the configuration go on."""
    async with running(url, chosen(IMPATIENT)) as service:
        gone, good = await made(service), await made(service)
        async with (
            listening(service, headers=shown(gone)) as first,
            listening(service, headers=shown(good)) as second,
            listening(service) as third,
        ):
            await revoked(service, gone["id"])
            await first.end()
            seed.insert(service.store, seed.event(1))
            heard = await asyncio.gather(second.hear(1), third.hear(1))

    assert [[seed.event(1).id]] * 2 == [[one["data"]["id"] for one in each] for each in heard]


async def test_while_nobody_can_say_a_stream_waits(url: str) -> None:
    """With the store away nothing is told and nobody is hung up on; what came meanwhile is told when it is back."""
    async with running(url, chosen(IMPATIENT)) as service:
        token = await made(service)
        async with listening(service, headers=shown(token)) as ear:
            await ear.comment()
            rename(service, tokens="t", alembic_version="v")
            service.runner.app[REGISTER]._clock = lambda: 1e12
            seed.insert(service.store, seed.event(1))
            for _ in range(3):
                await ear.comment()
            rename(service, t="tokens")
            assert [seed.event(1).id] == [one["data"]["id"] for one in await ear.hear(1)]
            rename(service, v="alembic_version")


def rename(service: Service, **names: str) -> None:
    """Put tables out of reach, as while a backup is brought back, or where they were."""
    with service.store.write() as connection:
        for old, new in names.items():
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
