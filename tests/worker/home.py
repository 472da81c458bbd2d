"""A house whose app may ask platforms' APIs, and what these answer about its sales.

Real: configuration, signatures, store, processing, sweeper, look-ups with their thread, and the API as a server on
this machine. Double: the queue, which is a list, and the clock.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.worker.house import House, house
from tests.worker.platform_api import Api, serving, write_key
from worker.demo.trust import APP
from worker.lookups import Lookups
from worker.simulator.sale import Sale, Shot
from worker.store import tables
from worker.sweeper import sweep

ATTEMPTS_MAX = 4


@dataclass
class Home:
    """A house whose app may ask the Play Developer API and the Receipt Verification Service."""

    house: House
    api: Api

    async def arrive(self, platform: str, shot: Shot) -> str:
        """Receive, and leave it to the workers; give our id of it."""
        return (await self.house.arrive(platform, shot)).id

    async def work(self) -> None:
        """Process what is queued, as a worker thread does."""
        await asyncio.to_thread(self.house.work)

    async def later(self) -> None:
        """Let the time of the next attempt come, and sweep."""
        waiting = [r["retry_at_ms"] for r in self.rows(tables.notifications) if r["status"] == "accepted"]
        self.house.clock.now = max(self.house.clock.now, max(waiting, default=0) / 1000 + 0.001)
        sweep(self.house.runtime)
        await self.work()

    def rows(self, table: Any, *but: str) -> list[dict[str, Any]]:
        """Read a whole table in a fixed order."""
        with self.house.store.read() as connection:
            rows = [dict(row) for row in connection.execute(select(table)).mappings()]
        return sorted(({k: v for k, v in row.items() if k not in but} for row in rows), key=str)

    def status(self, id_: str) -> tuple[str, str | None]:
        """Give status and reason of a notification."""
        row = next(row for row in self.rows(tables.notifications) if row["id"] == id_)
        return row["status"], row["reason"]

    def stations(self, id_: str) -> dict[str, float]:
        """Give the stations that a notification passed."""
        row = next(row for row in self.rows(tables.notifications) if row["id"] == id_)
        found: dict[str, float] = json.loads(row["stations"])
        return found

    def restart(self) -> None:
        """Forget everything that is only remembered."""
        self.house.runtime.lookups.close()
        runtime = self.house.runtime
        lookups = Lookups(runtime.settings, runtime.metrics, clock=self.house.clock)
        self.house.runtime = replace(runtime, lookups=lookups)

    def views(self) -> dict[str, list[dict[str, Any]]]:
        """Give all that the API would show of purchases, refunds and entitlements."""
        return {
            "purchases": self.rows(tables.purchases, "lineage"),
            "refunds": self.rows(tables.refunds, "lineage"),
            "entitlements": self.rows(tables.entitlements, "updated_at"),
        }


@asynccontextmanager
async def opened(directory: Path, *, credentials: bool = True, now: float | None = None) -> AsyncIterator[Home]:
    """Open a house, its API, and what asks it."""
    async with serving() as api:
        with house(directory, now or time.time()) as at, _settings(at, api, directory, credentials=credentials):
            yield Home(at, api)


@contextmanager
def _settings(at: House, api: Api, directory: Path, *, credentials: bool) -> Iterator[None]:
    app = at.settings.apps[APP]
    if credentials:
        assert app.google is not None
        assert app.amazon is not None
        key = str(write_key(directory / "key.json", api))
        google = app.google.model_copy(update={"service_account_key": key, "api": api.url})
        amazon = app.amazon.model_copy(update={"shared_secret": "2:of-acme", "api": api.url})
        app = app.model_copy(update={"google": google, "amazon": amazon})
    bounds = at.settings.lookups.model_copy(update={"max_attempts": ATTEMPTS_MAX, "per_second": 1000.0})
    at.settings = at.settings.model_copy(update={"apps": {APP: app}, "lookups": bounds})
    lookups = Lookups(at.settings, at.runtime.metrics, clock=at.clock)
    at.runtime = replace(at.runtime, settings=at.settings, lookups=lookups)
    yield
    at.runtime.lookups.close()


@pytest.fixture(name="home")
async def open_home(tmp_path: Path) -> AsyncIterator[Home]:
    """Open one with credentials."""
    async with opened(tmp_path) as home:
        yield home


def sell(home: Home, platform: str = "google") -> Sale:
    """Sell a month of the subscription, just now."""
    return home.house.till(platform).sell(0, bought_ms=int(home.house.clock() * 1000))


def subscription(sale: Sale) -> dict[str, Any]:
    """What `purchases.subscriptionsv2` says of a sale."""
    return {
        "kind": "androidpublisher#subscriptionPurchaseV2",
        "startTime": _rfc3339(sale.purchased_at_ms),
        "subscriptionState": "SUBSCRIPTION_STATE_ACTIVE",
        "lineItems": [
            {
                "productId": sale.product_id,
                "expiryTime": _rfc3339(sale.expires_at_ms or 0),
                "latestSuccessfulOrderId": sale.purchase_id,
            }
        ],
        "externalAccountIdentifiers": {"obfuscatedExternalAccountId": sale.user_id},
        "testPurchase": {},
    }


def order(sale: Sale) -> dict[str, Any]:
    """What `orders` says of it after a refund."""
    money = {
        "currencyCode": sale.currency.upper(),
        "units": str(sale.amount // 100),
        "nanos": sale.amount % 100 * 10_000_000,
    }
    return {
        "orderId": sale.purchase_id,
        "purchaseToken": sale.original_purchase_id,
        "state": "REFUNDED",
        "total": money,
        "lineItems": [{"productId": sale.product_id}],
        "orderHistory": {"refundEvent": {"refundDetails": {"total": money}, "refundReason": "OTHER"}},
    }


def answering(api: Api, sale: Sale) -> None:
    """Have the API know of a sale."""
    api.status = 200
    api.answers = {"subscriptionsv2": (200, subscription(sale)), "orders": (200, order(sale))}


def away(api: Api) -> None:
    """Have it answer nothing."""
    api.status, api.answer, api.answers = 500, {}, {}


def _rfc3339(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
