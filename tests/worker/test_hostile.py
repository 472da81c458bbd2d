"""Values that no store holds and words that no log may hold, from senders whose signature is good.

Real: signatures, verification, store, processing. Double: the queue of `house.py`.
"""

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from config.load import load
from config.settings import Server, Settings
from handlers.errors import Malformed, Rejected
from tests.worker.house import House, house
from worker.cli.common import Failure
from worker.cli.running import refuse_strangers
from worker.demo.trust import APP, prepare
from worker.simulator import apple_pki as pki
from worker.simulator.amazon import sign as sign_as_sns
from worker.simulator.sale import Shot
from worker.simulator.stripe import shot_of
from worker.simulator.stripe import sign as sign_as_stripe
from worker.store import tables

PLATFORMS = ("amazon", "apple", "google", "stripe")
HOSTILE: tuple[Any, ...] = (
    10**30,
    2**63,
    2**63 - 1,
    -1,
    -(2**63),
    1.5,
    True,
    None,
    "\x01\x1f\x7f\n",
    "x" * 70_000,
    {},
    [],
)
"""Integers beyond 64 bits and around them, times before 1970, and what is no number or no name at all."""


ENDS = {"processed", "ignored", "quarantined"}


@pytest.fixture
def home(tmp_path):
    """Open a house whose clock stands at this moment: certificates are real and were made just now."""
    with house(tmp_path, time.time()) as opened:
        yield opened


def stripe_secret(home: House) -> str:
    """Give the secret of the demo's endpoint."""
    section = home.settings.apps[APP].stripe
    assert section is not None
    return section.webhook_secrets[0]


def shots_of(home: House, platform: str) -> list[Shot]:
    """Say that an annual plan was bought, renewed and refunded, and that a one-time product was refunded."""
    simulator, now = home.simulator(platform), home.clock()
    plan, once = (
        home.till(platform, seed=seed).sell(0, bought_ms=int((now - 270 * 86_400) * 1000), subscription=seed == 1)
        for seed in (1, 2)
    )
    return [
        simulator.purchase(plan, now),
        simulator.renew(plan, now),
        simulator.refund(plan, now),
        simulator.refund(once, now),
    ]


def says(platform: str, shot: Shot) -> dict[str, Any]:
    """Open what a notification says of a purchase."""
    body = json.loads(shot.body)
    opened: dict[str, Any] = {
        "amazon": lambda: json.loads(body["Message"]),
        "apple": lambda: pki.open_unverified(
            pki.open_unverified(body["signedPayload"])["data"]["signedTransactionInfo"]
        ),
        "google": lambda: json.loads(base64.b64decode(body["message"]["data"])),
        "stripe": lambda: body["data"]["object"],
    }[platform]()
    return opened


def saying(home: House, platform: str, shot: Shot, inner: dict[str, Any], number: int) -> Shot:
    """Sign a notification again that says something else of a purchase, under an id of its own."""
    body: dict[str, Any] = json.loads(shot.body)
    simulator: Any = home.simulator(platform)  # its keys are nobody else's, so no protocol shows them
    if platform == "apple":
        outer = pki.open_unverified(body["signedPayload"])
        data = {**outer["data"], "signedTransactionInfo": simulator._sign(inner)}
        token = simulator._sign({**outer, "notificationUUID": f"uuid-{number}", "data": data})
        return Shot(shot.type, json.dumps({"signedPayload": token}).encode(), {})
    if platform == "stripe":
        raw = json.dumps({**body, "id": f"evt_{number}", "data": {"object": inner}}).encode()
        return shot_of(shot.type, raw, sign_as_stripe(raw, secret=simulator._secret, now=home.clock()))
    if platform == "google":
        packed = base64.b64encode(json.dumps(inner).encode()).decode()
        message = {**body["message"], "data": packed, "messageId": str(number), "message_id": str(number)}
        return Shot(shot.type, json.dumps({**body, "message": message}).encode(), shot.headers)
    envelope = {**body, "MessageId": f"id-{number}", "Message": json.dumps(inner)}
    del envelope["Signature"]
    return Shot(shot.type, json.dumps(sign_as_sns(envelope, simulator._key)).encode(), {})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List every place in a JSON value, the whole left out."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


