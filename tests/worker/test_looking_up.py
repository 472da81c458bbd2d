"""What becomes of a notification whose platform's API answers at once, late, in part or never.

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
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from config.settings import Settings
from schemas.meaning import Lookup
from tests.worker.desk import SETTINGS, desk
from tests.worker.desk import arrival as stripe_event
from tests.worker.house import House, house
from tests.worker.platform_api import Api, serving, write_key
from tests.worker.stripe_events import charge, refund
from worker import process as processing
from worker.demo.trust import APP
from worker.inbox import Inbox
from worker.lookups import Lookups, Question
from worker.process import process
from worker.runtime import NoLookups
from worker.simulator.amazon import AmazonSimulator
from worker.simulator.sale import Sale, Shot
from worker.store import inbox, tables
from worker.store.gauges import read_gauges
from worker.store.notices import find_notification
from worker.sweeper import sweep
from worker.understand import understand

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
async def _home(tmp_path: Path):
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


async def test_an_answer_at_once_is_part_of_the_first_decision(home: Home):
    """What the API tells in time counts from the beginning: one attempt, and the user has access."""
    sale = sell(home)
    answering(home.api, sale)
    bought = await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()

    assert ("processed", None) == home.status(bought)
    assert {sale.user_id: "active"} == home.house.statuses()
    assert {"verified", "picked_up", "decided", "looked_up:subscriptionsv2"} == home.stations(bought).keys()


async def test_a_late_answer_supersedes_what_was_said_without_it(home: Home):
    """While the API is away the notification stays open; once it answers, what it adds takes effect."""
    sale = sell(home)
    away(home.api)
    with capture_logs() as lines:
        bought = await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
        await home.work()
        assert ("accepted", "looking_up:subscriptionsv2") == home.status(bought)
        assert {} == home.house.statuses()

        answering(home.api, sale)
        await home.later()
    assert ("processed", None) == home.status(bought)
    assert {sale.user_id: "active"} == home.house.statuses()
    assert "partly_decided" not in home.stations(bought)
    assert [("process.looking_up", "looking_up"), ("process.decided", "processed")] == [
        (line["event"], line["status"]) for line in lines if line["event"].startswith("process.")
    ]
    revisions = [json.loads(row["document"]).get("revision", 0) for row in home.rows(tables.entries)]
    assert [0, 1] == sorted(revisions)


async def test_a_revocation_never_waits(home: Home):
    """Access that was paid back is gone though the API says nothing, and what it says later changes no access."""
    sale = sell(home)
    home.house.tell("google", sale)
    assert {sale.user_id: "active"} == home.house.statuses()
    away(home.api)
    void = await home.arrive("google", home.house.simulator("google").refund(sale, home.house.clock()))
    await home.work()

    assert ("accepted", "looking_up:orders,subscriptionsv2") == home.status(void)
    assert {sale.user_id: "revoked"} == home.house.statuses()
    assert [("estimated", "succeeded")] == [(r["amount_source"], r["status"]) for r in home.rows(tables.refunds)]

    answering(home.api, sale)
    await home.later()
    assert ("processed", None) == home.status(void)
    assert {sale.user_id: "revoked"} == home.house.statuses()
    assert [(sale.amount, "exact", "succeeded")] == [
        (r["amount"], r["amount_source"], r["status"]) for r in home.rows(tables.refunds)
    ]


async def test_the_waits_grow_and_end(home: Home):
    """Each attempt waits longer than the last, and after so many it ends as it would without credentials."""
    sale = sell(home)
    away(home.api)
    bought = await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()
    waits = []
    while home.status(bought)[0] == "accepted":
        [row] = home.rows(tables.notifications)
        waits.append(row["retry_at_ms"] / 1000 - home.house.clock())
        await home.later()

    assert ("processed", "not_looked_up:subscriptionsv2") == home.status(bought)
    assert ATTEMPTS_MAX - 1 == len(waits)
    assert all(one < other for one, other in pairwise(waits))


async def test_nothing_is_tried_while_a_platform_asks_for_patience(home: Home):
    """The next attempt comes no sooner than the platform takes questions again."""
    home.api.status, home.api.headers = 429, {"Retry-After": "600"}
    sale = sell(home)
    await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()

    [row] = home.rows(tables.notifications)
    assert 600_000 == pytest.approx(row["retry_at_ms"] - home.house.clock() * 1000, abs=2)


async def test_an_api_that_is_gone_is_not_asked_again(home: Home):
    """That there is no such token is an answer: nothing is left to wait for."""
    home.api.status = 410
    sale = sell(home)
    bought = await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()

    assert ("processed", None) == home.status(bought)


@pytest.mark.parametrize(
    "late", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)], ids=str
)
async def test_late_answers_end_as_answers_at_once(tmp_path: Path, late: tuple[bool, bool, bool]):
    """Bought, renewed and refunded: whichever of the answers come late, purchases, refunds and access end the same."""
    now = time.time()
    ends = []
    for directory, delays in ((tmp_path / "at-once", (False, False, False)), (tmp_path / "late", late)):
        directory.mkdir()
        async with opened(directory, now=now) as home:
            await _live(home, delays)
            ends.append(home.views())

    assert ends[0] == ends[1]
    assert ["revoked", "active"] == [p["access"] for p in sorted(ends[0]["purchases"], key=lambda p: p["purchase_id"])]


async def _live(home: Home, late: tuple[bool, bool, bool]) -> None:
    """Buy a month, renew it, and void the first order; what is late is answered after all else."""
    at = home.house
    month_ms = 30 * 86_400_000
    bought_ms = int(at.clock() * 1000) - month_ms
    first, second = (at.till("google").sell(n, bought_ms=bought_ms + n * month_ms) for n in (0, 1))
    simulator = at.simulator("google")
    shots = (
        (first, simulator.purchase(first, bought_ms / 1000)),
        (second, simulator.renew(second, at.clock())),
        (first, simulator.refund(first, at.clock() + 1)),
    )
    for (sale, shot), delayed in zip(shots, late, strict=True):
        at.clock.now += 60  # so that no answer is older than the notification
        away(home.api) if delayed else answering(home.api, sale)
        await home.arrive("google", simulator.reseal(shot, at.clock()))
        await home.work()
        if delayed:
            at.clock.now += 20  # whatever pause a failure made is over
            answering(home.api, sale)
            await home.later()


async def test_in_the_end_it_is_as_without_credentials(tmp_path: Path):
    """An API that never answers leaves the same purchases and refunds as one that was never asked."""
    now = time.time()
    ends = []
    for name, credentials in (("without", False), ("with", True)):
        (tmp_path / name).mkdir()
        async with opened(tmp_path / name, credentials=credentials, now=now) as home:
            away(home.api)
            sale = home.house.till("google").sell(0, bought_ms=int(now * 1000))
            simulator = home.house.simulator("google")
            home.house.tell("google", sale)
            ids = [await home.arrive("google", shot(sale, now)) for shot in (simulator.purchase, simulator.refund)]
            await home.work()
            for _ in range(ATTEMPTS_MAX):
                await home.later()
            ends.append((home.views(), [home.status(id_) for id_ in ids]))

    assert ends[0] == ends[1]
    assert ["processed", "processed"] == [status for status, _ in ends[0][1]]


async def test_what_was_learned_is_not_lost_to_a_worse_attempt(home: Home):
    """An attempt that is told less than an earlier one adds nothing; one that is told more does."""
    sale = sell(home)
    home.house.tell("google", sale)
    home.api.answers = {"subscriptionsv2": (200, subscription(sale)), "orders": (500, {})}
    void = await home.arrive("google", home.house.simulator("google").refund(sale, home.house.clock()))
    await home.work()
    told = home.views()

    home.restart()
    home.api.answers = {"subscriptionsv2": (500, {}), "orders": (500, {})}
    await home.later()
    assert ("accepted", "looking_up:orders,subscriptionsv2") == home.status(void)
    assert told == home.views()

    home.restart()
    answering(home.api, sale)
    await home.later()
    assert ("processed", None) == home.status(void)
    assert [(sale.amount, "exact")] == [(r["amount"], r["amount_source"]) for r in home.rows(tables.refunds)]


async def test_what_was_said_can_be_taken_back(home: Home):
    """A subscription's end without its reason ends access at once; the reason, when it is known, takes its place."""
    sale = sell(home, "amazon")
    home.house.tell("amazon", sale)
    away(home.api)
    simulator = home.house.simulator("amazon")
    assert isinstance(simulator, AmazonSimulator)
    ended = await home.arrive("amazon", simulator.revoke(sale, home.house.clock()))
    await home.work()
    assert ("accepted", "looking_up:rvs,rvs_sandbox") == home.status(ended)
    assert {sale.user_id: "revoked"} == home.house.statuses()

    home.api.status = 200
    home.api.answer = {
        "receiptId": sale.purchase_id,
        "productId": sale.product_id,
        "productType": "SUBSCRIPTION",
        "purchaseDate": sale.purchased_at_ms,
        "cancelDate": sale.purchased_at_ms,
        "cancelReason": 1,
    }
    await home.later()
    assert "processed" == home.status(ended)[0]
    assert {sale.user_id: "expired"} == home.house.statuses()


