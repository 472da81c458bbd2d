"""`/v1/subscribers`: made, shown, changed, re-keyed and deleted while everything runs."""

import asyncio
import json
import re
from typing import Any

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from config.settings import Settings, Subscriber, Subscribing
from handlers import outgoing
from tests.store.outbox_story import announce, event
from tests.web.seed import APP, NOW
from tests.web.service import Service, running, settings
from worker import bootstrap
from worker.keyring import Keyring
from worker.store import outbox
from worker.store.feed import newest_position
from worker.store.tables import deliveries, idempotency, subscribers

URL = "https://api.acme.example/refunds"
OWN = "whsec_YSBzZWNyZXQgb2Ygb3VyIG93biwgMzIgYnl0ZXMgbG9uZyE="
WANTED: dict[str, Any] = {"app": APP, "url": URL}
DAY = 86_400


async def ask(service: Service, method: str, path: str, expected: int, body: Any = None, **headers: str) -> Any:
    """Ask, and read the JSON of an answer with that status."""
    async with service.http.request(method, f"/v1/subscribers{path}", json=body, headers=headers) as response:
        assert expected == response.status, await response.text()
        answered = await response.json()
        return answered["error"] if expected >= 400 else answered


async def make(service: Service, **chosen: Any) -> Any:
    """Make a subscriber."""
    return await ask(service, "POST", "", 201, WANTED | chosen)


def signing(service: Service, id_: str) -> tuple[str, ...]:
    """Give the secrets that a delivery to it would be signed with now."""
    with service.store.read() as connection:
        row: Any = connection.execute(select(subscribers).where(subscribers.c.id == id_)).one()
    runtime = service.runtime
    return Keyring(runtime.settings.subscribers, runtime.sealer).secrets(row, runtime.clock())


def stored(service: Service) -> str:
    """Read everything that is stored of subscribers and of answers."""
    with service.store.read() as connection:
        rows = [*connection.execute(select(subscribers)), *connection.execute(select(idempotency))]
    return repr(rows)


async def test_a_subscriber_is_made_with_a_secret_that_is_shown_once(service: Service) -> None:
    """What creation answers can verify deliveries, and neither the store nor another answer has the secret again."""
    made = await make(service, types=["refund.*"], environment="sandbox", rate_per_second=5, order="none")
    shown = await service.get(f"/v1/subscribers/{made['id']}")
    listed = await service.get("/v1/subscribers")

    assert made == shown | {"secret": made["secret"]}
    assert [shown] == listed["data"]
    assert (["refund.*"], "sandbox", 5, "none") == tuple(
        shown[name] for name in ("types", "environment", "rate_per_second", "order")
    )
    assert ("enabled", None, "api", "v1", 1, NOW) == tuple(
        shown[name] for name in ("state", "reason", "origin", "signature", "active_secrets", "created_at")
    )
    assert (made["secret"],) == signing(service, made["id"])
    assert made["secret"] not in stored(service)


async def test_a_repeated_creation_shows_the_same_secret_from_a_sealed_answer(service: Service) -> None:
    """The answer that an Idempotency-Key repeats is the first one, and what is kept of it is closed."""
    key = {"Idempotency-Key": "backend-1"}
    first = await ask(service, "POST", "", 201, WANTED, **key)
    again = await ask(service, "POST", "", 201, WANTED, **key)

    assert first == again
    assert first["secret"] not in stored(service)
    assert 1 == len((await service.get("/v1/subscribers"))["data"])


async def test_a_private_key_is_shown_to_nobody(service: Service) -> None:
    """With v1a the public key is all that is told, and it verifies what the private one signs."""
    made = await make(service, signature="v1a")
    (secret,) = signing(service, made["id"])

    assert None is made["secret"]
    assert made["public_key"] == outgoing.public_key(secret)
    assert "v1a" == made["signature"]
    assert "whsk_" not in json.dumps(made) + stored(service)


