"""Forgetting what is older than it is to be kept.

Real: both databases, sweeper, outbox, timeline. Double: the queue and the clock.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.event import listen

from config.settings import Settings
from config.settings import Store as Kept
from handlers.backoff import Verdict
from schemas.resources import Event
from tests.handlers.entries import NOW_MS, acme, bought
from tests.store.outbox_story import enqueue, event, subscribe, subscriber
from tests.worker.desk import SETTINGS, Desk, Statements, desk
from worker.commit import Bookkeeper
from worker.store import feed, outbox, retention, standing, tables, timeline
from worker.store.attempts import Attempt, record
from worker.store.deliveries import queue_missed
from worker.store.retention import Pruned
from worker.store.subscribers import ENABLED, change_subscriber
from worker.sweeper import PRUNED_MAX, prune, tidy

DAY_MS = 86_400_000
KEPT: Settings = SETTINGS.model_copy(update={"store": Kept(keep_events_days=30, keep_deliveries_days=10)})


@pytest.fixture(name="at")
def _at(tmp_path: Path, store_url: str) -> Iterator[Desk]:
    with desk(tmp_path, url=store_url, settings=KEPT) as opened:
        yield opened


def tell(at: Desk, *told: Event, days_ago: float) -> list[str]:
    """Tell events some days ago; give the deliveries that may begin."""
    now_ms = int(at.clock() * 1000 - days_ago * DAY_MS)
    with at.store.write() as connection:
        feed.append(connection, told, now_ms=now_ms)
        return enqueue(connection, told, now_ms)


def finish(at: Desk, ids: list[str], *, days_ago: float, outcome: str = "delivered") -> None:
    """Attempt these some days ago."""
    now_ms = int(at.clock() * 1000 - days_ago * DAY_MS)
    with at.store.write() as connection:
        claims = outbox.claim(connection, ids, now_ms).claims
        verdict = Verdict(outcome) if outcome != "failed" else Verdict("failed", wait_seconds=1.0)  # type: ignore[arg-type]  # as the cases say
        assert len(ids) == len(claims)
        record(connection, [Attempt(claim, verdict, now_ms, 1.0, 200, None) for claim in claims], now_ms)


def kept(at: Desk) -> list[int]:
    """List the customer's numbers of the events that are there."""
    return [told.sequence or 0 for told in at.events()]


def cut(at: Desk) -> int:
    """Read how far the feed is cut off."""
    with at.store.read() as connection:
        return feed.pruned_position(connection)


def round_of(at: Desk, forget: Callable[..., Pruned], *, limit: int) -> list[int]:
    """Go one round; count what each batch has forgotten."""
    counts: list[int] = []
    after: int | None = 0
    while after is not None and len(counts) < 20:
        with at.store.write() as connection:
            batch = forget(connection, before_ms=NOW_MS - DAY_MS, limit=limit, after=after)
        counts.append(batch.events + batch.deliveries)
        after = batch.end
    return counts


def test_old_events_go_from_the_beginning(at: Desk):
    """What was told before the days that are kept is gone, a mark says how far, and what is newer stays."""
    for number, days in enumerate((40, 35, 31, 29, 0), start=1):
        tell(at, event(number), days_ago=days)

    assert not prune(at.runtime)
    assert [4, 5] == kept(at)
    with at.store.read() as connection:
        page = feed.read_feed(connection, after=0, limit=10)
        assert (cut(at), [4, 5]) == (page.pruned, [row.position - cut(at) + 3 for row in page.events])
    assert not prune(at.runtime)
    assert [4, 5] == kept(at)


def test_the_newest_event_stays(at: Desk):
    """However old it is: the end of the feed is known by it, and cursors lead there."""
    tell(at, event(1), event(2), days_ago=100)

    prune(at.runtime)

    assert [2] == kept(at)


def test_a_batch_is_bounded_and_says_that_there_is_more(at: Desk):
    """One batch takes so many and no more, and the next goes on behind it."""
    tell(at, *(event(n) for n in range(1, 8)), days_ago=100)

    assert [3, 3, 0] == round_of(at, retention.prune_events, limit=3)
    assert [7] == kept(at)


def test_what_a_pending_delivery_needs_stays(at: Desk):
    """An event that is still on its way is kept, out of the feed's sight, and goes once it has arrived."""
    subscribe(at.store, subscriber())
    (slow,) = tell(at, event(1, user="slow"), days_ago=40)
    (done,) = tell(at, event(2, user="done"), days_ago=40)
    tell(at, event(3, user="new"), days_ago=0)
    finish(at, [done], days_ago=39)
    finish(at, [slow], days_ago=39, outcome="failed")

    prune(at.runtime)
    assert ["slow", "new"] == [each.customer.user_id for each in at.events() if each.customer]
    with at.store.read() as connection:
        assert 1 == len(feed.read_feed(connection, after=0, limit=10).events)
    assert done not in {row["id"] for row in at.rows(tables.deliveries)}

    finish(at, [slow], days_ago=0)
    prune(at.runtime)
    assert [3] == kept(at)
    assert slow not in {row["id"] for row in at.rows(tables.deliveries)}
    assert [] == at.rows(tables.attempts)