async def test_a_replay_asks_nothing_that_would_change_the_past(home: Home):
    """What was understood for good stays as it is, whatever the API says of the present."""
    sale = sell(home)
    answering(home.api, sale)
    bought = await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()
    before = home.views()

    away(home.api)
    home.api.answers = {"subscriptionsv2": (200, subscription(replace(sale, purchase_id="GPA.9999..7")))}
    reopen(home, bought)
    await home.work()
    assert (before, ("processed", None)) == (home.views(), home.status(bought))

    home.restart()
    away(home.api)
    reopen(home, bought)
    await home.work()
    assert (before, ("processed", None)) == (home.views(), home.status(bought))


async def test_a_replay_learns_what_was_never_looked_up(home: Home):
    """With credentials that came later, what ended without its answers is understood by a replay."""
    sale = sell(home)
    credentials = home.house.runtime
    home.house.runtime = replace(credentials, lookups=NoLookups())
    bought = await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()
    assert ("processed", "not_looked_up:subscriptionsv2") == home.status(bought)

    home.house.runtime = credentials
    answering(home.api, sale)
    reopen(home, bought)
    await home.work()
    assert ("processed", None) == home.status(bought)
    assert {sale.user_id: "active"} == home.house.statuses()


def reopen(home: Home, id_: str) -> None:
    """Replay, as the API does."""
    with home.house.store.write() as connection:
        home.house.queue.notifications += inbox.reopen(connection, [id_], now_ms=0)


