"""The guided tour of README's "Follow one notification", station by station, in the words of its table.

Real: every process, the broker, the database, the signatures, the app's backend. Doubles: none. The workers are started
after the notification was taken in, so that it can be looked at on its way.
"""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from handlers.platforms import PLATFORMS
from schemas.meaning import Meaning
from tests.cli.processes import ROOT
from tests.e2e.running import Installation, Service, client, install, till
from tests.worker.backend import Backend
from worker.demo.trust import APP
from worker.simulator.sales import DAY_MS
from worker.store.tables import deliveries, entries, notifications

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Endpoint:
    """An installation whose endpoint is up and whose workers are not, and the app's backend."""

    installation: Installation
    service: Service
    backend: Backend


@pytest.fixture
async def endpoint(tmp_path) -> AsyncIterator[Endpoint]:
    """Start the broker and the endpoint."""
    async with Backend() as backend:
        installation = install(tmp_path, backend=backend.url)
        backend.secrets = installation.settings.subscribers[0].secrets
        with installation.parts():
            async with installation.up("serve"), client(installation) as service:
                yield Endpoint(installation, service, backend)


async def test_follow_one_notification(endpoint):
    """A refund passes every station of the README's table, from a signed POST to a revoked entitlement and beyond."""
    installation, service, backend = endpoint.installation, endpoint.service, endpoint.backend
    apple, store = PLATFORMS["apple"], installation.store()
    sale = till("apple", Random(9)).sell(0, bought_ms=int(time.time() * 1000) - 5 * DAY_MS)
    customer = f"/v1/customers/{sale.user_id}"

    # Before the tour: the customer buys a month, and may use what it gives. Then the workers take a break.
    async with installation.up("work"):
        await service.told("apple", installation.simulator("apple").purchase(sale, time.time()))
        await backend.has_been_told(1)
    assert [("pro", "active")] == [(e["key"], e["status"]) for e in await service.every(f"{customer}/entitlements")]

    # 0 · worker/web/ingest.py: receive · HTTP request → `Received`
    refund = installation.simulator("apple").refund(sale, time.time())
    status, taken = await service.post("apple", refund)

    # 1 · handlers/apple.py: verify · `Received`, keys, now → verified payload, or an error that hints its HTTP status
    assert (200, False) == (status, taken["duplicate"])
    (_, forged), *_ = installation.simulator("apple").forge(refund, time.time())
    assert 401 == (await service.post("apple", forged))[0]

    # 2 · worker/inbox.py: accept · → durable row (insert-if-absent), then its id on the queue, then 200
    with store.read() as connection:
        row = connection.execute(select(notifications).where(notifications.c.type == "REFUND")).mappings().one()
    assert (taken["id"], "accepted", refund.body) == (row["id"], row["status"], row["body"])
    assert 1 == await service.metric('clawback_queue_messages{queue="notifications",state="ready"}')
    assert (200, True) == ((again := await service.post("apple", refund))[0], again[1]["duplicate"])

    # 3 · worker/actors.py: declare → worker/process.py: process · ids → rows
    async with installation.up("work"):
        done = await service.finished(taken["id"])
        await backend.has_been_told(3)
    assert ("processed", 1) == (done["status"], done["attempts"])
    assert 0 < done["stations"]["verified"] < done["stations"]["picked_up"] < done["stations"]["decided"]

    # 4 · handlers/apple.py: normalize · payload (+ looked-up facts) → what was said, or a named reason why nothing was
    settings = installation.settings.apps[APP].apple
    meaning = apple.normalize(apple.read(row["body"], {}), {}, settings=settings)
    assert isinstance(meaning, Meaning)
    assert [("refund_succeeded", sale.purchase_id)] == [(s.kind, s.subject.purchase_id) for s in meaning.said]

    # 5 · handlers/decide.py: decide · ledger state, entries, policy, now → `Decision`
    granted, succeeded, revoked = await service.every("/v1/events")
    assert ["entitlement.granted", "refund.succeeded", "entitlement.revoked"] == [
        event["type"] for event in (granted, succeeded, revoked)
    ]
    assert [succeeded["id"], revoked["id"]] == done["events"]
    assert (done["notification_id"], "REFUND") == tuple(
        revoked["data"]["cause"][k] for k in ("notification_id", "type")
    )

    # 6 · worker/commit.py: Bookkeeper · decision → ledger entries, ENTITLEMENT REVOKED, refund record, outbox rows,
    #     inbox row finished: one transaction
    with store.read() as connection:
        entered = connection.execute(select(entries.c.kind).where(entries.c.notification == taken["id"])).scalars()
        assert ["refund_succeeded"] == list(entered)
        outbox = connection.execute(select(deliveries.c.event_id, deliveries.c.status).order_by(deliveries.c.sequence))
        assert [(event["id"], "delivered") for event in (granted, succeeded, revoked)] == [tuple(d) for d in outbox]
    (entitlement,) = await service.every(f"{customer}/entitlements")
    assert (False, "revoked") == (entitlement["active"], entitlement["status"])
    (money,) = await service.every("/v1/refunds")
    assert ("succeeded", "full", sale.amount, "usd") == tuple(
        money[k] for k in ("status", "scope", "amount", "currency")
    )

    # +1 · worker/delivery.py: deliver → handlers/outgoing.py: headers · outbox id → signed POST to your backend
    believes = Webhook(installation.settings.subscribers[0].secrets[0])
    assert [granted, succeeded, revoked] == [believes.verify(told.body, told.headers) for told in backend.told]
    assert [1, 2, 3] == [event["sequence"] for event in (granted, succeeded, revoked)]
    store.close()


def test_the_tour_walks_the_table_of_the_readme():
    """Each hop of the README's table is a hop of the tour above, at the same station and in the same words."""
    table = ROOT.joinpath("README.md").read_text("utf-8").partition("## Follow one notification")[2].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    hops = [[re.sub(r"\[`(.+?)`\]\(\S+\)", r"\1", cell) for cell in row[:3]] for row in rows[1:]]
    comments = re.findall(r"^ +# +(.*)$", Path(__file__).read_text("utf-8"), flags=re.MULTILINE)
    tour = _plain(" ".join(comments))

    assert ["0", "1", "2", "3", "4", "5", "6", "+1"] == [hop for hop, *_ in hops]
    assert [] == [hop for hop in hops if _plain(" · ".join(hop)) not in tour]


def _plain(text: str) -> str:
    """Take emphasis away, which a comment writes in another way."""
    return re.sub(r"\s+", " ", text.replace("*", "").replace("`", "")).lower()