def test_what_is_still_needed_hides_nothing_behind_it(at: Desk):
    """However many old events a paused subscriber needs: what is needed no more behind them goes all the same."""
    # Each batch used to look at the oldest ones alone, so it saw the same again and again.
    subscribe(at.store, subscriber())
    waiting = [tell(at, event(1, user=f"paused-{n}"), days_ago=40)[0] for n in range(5)]
    slow = [tell(at, event(1, user=f"slow-{n}"), days_ago=39)[0] for n in range(2)]
    tell(at, event(1, user="new"), days_ago=0)
    assert [0, 0, 0, 0] == round_of(at, retention.prune_events, limit=2)
    finish(at, slow, days_ago=38)

    assert [0, 0, 2, 2] == round_of(at, retention.prune_events, limit=2)

    left = {row["id"] for row in at.rows(tables.deliveries)}
    assert (6, {*waiting}) == (len(kept(at)), left & {*waiting, *slow})


def test_an_attempt_that_was_passed_over_is_looked_at_again(at: Desk):
    """What was not to be forgotten in one round is, in a later one, without another attempt."""
    subscribe(at.store, subscriber())
    ids = [tell(at, event(1, user=f"user-{n}"), days_ago=40)[0] for n in range(3)]
    finish(at, ids, days_ago=39, outcome="failed")
    assert [0, 0] == round_of(at, retention.prune_deliveries, limit=2)

    with at.store.write() as connection:
        connection.execute(update(tables.deliveries).values(status="failed", finished_at_ms=0))

    assert [2, 1] == round_of(at, retention.prune_deliveries, limit=2)
    assert [] == at.rows(tables.attempts) == at.rows(tables.deliveries)


def test_a_round_ends_however_much_has_to_stay(at: Desk):
    """A batch each time, what is done is not begun again while the other goes on, and then nothing more is asked."""
    subscribe(at.store, subscriber())
    tell(at, *(event(1, user=f"user-{n}") for n in range(2 * PRUNED_MAX + 2)), days_ago=40)

    rounds = [prune(at.runtime)]
    while rounds[-1] is not None and len(rounds) < 9:
        rounds.append(prune(at.runtime, rounds[-1]))

    assert [True, True, False] == [further is not None for further in rounds]
    assert [None, None] == [further.get("deliveries") for further in rounds if further]
    assert 2 * PRUNED_MAX + 2 == len(kept(at))


def test_finished_deliveries_go_with_their_attempts(at: Desk):
    """Delivered or given up before the days that are kept: gone, with every attempt; the event stays."""
    subscribe(at.store, subscriber())
    ids = [tell(at, event(n, user=f"user-{n}"), days_ago=20)[0] for n in range(1, 5)]
    finish(at, ids[:1], days_ago=15)
    finish(at, ids[1:2], days_ago=15, outcome="dead")
    finish(at, ids[2:3], days_ago=15, outcome="failed")
    finish(at, ids[2:3], days_ago=9)
    finish(at, ids[3:], days_ago=9, outcome="failed")

    prune(at.runtime)
    assert set(ids[2:]) == {row["id"] for row in at.rows(tables.deliveries)}
    assert sorted([*ids[2:3] * 2, ids[3]]) == sorted(row["delivery"] for row in at.rows(tables.attempts))
    assert [1, 2, 3, 4] == kept(at)

    at.clock.now += 2 * 86_400
    prune(at.runtime)
    assert (
        ids[3:]
        == [row["id"] for row in at.rows(tables.deliveries)]
        == [r["delivery"] for r in at.rows(tables.attempts)]
    )


def disable(at: Desk, whom: str, *, days_ago: float) -> None:
    """Disable a subscriber."""
    with at.store.write() as connection:
        assert standing.disable(connection, whom, "gone", int(at.clock() * 1000 - days_ago * DAY_MS))


def enable(at: Desk, whom: str, *, days_ago: float) -> None:
    """Give it another chance, as an operator does."""
    with at.store.write() as connection:
        now = {**ENABLED, "changed_at": int(at.clock() - days_ago * 86_400)}
        change_subscriber(connection, whom, now)


def make_up_for(at: Desk, whom: str) -> int:
    """Ask for what it missed; count what is in line now and was not."""
    with at.store.write() as connection:
        return queue_missed(connection, whom, int(at.clock() * 1000)).queued


def missed_after(at: Desk) -> int | None:
    """Tell from where on the subscriber missed events."""
    ((after,),) = [{row["missed_after"]} for row in at.rows(tables.subscribers)]
    return None if after is None else int(after)


