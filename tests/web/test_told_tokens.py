"""Telling of a Google purchase by its token alone, as an app's backend does that knows no order id.

Real: the server, push tokens that really verify, processing, store. Doubles: queue, network (away), clock (stands).
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from config.platforms import Google
from tests.web import by_stripe, seed
from tests.web.service import Service, running, settings
from worker.process import process
from worker.simulator.google import GoogleSimulator, create
from worker.simulator.sale import Sale, Shot

TOKEN = "kfpjhbgnmcloikjhgdsa.AO-J1OxAnnualPlan"
SALE = Sale(
    user_id="ada",
    product_id=seed.ANNUAL,
    purchase_id="GPA.3312-5550-1234-56789",
    original_purchase_id=TOKEN,
    amount=4999,
    currency="usd",
    purchased_at_ms=(seed.NOW - 270 * seed.DAY) * 1000,
    expires_at_ms=(seed.NOW + 95 * seed.DAY) * 1000,
)

LAMP = replace(SALE, purchase_id="GPA.3312-5550-1234-77777", subscription=False, expires_at_ms=None)
"""The same product, sold once and for ever."""


@dataclass
class Play:
    """Google Play, and the service that it pushes to."""

    service: Service
    simulator: GoogleSimulator

    async def push(self, say: Callable[[Sale, float], Shot], *, of: Sale = SALE, at: int = seed.NOW) -> None:
        """Push what is said of a sale, and process it."""
        shot = say(of, at)
        self.service.clock.now = float(at)
        before = len(self.service.queue.put)
        url = f"/webhooks/google/{seed.APP}"
        async with self.service.http.post(url, data=shot.body, headers=shot.headers) as response:
            assert 200 == response.status, await response.text()
        process(self.service.runtime, self.service.queue.put[before:])

    async def tell(self, **more: Any) -> tuple[int, dict[str, Any]]:
        """Tell of the annual plan by its token."""
        return await by_stripe.tell(self.service, TOKEN, platform="google", purchase_token=TOKEN, **more)

    async def access(self) -> list[str]:
        """List what became of Ada's access."""
        return [one["status"] for one in (await self.service.get("/v1/customers/ada/entitlements"))["data"]]


@pytest.fixture(name="play")
async def _play(url: str, tmp_path: Path) -> AsyncIterator[Play]:
    section = Google(**create(tmp_path, app=seed.APP, public_url="https://hooks.acme.example"))
    chosen = settings()
    app = chosen.apps[seed.APP].model_copy(update={"google": section})
    async with running(url, chosen.model_copy(update={"apps": {seed.APP: app}})) as service:
        yield Play(service, GoogleSimulator(tmp_path, section))


async def test_a_void_reaches_the_user_who_was_told_by_token(play: Play) -> None:
    """Told by token, bought once, and voided by an order that nobody told of: the void revokes what the user had."""
    status, shown = await play.tell()
    assert (201, TOKEN, "active", ["active"]) == (status, shown["purchase_id"], shown["access"], await play.access())
    await play.push(play.simulator.purchase, of=LAMP, at=seed.NOW - 270 * seed.DAY)
    await play.push(play.simulator.refund, of=LAMP)

    (voided,) = (await play.service.get("/v1/purchases", user_id="ada"))["data"]
    (refund,) = (await play.service.get("/v1/refunds", user_id="ada"))["data"]
    assert ("revoked", voided["id"], ["revoked"]) == (voided["access"], refund["charge_id"], await play.access())
    assert voided == await play.service.get(f"/v1/purchases/{shown['id']}")
    assert [voided] == (await play.service.get("/v1/purchases", purchase_id=TOKEN))["data"]
    assert [voided] == (await play.service.get("/v1/purchases", purchase_id=LAMP.purchase_id))["data"]


async def test_a_void_that_came_first_takes_effect_when_the_token_is_told(play: Play) -> None:
    """The refund is nobody's until the token says whose it is."""
    await play.push(play.simulator.refund, of=LAMP)
    assert [None] == [one["user_id"] for one in (await play.service.get("/v1/refunds"))["data"]]

    _, shown = await play.tell()

    assert ("revoked", ["revoked"]) == (shown["access"], await play.access())


async def test_one_void_of_a_subscription_told_by_token_may_be_of_any_cycle(play: Play) -> None:
    """Nobody knows whether it was the running one: access ends with Google's word on the subscription, not before."""
    await play.tell()
    await play.push(play.simulator.refund)
    assert ["active"] == await play.access()

    await play.push(play.simulator.revoke)

    assert ["revoked"] == await play.access()
