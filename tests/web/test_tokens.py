"""Tokens that are made while the service runs: hashed, scoped, replaced without anybody noticing."""

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import event as watch
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from config.settings import Admin
from tests.web.seed import NOW
from tests.web.service import Service, running, settings
from worker.deeds import of_the_command_line
from worker.tokens import create, digest
from worker.web.app import API
from worker.web.register import REGISTER

WANTED = {"name": "backend", "scopes": ["read", "write"]}


async def made(service: Service, /, **changes: Any) -> Any:
    """Have a token made."""
    async with service.http.post("/v1/tokens", json={**WANTED, **changes}) as response:
        assert 201 == response.status, await response.text()
        return await response.json()


async def asked(service: Service, token: str, method: str = "GET", path: str = "/v1/refunds", **more: Any) -> Any:
    """Ask with a token; give the status and the code of the error."""
    headers = {"Authorization": f"Bearer {token}"}
    async with service.http.request(method, path, headers=headers, **more) as response:
        answer = await response.json()
        return response.status, answer.get("error", {}).get("code")


async def test_a_token_opens_at_once_and_is_shown_this_once(service: Service):
    """What it is, is in the answer, and nowhere else: the database has its hash, lists have neither."""
    shown = await made(service)
    token = shown.pop("token")

    assert re.fullmatch(r"cb_[0-9a-f]{64}", token)
    assert (200, None) == await asked(service, token)
    assert [shown] == (await service.get("/v1/tokens"))["data"]
    with service.store.read() as connection:
        kept = connection.execute(text("SELECT * FROM tokens")).mappings().one()
        logged = connection.execute(text("SELECT * FROM audit")).all()
    assert (digest(token), "read write") == (kept["hash"], kept["scopes"])
    assert token not in f"{kept} {logged}"
    assert kept["hash"] not in str(logged)


@pytest.mark.parametrize("scope", ["read", "write", "operate"])
async def test_a_token_opens_what_its_scopes_say_and_no_more(service: Service, scope: str):
    """On every route of /v1, a token with another scope is refused with the name of the one it lacks."""
    token = (await made(service, scopes=[scope]))["token"]
    for route in API:
        if route.path == "/v1/events/stream" and route.needs == scope:
            continue
        path = route.path.format(id="x", user_id="ada", delivery="y")
        status, code = await asked(service, token, route.method, path)
        if route.needs == scope:
            assert status not in (401, 403), path
        else:
            assert (403, "scope_missing") == (status, code), path


async def test_the_answer_names_the_scope_that_is_missing(service: Service):
    """Whoever reads it knows what to ask the operator for, machines included (RFC 6750, 3.1)."""
    token = (await made(service, scopes=["write"]))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    async with service.http.get("/v1/refunds", headers=headers) as response:
        error = (await response.json())["error"]

    assert ("permission_error", "This asks for a token with the scope read; yours has write.") == (
        error["type"],
        error["message"],
    )
    assert 'error="insufficient_scope", scope="read"' in response.headers["WWW-Authenticate"]


def test_every_route_says_which_scope_it_needs():
    """A route that forgot is found here, and until then it needs the most."""
    assert [] == [route.path for route in API if route.scope is None]
    assert {("GET", "read"), ("GET", "operate")} == {(r.method, r.scope) for r in API if r.method == "GET"}
    assert {"/v1/audit", "/v1/tokens"} == {r.path for r in API if r.method == "GET" and r.scope == "operate"}
    assert [] == [route.path for route in API if route.method != "GET" and route.scope == "read"]


async def test_rotation_locks_nobody_out(service: Service):
    """Old and new open until the old one ends, and the new one is what the old one was."""
    old = await made(service)
    async with service.http.post(f"/v1/tokens/{old['id']}/rotate", json={"keep_seconds": 60}) as response:
        new = await response.json()
    both = [await asked(service, one["token"]) for one in (old, new)]
    service.clock.now += 60
    after = [await asked(service, one["token"]) for one in (old, new)]

    assert ("backend", ["read", "write"], NOW) == (new["name"], new["scopes"], new["created_at"])
    assert [(200, None), (200, None)] == both
    assert [(401, "token_expired"), (200, None)] == after