async def test_a_secret_of_one_s_own_is_taken_and_not_repeated(service: Service) -> None:
    """Whoever brings a secret knows it: it signs, and no answer shows it."""
    made = await make(service, secret=OWN)

    assert None is made["secret"]
    assert (OWN,) == signing(service, made["id"])
    assert OWN not in stored(service)


@pytest.mark.parametrize(
    ("change", "status", "code", "param", "says"),
    [
        ({"app": "other"}, 400, "parameter_invalid", "app", "acme"),
        ({"types": ["refunds.*"]}, 400, "parameter_invalid", "types", "the nearest is 'refund.*'"),
        ({"types": ["refund.suceeded"]}, 400, "parameter_invalid", "types", "the nearest is 'refund.succeeded'"),
        ({"types": []}, 400, "parameter_invalid", "types", ""),
        ({"url": "http://api.acme.example/"}, 400, "parameter_invalid", "url", "https://"),
        ({"url": "ftp://api.acme.example/"}, 400, "parameter_invalid", "url", "https://"),
        ({"url": "https://user:hunter2@acme.example/"}, 400, "parameter_invalid", "url", "credentials"),
        ({"url": "https://api.acme.example/#here"}, 400, "parameter_invalid", "url", "fragment"),
        ({"url": "https://api.acme.example:70000/"}, 400, "parameter_invalid", "url", "https://"),
        ({"url": "https://bücher.example/"}, 400, "parameter_invalid", "url", "xn--"),
        ({"url": "https://localhost/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://127.1/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://2130706433/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://10.0.0.8/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://169.254.169.254/latest/meta-data/"}, 400, "address_not_public", "url", "link-local"),
        ({"url": "https://[::ffff:127.0.0.1]/"}, 400, "address_not_public", "url", "private"),
        ({"url": "https://[fd00:ec2::254]/"}, 400, "address_not_public", "url", "private"),
        ({"allow_private": True}, 403, "allow_private_not_permitted", "allow_private", "[subscribing] allow_private"),
        ({"secret": "hunter2"}, 400, "parameter_invalid", "secret", "whsec_"),
        ({"secret": "whsec_c2hvcnQ="}, 400, "parameter_invalid", "secret", "5 bytes"),
        ({"secret": OWN, "signature": "v1a"}, 400, "parameter_invalid", "secret", "whsk_"),
        ({"secret": "whsk_" + "A" * 86 + "==", "signature": "v1a"}, 400, "parameter_invalid", "secret", "second half"),
        ({"rate_per_second": 0}, 400, "parameter_invalid", "rate_per_second", ""),
        ({"timeout_seconds": 61}, 400, "parameter_invalid", "timeout_seconds", ""),
        ({"state": "paused"}, 400, "parameter_unknown", "state", ""),
    ],
)
async def test_what_could_not_be_told_is_refused(
    embedded: Service, change: dict[str, Any], status: int, code: str, param: str, says: str
) -> None:
    """A subscriber that must not be, or could never be told, is refused in one line that repeats no secret of it."""
    error = await ask(embedded, "POST", "", status, WANTED | change)

    assert (code, param) == (error["code"], error["param"].split(".")[0])
    assert says in error["message"]
    assert "hunter2" not in error["message"]
    assert [] == (await embedded.get("/v1/subscribers"))["data"]


async def test_what_the_operator_permits_may_be_private(url: str) -> None:
    """With [subscribing] allow_private a subscriber may ask for loopback and http, and without asking still may not."""
    chosen = settings().model_copy(update={"subscribing": Subscribing(allow_private=True)})
    async with running(url, chosen) as service:
        made = await make(service, url="http://127.0.0.1:9000/", allow_private=True)
        error = await ask(service, "POST", "", 400, WANTED | {"url": "https://127.0.0.1:9000/"})
        closed = await ask(service, "PATCH", f"/{made['id']}", 400, {"allow_private": False})

    assert "address_not_public" == error["code"]
    assert "url" == closed["param"]