def test_nobody_is_told_again_what_was_told_and_forgotten(at: Desk):
    """What was told after a subscriber was enabled again stays known while it may yet ask for what it missed."""
    # Deliveries of events that are in the feed were forgotten, and were then missed.
    (whom,) = subscribe(at.store, subscriber())
    finish(at, tell(at, event(1), days_ago=28), days_ago=28)
    disable(at, whom, days_ago=27)
    assert [] == tell(at, event(2), days_ago=26)
    enable(at, whom, days_ago=25)
    told = tell(at, event(1, user="another"), days_ago=24)
    finish(at, told, days_ago=24)

    prune(at.runtime)

    assert told == [row["id"] for row in at.rows(tables.deliveries)]
    assert 1 == make_up_for(at, whom)
    assert [event(2).id] == [row["event_id"] for row in at.rows(tables.deliveries) if row["status"] == "pending"]


def test_what_was_made_up_for_is_forgotten_like_the_rest(at: Desk):
    """Once all was told up to when it was enabled again, nothing is missed any more, and deliveries go as usual."""
    (whom,) = subscribe(at.store, subscriber())
    disable(at, whom, days_ago=2)
    tell(at, event(2), days_ago=1)
    enable(at, whom, days_ago=0)
    assert 1 == make_up_for(at, whom)
    assert [] != tell(at, event(1, user="another"), days_ago=0)
    finish(at, [row["id"] for row in at.rows(tables.deliveries)], days_ago=0)

    tidy(at.runtime)
    assert missed_after(at) is not None, "it was enabled just now"
    at.clock.now += 25 * 86_400
    tidy(at.runtime)
    assert missed_after(at) is None
    prune(at.runtime)

    assert [] == at.rows(tables.deliveries)
    assert 0 == make_up_for(at, whom)


@pytest.mark.parametrize("state", ["disabled", "enabled", "paused"])
def test_what_nobody_has_asked_for_stays_missed(at: Desk, state: str):
    """Only what was told, or is not wanted, is passed over: the first event that was not told stays in reach."""
    (whom,) = subscribe(at.store, subscriber(types=["entitlement.*"]))
    disable(at, whom, days_ago=27)
    tell(at, event(1, kind="refund.failed"), event(2, app="other"), event(3), event(4), days_ago=26)
    if state != "disabled":
        enable(at, whom, days_ago=25)
    tell(at, event(1, user="another"), days_ago=24)
    with at.store.write() as connection:
        change_subscriber(connection, whom, {"state": state})

    tidy(at.runtime)

    first, second, *_ = [row["position"] for row in at.rows(tables.events)]
    assert (first - 1 if state == "disabled" else second) == (missed_after(at) or first - 1)
    assert (3 if state == "disabled" else 2) == make_up_for(at, whom)


def test_who_is_disabled_meanwhile_goes_on_missing(tmp_path: Path, emptied: str):
    """Another process disables a subscriber just as it is found to have missed nothing: what comes then is missed."""
    with desk(tmp_path, url=emptied, settings=KEPT) as at:
        (whom,) = subscribe(at.store, subscriber())
        disable(at, whom, days_ago=27)
        enable(at, whom, days_ago=25)
        tell(at, event(1), days_ago=24)
        between: list[str] = []

        def executing(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("UPDATE subscribers") and not between:
                between.append(statement)
                disable(at, whom, days_ago=0)

        listen(at.store.engine, "before_cursor_execute", executing)
        tidy(at.runtime)
        tell(at, event(2), days_ago=0)

        assert 1 == len(between)
        assert 1 == make_up_for(at, whom)


def test_for_ever(at: Desk):
    """With no number of days nothing is forgotten, and nothing is even asked."""
    tell(at, event(1), event(2), days_ago=3_000)
    for_ever = SETTINGS.model_copy(update={"store": Kept(keep_deliveries_days=0)})
    runtime = replace(at.runtime, settings=for_ever)
    statements = Statements().watch(at.store)

    assert not prune(runtime)
    assert [] == statements.texts
    assert [1, 2] == kept(at)


def test_a_timeline_shows_what_is_left(at: Desk):
    """A customer's timeline has what was said for ever, and of what was told what is kept."""
    with at.store.write() as connection:
        keeper = Bookkeeper(connection, [bought(0)], now_ms=NOW_MS)
        keeper.tell([bought(0)], acme())
        keeper.write()
    (user,) = at.statuses()
    tell(at, event(1, user="another"), days_ago=0)
    at.clock.now += 100 * 86_400

    def shown() -> list[str]:
        with at.store.read() as connection:
            items = timeline.list_timeline(connection, {"user_id": user}, after=None, limit=10)
            pages = [
                timeline.list_timeline(connection, {"user_id": user}, after=(ms, i.id), limit=9) for ms, i in items
            ]
        assert list(range(len(items) - 1, -1, -1)) == [len(page) for page in pages]
        return [item.type for _, item in items]

    before = shown()
    prune(at.runtime)

    assert {"entitlement.granted", "ledger.purchased"} <= set(before)
    assert [type_ for type_ in before if type_.startswith("ledger.")] == shown()