async def test_a_token_ends_when_it_was_said_to(service: Service):
    """One that was made for a time opens until then, and a replacement does not make it live longer."""
    token = await made(service, expires_in_seconds=30)
    async with service.http.post(f"/v1/tokens/{token['id']}/rotate") as response:
        assert 200 == response.status
    ends = {one["id"]: one["expires_at"] for one in (await service.get("/v1/tokens"))["data"]}

    assert NOW + 30 == ends[token["id"]]
    service.clock.now += 30
    assert (401, "token_expired") == await asked(service, token["token"])
    async with service.http.post(f"/v1/tokens/{token['id']}/rotate") as response:
        assert (409, "token_ended") == (response.status, (await response.json())["error"]["code"])


async def test_a_revoked_token_opens_nothing_and_stays_in_the_list(service: Service):
    """Its holder hears why; doing it again changes nothing; what was never there is a 404."""
    token = await made(service)
    for _ in range(2):
        async with service.http.delete(f"/v1/tokens/{token['id']}") as response:
            ended = await response.json()
        assert (200, "revoked", NOW) == (response.status, ended["state"], ended["revoked_at"])
        service.clock.now += 5

    assert (401, "token_revoked") == await asked(service, token["token"])
    assert ["revoked"] == [one["state"] for one in (await service.get("/v1/tokens"))["data"]]
    for method, path in (("DELETE", "/v1/tokens/tok_x"), ("POST", "/v1/tokens/tok_x/rotate")):
        async with service.http.request(method, path) as response:
            assert (404, "token_not_found") == (response.status, (await response.json())["error"]["code"])


async def test_what_another_process_does_to_tokens_is_seen_here(service: Service):
    """A token that the command line made is good here a moment later, and one that it revoked is not for long."""
    runtime = service.runtime
    deed = of_the_command_line("token.create", runtime.clock)
    first = create(runtime, deed, "ops", ("read",), expires_in_seconds=None)
    assert (200, None) == await asked(service, first.token)

    second = create(runtime, deed, "ops", ("read",), expires_in_seconds=None)
    with service.store.write() as connection:
        connection.execute(text("UPDATE tokens SET revoked_at = 1 WHERE id = :id"), {"id": first.id})
    register = service.runner.app[REGISTER]
    register._clock = lambda: 1e12  # the next look is due
    assert (401, "token_revoked") == await asked(service, first.token)
    assert (200, None) == await asked(service, second.token)


