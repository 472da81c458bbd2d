"""What becomes of a notification whose platform's API does not answer, or is not asked: it waits, and not for ever.

Real: configuration, signatures, store, processing, sweeper, look-ups with their thread, and the API as a server on
this machine. Double: the queue, which is a list, and the clock.
"""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.settings import Settings
from schemas.meaning import Lookup
from tests.worker.desk import SETTINGS
from tests.worker.home import ATTEMPTS_MAX, Home, away, open_home, opened, sell
from worker.demo.trust import APP
from worker.lookups import Question
from worker.runtime import NoLookups
from worker.store import tables
from worker.store.gauges import read_gauges

__all__ = ["open_home"]


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


async def test_waiting_for_an_answer_is_not_ageing(home: Home):
    """What has taken effect and waits for an answer raises no alarm about the inbox."""
    away(home.api)
    sale = sell(home)
    await home.arrive("google", home.house.simulator("google").purchase(sale, home.house.clock()))
    await home.work()
    with home.house.store.read() as connection:
        gauges = read_gauges(connection, [])
    assert (0, None) == (gauges.inbox_pending, gauges.inbox_oldest_ms)


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


def test_the_defaults_ask_for_nothing():
    """Without a section of its own and without credentials nothing is asked, and every bound has a value."""
    assert not any(
        section.looks_up for app in SETTINGS.apps.values() if (section := app.platform("stripe")) is not None
    )
    assert 12 == Settings().lookups.max_attempts