async def test_without_a_key_nothing_is_made(url: str) -> None:
    """A process without an encryption key says which setting is missing, and makes nobody whom none could sign for."""
    chosen = settings().model_copy(update={"store": settings().store.model_copy(update={"encryption_keys": ()})})
    async with running(url, chosen) as service:
        error = await ask(service, "POST", "", 409, WANTED, **{"Idempotency-Key": "k"})

        assert ("invalid_request_error", "no_encryption_key") == (error["type"], error["code"])
        assert "[store] encryption_keys" in error["message"]
        assert [] == (await service.get("/v1/subscribers"))["data"]


async def test_an_address_is_told_once(service: Service) -> None:
    """A second subscriber at the same address of an app is refused by the first one's id, also by a change."""
    made, other = await make(service), await make(service, url=URL + "/2")
    error = await ask(service, "POST", "", 409, WANTED)
    moved = await ask(service, "PATCH", f"/{other['id']}", 409, {"url": URL})

    assert ("subscriber_exists", "subscriber_exists") == (error["code"], moved["code"])
    assert made["id"] in error["message"]
    assert made["id"] in moved["message"]

    async def again() -> int:
        async with service.http.post("/v1/subscribers", json=WANTED | {"url": URL + "/3"}) as response:
            return response.status

    assert [201, 409, 409, 409] == sorted(await asyncio.gather(*(again() for _ in range(4))))


async def test_there_are_so_many_and_no_more(url: str) -> None:
    """Beyond the operator's bound no more subscribers of an app are made, and the answer names the setting."""
    async with running(url, settings().model_copy(update={"subscribing": Subscribing(max_per_app=1)})) as service:
        await make(service)
        error = await ask(service, "POST", "", 409, WANTED | {"url": URL + "/2"})

    assert "too_many_subscribers" == error["code"]
    assert "[subscribing] max_per_app" in error["message"]


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


async def test_a_rotation_lets_both_sign_until_the_old_one_ends(service: Service) -> None:
    """After a rotation both secrets sign, the new one first; the old one ends by the clock, without a restart."""
    made = await make(service)
    rotated = await ask(service, "POST", f"/{made['id']}/rotate", 200, {"expires_in_seconds": 60})

    assert (2, NOW + 60) == (rotated["active_secrets"], rotated["secrets_end_at"])
    assert (rotated["secret"], made["secret"]) == signing(service, made["id"])
    body = b"{}"
    for secret in (rotated["secret"], made["secret"]):
        Webhook(secret)  # an independent reader takes it for a secret
        assert outgoing.headers("evt_1", body, keys=outgoing.keys([secret]), now=NOW)
    service.clock.now += 60
    assert (rotated["secret"],) == signing(service, made["id"])
    shown = await service.get(f"/v1/subscribers/{made['id']}")
    assert (1, None) == (shown["active_secrets"], shown["secrets_end_at"])


async def test_a_rotation_without_a_body_takes_a_day_and_with_zero_none(service: Service) -> None:
    """Nothing said, the old secret goes on for a day; with 0 it ends at once."""
    made = await make(service)
    async with service.http.post(f"/v1/subscribers/{made['id']}/rotate") as response:
        assert NOW + DAY == (await response.json())["secrets_end_at"]
    last = await ask(service, "POST", f"/{made['id']}/rotate", 200, {"expires_in_seconds": 0, "secret": OWN})

    assert (1, None) == (last["active_secrets"], last["secret"])
    assert (OWN,) == signing(service, made["id"])


async def test_a_rotation_changes_the_kind_of_signature(service: Service) -> None:
    """From v1 to v1a and on to another v1a key: old and new sign side by side, each in its way."""
    id_ = (await make(service))["id"]
    first = await ask(service, "POST", f"/{id_}/rotate", 200, {"signature": "v1a"})
    second = await ask(service, "POST", f"/{id_}/rotate", 200)
    new, before, oldest = signing(service, id_)

    assert (outgoing.public_key(new), outgoing.public_key(before)) == (second["public_key"], first["public_key"])
    assert (None, None) == (first["secret"], second["secret"])
    assert oldest.startswith("whsec_")