async def test_who_was_overtaken_changes_nothing(home: Home):
    """A worker whose understanding is older than another's attempt leaves the row to that one."""
    sale = sell(home)
    away(home.api)
    bought = await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    with home.house.store.read() as connection:
        rows = inbox.load(connection, [bought])
    older = await asyncio.to_thread(understand, home.house.runtime, rows)
    await home.work()
    after = home.rows(tables.notifications)
    processing._commit(home.house.runtime, [bought], older)

    assert after == home.rows(tables.notifications)


async def test_waiting_for_an_answer_is_not_ageing(home: Home):
    """What has taken effect and waits for an answer raises no alarm about the inbox."""
    away(home.api)
    sale = sell(home)
    await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()
    with home.house.store.read() as connection:
        gauges = read_gauges(connection, [])
    assert (0, None) == (gauges.inbox_pending, gauges.inbox_oldest_ms)


async def test_the_promise_is_timed_once(home: Home):
    """From receipt to effect is measured at the first effect, and not again when an answer comes hours later."""
    away(home.api)
    sale = sell(home)
    await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()
    answering(home.api, sale)
    await home.later()

    [metric] = home.house.runtime.metrics.receive_to_effect_seconds.collect()
    assert [1.0] == [s.value for s in metric.samples if s.name.endswith("_count")]


