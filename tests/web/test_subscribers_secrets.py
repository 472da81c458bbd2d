"""A subscriber's secrets: shown once or never, sealed, replaced while both sign, and in no log.

Real: the service on a loopback port, its store, keys and seals. Double: the clock, which stands until it is set.
"""

import json
import re

from standardwebhooks import Webhook
from structlog.testing import capture_logs

from handlers import outgoing
from tests.web.seed import NOW
from tests.web.service import Service
from tests.web.subscribing import OWN, URL, WANTED, ask, make, signing, stored

DAY = 86_400


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