async def test_secrets_do_not_pile_up(service: Service) -> None:
    """There is a bound to how many sign at once, and a way on."""
    id_ = (await make(service))["id"]
    for _ in range(7):
        await ask(service, "POST", f"/{id_}/rotate", 200)
    error = await ask(service, "POST", f"/{id_}/rotate", 409)

    assert "too_many_secrets" == error["code"]
    assert 1 == (await ask(service, "POST", f"/{id_}/rotate", 200, {"expires_in_seconds": 0}))["active_secrets"]


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


def configured(*, there: bool = True) -> Settings:
    """Configure a subscriber in a file, or take it out again."""
    one = Subscriber(app=APP, url=URL, secrets=(OWN,))
    return settings().model_copy(update={"subscribers": (one,) if there else ()}).read_from("/etc/clawback.toml")


async def test_a_file_s_subscriber_is_changed_in_the_file(url: str) -> None:
    """Of a subscriber of the configuration the state alone is changed here; all else names the file."""
    async with running(url, configured()) as service:
        bootstrap.introduce_subscribers(service.runtime)
        (shown,) = (await service.get("/v1/subscribers"))["data"]
        id_ = shown["id"]
        wrong: tuple[tuple[str, str, Any], ...] = (
            ("PATCH", "", {"types": ["refund.*"]}),
            ("PATCH", "", {"state": "paused", "url": "https://b.acme.example/"}),
            ("POST", "/rotate", {}),
            ("DELETE", "", None),
        )
        for method, path, body in wrong:
            error = await ask(service, method, f"/{id_}{path}", 409, body)
            assert "configured_in_file" == error["code"]
            assert "/etc/clawback.toml" in error["message"]

        assert ("config", 1, "v1") == (shown["origin"], shown["active_secrets"], shown["signature"])
        assert (OWN,) == signing(service, id_)
        assert "paused" == (await ask(service, "PATCH", f"/{id_}", 200, {"state": "paused"}))["state"]
        bootstrap.introduce_subscribers(service.runtime)
        assert "paused" == (await service.get(f"/v1/subscribers/{id_}"))["state"]
        assert OWN not in stored(service)


async def test_what_left_the_file_can_go_on_here(url: str) -> None:
    """A subscriber that was taken out of the file is neither enabled nor re-keyed, and is made anew under its id."""
    async with running(url, configured()) as service:
        bootstrap.introduce_subscribers(service.runtime)
    async with running(url, configured(there=False)) as service:
        bootstrap.introduce_subscribers(service.runtime)
        (shown,) = (await service.get("/v1/subscribers"))["data"]
        error = await ask(service, "PATCH", f"/{shown['id']}", 409, {"state": "enabled"})
        made = await make(service)

        assert ("disabled", "removed_from_configuration") == (shown["state"], shown["reason"])
        assert "taken out of /etc/clawback.toml" in error["message"]
        assert (shown["id"], "enabled", "api") == (made["id"], made["state"], made["origin"])
        assert (made["secret"],) == signing(service, made["id"])


async def test_nothing_secret_is_logged(service: Service) -> None:
    """What is done with subscribers is logged by id, without an address, a secret or a token."""
    with capture_logs() as logs:
        made = await make(service)
        rotated = await ask(service, "POST", f"/{made['id']}/rotate", 200)
        await ask(service, "PATCH", f"/{made['id']}", 200, {"state": "paused"})
        await ask(service, "DELETE", f"/{made['id']}", 200)

    said = json.dumps(logs)
    assert ["created", "rotated", "changed", "deleted"] == re.findall(r'"subscriber\.(\w+)"', said)
    for secret in (made["secret"], rotated["secret"], URL, "whsec_"):
        assert secret not in said
