"""`clawback prune`: as real processes, on a database of either kind."""

import json
import time

from config.settings import Settings
from tests.cli.installation import Installation
from tests.services import on_valkey, valkey
from tests.store.outbox_story import enqueue, event
from worker.broker import make_broker, queue_depths
from worker.store import feed, tables

__all__ = ["on_valkey", "valkey"]

DAY_MS = 86_400_000


def test_everything_goes_that_is_older_than_it_is_kept(installed: Installation):
    """A dry run counts and changes nothing; then it is gone at once, however many batches that takes."""
    now_ms = int(time.time() * 1000)
    old = {"received_at_ms": now_ms - 99 * DAY_MS, "finished_at_ms": now_ms - 99 * DAY_MS}
    installed.put("old", status="processed", **old)
    installed.put("dead", **old)
    installed.put("new", status="processed", received_at_ms=now_ms, finished_at_ms=now_ms)
    told = [event(number) for number in range(1, 1_203)]
    with installed.at.store.write() as connection:
        feed.append(connection, told, now_ms=now_ms - 99 * DAY_MS)
        enqueue(connection, told[:1], now_ms)
    keep = {"CLAWBACK_STORE__KEEP_NOTIFICATIONS_DAYS": "30", "CLAWBACK_STORE__KEEP_EVENTS_DAYS": "60"}

    dry = json.loads(installed("prune", "--dry-run", "--json", environment=keep).stdout)
    assert {"events": 1202, "deliveries": 0, "notifications": 1, "answers": 0, "dry_run": True} == dry
    assert 3 == len(installed.statuses())

    done = installed("prune", environment=keep)
    assert (0, "1201 events, 0 deliveries, 1 notifications, 0 answers gone.\n") == (done.returncode, done.stdout)
    assert {"ntf_dead", "ntf_new"} == installed.statuses().keys()
    assert 1 == len(installed.at.rows(tables.events))


def test_a_worker_is_asked(installed: Installation, on_valkey: Settings):
    """Whoever does not want to wait has a worker do it, which is on record; one without a broker hears so."""
    where = {"CLAWBACK_BROKER__URL": on_valkey.broker.url, "CLAWBACK_BROKER__NAMESPACE": on_valkey.broker.namespace}
    asked = installed("prune", "--by-worker", "--json", environment=where)
    nobody = installed("prune", "--by-worker", environment={"CLAWBACK_BROKER__URL": "redis://127.0.0.1:1"})
    both = installed("prune", "--by-worker", "--dry-run")

    broker = make_broker(on_valkey)
    notifications, _ = queue_depths(broker, time.time())
    broker.close()
    assert ({"asked": True}, 1) == (json.loads(asked.stdout), notifications.messages["ready"])
    assert {"store.prune"} == {row["action"] for row in installed.at.rows(tables.audit)}
    assert [(1, 1), (2, 1)] == [(one.returncode, len(one.stderr.splitlines())) for one in (nobody, both)]


def test_what_is_kept_for_ever_is_named(installed: Installation):
    """Where the configuration keeps something for ever, it stays, and the keys that would change that are named."""
    installed.put("old", status="processed", received_at_ms=1, finished_at_ms=1)

    done = installed("prune")
    assert "keep_events_days, keep_notifications_days" in done.stdout
    assert {"ntf_old"} == installed.statuses().keys()


def test_too_short_is_refused(installed: Installation):
    """What is to be kept for less than platforms repeat themselves is a mistake in one line."""
    done = installed("prune", environment={"CLAWBACK_STORE__KEEP_NOTIFICATIONS_DAYS": "7"})

    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "is less than 30: repetitions would be taken for news" in done.stderr