async def test_a_token_is_good_at_once_though_others_ask_meanwhile(service: Service):
    """A look at the tokens that began before one was made does not hide it, and nobody who shows it has failed."""
    register, held, found = service.runner.app[REGISTER], threading.Event(), threading.Event()

    def hold(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM tokens" in statement and not found.is_set():
            found.set()
            held.wait(10)

    register.outdate()
    watch.listen(service.store.engine, "after_cursor_execute", hold)
    looking = asyncio.create_task(asked(service, f"cb_{0:064}"))
    await asyncio.to_thread(found.wait, 10)
    token = (await made(service))["token"]
    held.set()

    assert (401, "token_unknown") == await looking
    assert (200, None) == await asked(service, token)


async def test_who_asks_while_the_store_hangs_is_answered_with_the_others(service: Service):
    """Where the store fails slowly, nobody waits for the failures of all who asked before: they share one."""
    looks: list[str] = []

    def fail_slowly(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM tokens" in statement:
            looks.append(statement)
            time.sleep(0.2)
            raise OperationalError(statement, {}, type("OperationalError", (Exception,), {})("database is locked"))

    watch.listen(service.store.engine, "before_cursor_execute", fail_slowly)
    answers = await asyncio.gather(*(asked(service, f"cb_{number:064}") for number in range(12)))

    assert {(503, "store_unavailable")} == set(answers)
    assert len(looks) <= len(answers) / 4


async def test_a_flood_of_unknown_tokens_is_no_flood_of_questions(service: Service):
    """However many wrong tokens come, the store is asked about them about once a second."""
    register, looked = service.runner.app[REGISTER], 0
    register._clock = lambda: 1000.0
    reads = []
    before = register._known
    for number in range(8):
        assert (401, "token_unknown") == await asked(service, f"cb_{number:064}")
        reads.append(register._read_at)
        looked += register._known is not before
        before = register._known

    assert {1000.0} == set(reads)
    assert looked <= 2


async def test_no_token_gives_what_it_has_not(service: Service):
    """An operator without a scope makes no token with it, neither anew nor in place of another."""
    operator = (await made(service, name="ops", scopes=["operate"]))["token"]
    other = await made(service)

    assert (403, "scope_missing") == await asked(service, operator, "POST", "/v1/tokens", json=WANTED)
    assert (403, "scope_missing") == await asked(service, operator, "POST", f"/v1/tokens/{other['id']}/rotate")
    wanted = {"name": "ops-2", "scopes": ["operate"]}
    assert (201, None) == await asked(service, operator, "POST", "/v1/tokens", json=wanted)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"scopes": "read"}, "scopes"),
        ({"name": "two words"}, "name"),
        ({"name": ""}, "name"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"secret": "mine"}, "secret"),
    ],
)
async def test_a_token_that_cannot_be_is_refused_by_its_field(service: Service, wrong: Any, param: str):
    """One line says which field is wrong, and nothing is made."""
    async with service.http.post("/v1/tokens", json={**WANTED, **wrong}) as response:
        error = (await response.json())["error"]

    assert (400, param) == (response.status, error["param"])
    assert [] == (await service.get("/v1/tokens"))["data"]


async def test_a_repeated_request_makes_one_token(service: Service):
    """With an Idempotency-Key the same token is shown again, and lies sealed meanwhile."""
    headers = {"Idempotency-Key": "once"}
    tokens = []
    for _ in range(2):
        async with service.http.post("/v1/tokens", json=WANTED, headers=headers) as response:
            tokens.append((await response.json())["token"])
    with service.store.read() as connection:
        kept = connection.execute(text("SELECT body FROM idempotency")).scalar_one()

    assert 1 == len(set(tokens)) == len((await service.get("/v1/tokens"))["data"])
    assert tokens[0] not in kept


async def test_where_nothing_can_be_sealed_no_key_is_taken(url: str):
    """Without encryption keys a token cannot be kept for a repetition: that is said before one is made."""
    chosen = settings()
    chosen = chosen.model_copy(update={"store": chosen.store.model_copy(update={"encryption_keys": ()})})
    async with running(url, chosen) as service:
        async with service.http.post("/v1/tokens", json=WANTED, headers={"Idempotency-Key": "once"}) as response:
            assert (409, "no_encryption_key") == (response.status, (await response.json())["error"]["code"])
        assert [] == (await service.get("/v1/tokens"))["data"]
        await made(service)


@asynccontextmanager
async def _nothing_configured(url: str) -> AsyncIterator[Service]:
    chosen = settings().model_copy(update={"admin": Admin()})
    async with running(url, chosen) as service:
        yield service


async def test_without_configured_tokens_a_made_one_opens(url: str):
    """An installation may have no token in its configuration at all: the command line makes the first."""
    async with _nothing_configured(url) as service:
        assert (401, "authentication_not_configured") == await asked(service, "cb_x")
        deed = of_the_command_line("token.create", service.clock)
        token = create(service.runtime, deed, "ops", ("read", "write", "operate"), expires_in_seconds=None).token
        service.runner.app[REGISTER].outdate()
        assert (200, None) == await asked(service, token)
        async with service.http.get("/v1/refunds", headers={"Authorization": ""}) as response:
            assert "token_missing" == (await response.json())["error"]["code"]
