import asyncio
from typing import Any

import pytest
from sqlalchemy import event as watch

from tests.web import seed
from tests.web.service import OTHER_TOKEN, Service
from tests.web.test_purchases import TOLD
from worker.store import answers
from worker.store.tables import idempotency, purchases

KEPT_MS = 24 * 3_600_000
KEY = {"Idempotency-Key": "order-4711"}


async def _tell(service: Service, told: dict[str, Any] = TOLD, **headers: str) -> tuple[int, str | None, Any]:
    async with service.http.post("/v1/purchases", json=told, headers=KEY | headers) as response:
        return response.status, response.headers.get("Idempotent-Replayed"), await response.json()


async def test_a_repeated_key_gets_the_first_answer(service: Service) -> None:
    """The same request with the same key is answered as the first time, and says so."""
    first = await _tell(service)
    again = await _tell(service)

    assert (201, None) == first[:2]
    assert (201, "true", first[2]) == again


async def test_a_key_is_for_one_request(service: Service) -> None:
    """The same key with another body, another address or another token is a 409."""
    await _tell(service)

    for status, _, body in (
        await _tell(service, TOLD | {"amount": 5999}),
        await _tell(service, Authorization=f"Bearer {OTHER_TOKEN}"),
    ):
        assert (409, "idempotency_error", "idempotency_key_reused") == (
            status,
            body["error"]["type"],
            body["error"]["code"],
        )


async def test_a_refusal_is_kept_like_any_answer(service: Service) -> None:
    """A request that was wrong stays wrong under its key."""
    first = await _tell(service, TOLD | {"app": "nobody's"})
    again = await _tell(service, TOLD | {"app": "nobody's"})

    assert 400 == first[0]
    assert (400, "true", first[2]) == again


async def test_two_at_once_are_done_once(service: Service) -> None:
    """Of two equal requests at the same moment one does the work, and the other is told that or gets its answer."""
    answered = await asyncio.gather(*(_tell(service) for _ in range(5)))

    assert 1 == sum(status == 201 and replayed is None for status, replayed, _ in answered)
    assert {201, 409} >= {status for status, _, _ in answered}


async def test_a_claim_under_way_is_a_conflict_until_its_holder_is_dead(service: Service) -> None:
    """While the first request is under way its key is taken; a claim that nobody answered for is taken over."""
    await _tell(service)
    with service.store.write() as connection:
        connection.execute(idempotency.update().values(status=None, body=None))

    assert (409, "idempotency_key_in_use") == ((held := await _tell(service))[0], held[2]["error"]["code"])
    service.clock.now += answers.ABANDONED_MS / 1000 + 1
    assert (200, None) == (await _tell(service))[:2]


@pytest.mark.parametrize("ends", ["kept", "released"])
async def test_whoever_was_taken_for_dead_leaves_the_key_to_the_next(service: Service, ends: str) -> None:
    """A first request that ends after all, long after its key was taken over, answers for nobody but itself."""
    late, after = service.clock.now * 1000, service.clock.now * 1000 + answers.ABANDONED_MS + 1
    with service.store.write() as connection:
        first = answers.claim(connection, "key", "first", now_ms=int(late), kept_ms=KEPT_MS)
        second = answers.claim(connection, "key", "second", now_ms=int(after), kept_ms=KEPT_MS)
        if ends == "kept":
            answers.keep(connection, "key", first, 201, "{}")
        else:
            answers.release(connection, "key", first)
        held = answers.claim(connection, "key", "second", now_ms=int(after), kept_ms=KEPT_MS)
        answers.keep(connection, "key", second, 200, "[]")
        answered = answers.claim(connection, "key", "second", now_ms=int(after), kept_ms=KEPT_MS)

    assert (True, True) == (first.mine, second.mine)
    assert (False, "second", None) == (held.mine, held.fingerprint, held.status)
    assert ("second", 200, "[]") == (answered.fingerprint, answered.status, answered.body)


async def test_our_own_failure_is_not_kept(service: Service) -> None:
    """A 5xx is forgotten, so that the same key may try again."""
    with service.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE entries RENAME TO entries_away")
        connection.exec_driver_sql("ALTER TABLE alembic_version RENAME TO another")  # as while a restore is under way
    assert 503 == (await _tell(service))[0]

    with service.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE entries_away RENAME TO entries")
        connection.exec_driver_sql("ALTER TABLE another RENAME TO alembic_version")
    assert (201, None) == (await _tell(service))[:2]


@pytest.mark.parametrize(("told", "status", "code"), [({}, 503, "outcome_unknown"), ({"app": "nobody's"}, 400, None)])
async def test_what_was_done_is_never_called_undone(
    service: Service, told: dict[str, Any], status: int, code: str | None
) -> None:
    """Where the store goes after the work, before its answer is kept, nobody is told that nothing was changed."""

    def away(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement.replace("UPDATE idempotency", "UPDATE away"), parameters

    with service.store.write() as connection:  # as while a restore is under way
        connection.exec_driver_sql("ALTER TABLE alembic_version RENAME TO another")
    watch.listen(service.store.engine, "before_cursor_execute", away, retval=True)
    answered, _, body = await _tell(service, TOLD | told)
    with service.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE another RENAME TO alembic_version")

    assert (status, code or body["error"]["code"]) == (answered, body["error"]["code"])
    assert "Nothing was changed" not in body["error"]["message"]
    with service.store.read() as connection:
        assert (0 if told else 1) == len(connection.execute(purchases.select()).all())


async def test_answers_are_forgotten_after_a_day(service: Service) -> None:
    """A key is remembered for a day, and what is older can be swept away."""
    await _tell(service)
    service.clock.now += KEPT_MS / 1000 + 1

    assert (200, None) == (await _tell(service))[:2]
    with service.store.write() as connection:
        assert 0 == answers.forget_old(connection, before_ms=int(service.clock.now * 1000) - KEPT_MS)
        assert 1 == answers.forget_old(connection, before_ms=int(service.clock.now * 1000) + 1)


@pytest.mark.parametrize("key", ["", "with a space", "x" * 256])
async def test_a_key_is_short_visible_text(service: Service, key: str) -> None:
    """A key that nobody could write down is a 400 that names the header."""
    status, _, body = await _tell(service, TOLD, **{"Idempotency-Key": key})

    assert (400, "Idempotency-Key") == (status, body["error"]["param"])


async def test_every_post_takes_a_key(service: Service) -> None:
    """A replay of a notification is idempotent by key, too."""
    id_ = seed.insert_notification(service.store)

    for _ in range(2):
        async with service.http.post(f"/v1/notifications/{id_}/replay", headers=KEY) as response:
            assert 200 == response.status
    assert [id_] == service.queue.put