class BrokenLookups(NoLookups):
    """Asks, and breaks."""

    def can_ask(self, app: str, platform: str, kind: str) -> bool:  # noqa: ARG002 - as whoever can
        """Claim that it can."""
        return True

    def ask(self, questions: Any) -> Any:  # noqa: ARG002 - as whoever can
        """Break."""
        raise KeyError("https://with-a-secret.example")


async def test_asking_that_breaks_keeps_nobody_waiting(home: Home):
    """A mistake of ours in asking costs answers, and never a decision."""
    sale = sell(home)
    home.house.tell("google", sale)
    home.house.runtime.lookups.close()
    home.house.runtime = replace(home.house.runtime, lookups=BrokenLookups())
    with capture_logs() as lines:
        void = await home.arrive("google", home.house.simulator("google").refund(sale, home.house.clock()))
        await home.work()

    assert "accepted" == home.status(void)[0]
    assert {sale.user_id: "revoked"} == home.house.statuses()
    assert [{"error": "KeyError", "event": "lookup.broke", "log_level": "error"}] == lines[:1]


def test_whoever_asks_nobody_learns_nothing():
    """Without credentials there is nothing to ask, nothing to wait for and nothing to close."""
    nobody = NoLookups()
    question = Question(APP, "google", Lookup("orders", "GPA.1"), "ntf_1", 0.0)

    assert ({}, 0.0, False) == (
        nobody.ask([question]),
        nobody.reopens_at(APP, "google"),
        nobody.can_ask(APP, "google", "orders"),
    )
    nobody.close()


async def test_why_something_is_quarantined_is_stored_and_shown(tmp_path: Path):
    """The detail of a quarantine is on the notification, for an operator to read."""
    with desk(tmp_path) as at:
        posted = stripe_event("1", "charge.succeeded", charge("1"))
        body = posted.body.replace(b'"livemode"', b'"account": "acct_of_somebody_else", "livemode"')
        accepted = await Inbox(at.store, at.queue).accept(replace(posted, body=body))
        process(at.runtime, [accepted.id])
        with at.store.read() as connection:
            shown = find_notification(connection, accepted.id, action_of=lambda *_: None)

    assert shown is not None
    assert ("quarantined", "connected_account", "charge.succeeded") == (shown.status, shown.reason, shown.detail)


async def test_money_that_contradicts_itself_is_quarantined_with_both_numbers(tmp_path: Path):
    """A refund of more than was paid is kept, takes no access, and says why; a replay says so again."""
    with desk(tmp_path) as at:
        box = Inbox(at.store, at.queue)
        sold = (
            await box.accept(stripe_event("1", "charge.succeeded", charge("1", amount=1000, amount_captured=1000)))
        ).id
        back = (await box.accept(stripe_event("2", "refund.created", refund("1", amount=1500)))).id
        process(at.runtime, [sold, back])
        first = {row["id"]: (row["status"], row["reason"], row["detail"]) for row in at.rows(tables.notifications)}
        with at.store.write() as connection:
            inbox.reopen(connection, [back], now_ms=0)
        process(at.runtime, [back])
        again = {row["id"]: (row["status"], row["reason"], row["detail"]) for row in at.rows(tables.notifications)}

        assert {"user-1": "active"} == at.statuses()
        assert 1 == len(at.rows(tables.refunds))
    assert ("quarantined", "money_contradicts") == first[back][:2]
    assert "1500" in (first[back][2] or "")
    assert "1000" in (first[back][2] or "")
    assert first == again


def test_the_defaults_ask_for_nothing():
    """Without a section of its own and without credentials nothing is asked, and every bound has a value."""
    assert not any(
        section.looks_up for app in SETTINGS.apps.values() if (section := app.platform("stripe")) is not None
    )
    assert 12 == Settings().lookups.max_attempts