def put(value: Any, path: tuple[Any, ...], hostile: Any) -> Any:
    """Put something hostile at a place."""
    copy = at = json.loads(json.dumps(value))
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = hostile
    return copy


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_no_value_of_a_signed_notification_breaks_processing(home: House, platform: str) -> None:
    """Whatever stands in whatever field, a notification is refused by name or ends by name: nothing is tried again."""
    # A purchase date of 10^30 or an amount of 2^70 that reached an integer column would be an OverflowError in the
    # middle of a transaction, and its neighbors would be processed one by one for nothing.
    number, accepted = 0, {}
    for shot in shots_of(home, platform):
        said = says(platform, shot)
        for index, path in enumerate(places(said)):
            for hostile in HOSTILE[index % 5 :: 5]:  # every field meets a few of them, every value many fields
                number += 1
                changed = saying(home, platform, shot, put(said, path, hostile), number)
                with suppress(Rejected):
                    accepted[(await home.arrive(platform, changed)).id] = (shot.type, path, str(hostile)[:40])
    with capture_logs() as lines:
        home.work()

    assert not [line for line in lines if line["log_level"] == "error"]
    with home.store.read() as connection:
        rows = connection.execute(select(tables.notifications.c.id, tables.notifications.c.status)).all()
    assert accepted.keys() == {row.id for row in rows}
    assert {} == {accepted[row.id]: row.status for row in rows if row.status not in ENDS}


async def fate(home: House, platform: str, shot: Shot) -> object:
    """Receive and process; tell what became of it."""
    try:
        accepted = await home.post(platform, shot)
    except Rejected:
        return "rejected"
    return home.notification(accepted)["status"]


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800", "\x00"])
@pytest.mark.parametrize("platform", PLATFORMS)
async def test_text_that_no_store_holds_is_refused_at_the_door(home: House, platform: str, text: str) -> None:
    """NUL and unpaired surrogates get in nowhere in the outer JSON, escaped or bare."""
    shot = shots_of(home, platform)[0]
    body = shot.body.rstrip().removesuffix(b"}") + f', "note": "{text}"}}'.encode()
    changed = Shot(shot.type, body, shot.headers)
    if platform == "stripe":
        secret = stripe_secret(home)
        changed = shot_of(shot.type, body, sign_as_stripe(body, secret=secret, now=home.clock()))

    with pytest.raises(Malformed):
        await home.arrive(platform, changed)


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_no_line_of_a_whole_life_names_anybody(home: House, platform: str) -> None:
    """From the door to the last word, of good notifications and of forged ones, logs hold no secret and no customer."""
    # Searched for: purchase tokens, receipts, transaction and order ids, users, e-mails, signatures, keys' secrets.
    shots = shots_of(home, platform)
    forged = [forgery for shot in shots for _, forgery in home.simulator(platform).forge(shot, home.clock())]
    with capture_logs() as lines:
        fates = [await fate(home, platform, shot) for shot in (*shots, *forged)]
    written = json.dumps(lines, default=str, ensure_ascii=False)

    assert "processed" in fates
    assert "rejected" in fates
    assert "process.decided" in written
    for secret in secrets_of(home, platform, shots):
        assert secret not in written


def secrets_of(home: House, platform: str, shots: list[Shot]) -> set[str]:
    """Gather every text of some length that must stay out of logs."""
    names = re.compile(
        "(?i)token|receipt|transactionId|orderId|userId|user_id|email|customer|^charge$|signature|bundleId"
    )
    found: set[str] = {stripe_secret(home)}
    for shot in shots:
        outer, inner = json.loads(shot.body), says(platform, shot)
        for value in (outer, inner):
            for path in places(value):
                leaf = value
                for key in path:
                    leaf = leaf[key]
                if isinstance(leaf, str) and names.search(str(path[-1])):
                    found.add(leaf)
        found |= {text for name, text in shot.headers.items() if name in {"authorization", "stripe-signature"}}
    return {text for text in found if len(text) >= 8}


def test_a_demo_never_leaves_this_machine(tmp_path) -> None:
    """A demo whose host is not loopback does not start, however the host was spelled in the environment."""
    # Names of variables have no case here, and of two spellings of one name the last wins: one that `run` does not
    # know of could outlive the one that it sets.
    config = prepare(tmp_path, any_port=True)
    environment = {"CLAWBACK_SERVER__HOST": "127.0.0.1", "clawback_server__host": "192.0.2.7"}

    refuse_strangers(load(config, {}))
    with pytest.raises(Failure, match=r"127\.0\.0\.1 only"):
        refuse_strangers(load(config, environment))
    with pytest.raises(Failure):
        refuse_strangers(Settings(server=Server(host="::")))


def test_what_the_demo_makes_is_its_owners_alone(tmp_path) -> None:
    """Private keys, tokens and secrets of the demo are readable by nobody else, down to each file that holds one."""
    directory = prepare(tmp_path, any_port=True).parent

    assert 0o700 == directory.stat().st_mode & 0o777
    for file in directory.iterdir():
        if b"PRIVATE KEY" in file.read_bytes() or file.suffix == ".toml":
            assert 0o600 == file.stat().st_mode & 0o777, file.name
