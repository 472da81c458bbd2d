"""A notification is understood a second time: what was learned stays, and what was never asked is learned.

Real: configuration, signatures, store, processing, sweeper, look-ups with their thread, and the API as a server on
this machine. Double: the queue, which is a list, and the clock.
"""

import asyncio
from dataclasses import replace

from tests.worker.home import Home, answering, away, open_home, sell, subscription
from worker import process as processing
from worker.runtime import NoLookups
from worker.store import inbox, tables
from worker.understand import understand

__all__ = ["open_home"]


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
