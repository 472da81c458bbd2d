"""`clawback replay`: as real processes, on a database of either kind.

Real: the command, both databases. Absent: a broker and workers, so what is accepted again stays so.
"""

import json

import pytest

from tests.cli.installation import Installation
from tests.handlers.entries import NOW_MS
from worker.store import tables

DAY_MS = 86_400_000


def test_what_is_chosen_is_accepted_again(installed: Installation):
    """Filters mean what they say: app, platform, status and time choose, a dry run changes nothing."""
    installed.put("old", received_at_ms=NOW_MS - 9 * DAY_MS)
    installed.put("google", platform="google")
    installed.put("kept", status="quarantined", reason="unknown_type")
    installed.put("done", status="processed")
    installed.put("dead")
    before = installed.statuses()
    wanted = ("--status", "dead", "--status", "quarantined")
    chosen = ("--platform", "stripe", "--since", str(NOW_MS // 1000 - 60), *wanted)

    dry = json.loads(installed("replay", *chosen, "--dry-run", "--json").stdout)
    assert {"chosen": 2, "by_status": {"dead": 1, "quarantined": 1}, "replayed": 0, "dry_run": True} == dry
    assert before == installed.statuses()

    done = installed("replay", *chosen)
    assert (0, "2 notifications (1 dead, 1 quarantined): 2 accepted again, for the workers to take up.\n") == (
        done.returncode,
        done.stdout,
    )
    assert {**before, "ntf_kept": "accepted", "ntf_dead": "accepted"} == installed.statuses()


def test_ids_are_replayed_all_or_none(installed: Installation):
    """Named notifications are accepted again, each once; with one that is not there, none of them is."""
    first, second = installed.put("1", reason="error:KeyError"), installed.put("2", status="processed")

    missing = installed("replay", first, "ntf_nothing", "ntf_more")
    assert (1, "clawback: there is no notification ntf_nothing, nor 1 more of these; nothing was done\n") == (
        missing.returncode,
        missing.stderr,
    )
    assert "dead" == installed.statuses()[first]

    done = json.loads(installed("replay", first, second, first, "--json").stdout)
    assert {"chosen": 2, "by_status": {"dead": 1, "processed": 1}, "replayed": 2, "dry_run": False} == done
    again = [(row["status"], row["reason"], row["attempts"]) for row in installed.at.rows(tables.notifications)]
    assert [("accepted", None, 0)] * 2 == again


def test_everything_is_what_is_finished(on_sqlite: Installation):
    """With --all and no status, what is on its way is left alone."""
    on_sqlite.put("1", status="ignored")
    on_sqlite.put("2", status="accepted", attempts=3)

    assert 1 == json.loads(on_sqlite("replay", "--all", "--json").stdout)["replayed"]
    assert {0, 3} == {row["attempts"] for row in on_sqlite.at.rows(tables.notifications)}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "name notifications by their ids, or choose them: --status dead, --since 24h, --all"),
        (("ntf_1", "--status", "dead"), "name notifications by their ids, or choose them by options, not both"),
        (("--since", "yesterday-ish"), "'yesterday-ish' is no moment: 2026-11-22"),
        (("--since", "0001-01-01"), "'0001-01-01' is no moment"),
        (("--since", "2026-01-02", "--until", "2026-01-02"), "--until is not after --since"),
        (("--status", "undead"), "'undead' is not one of"),
    ],
)
def test_a_mistake_is_one_line(on_sqlite: Installation, arguments: tuple[str, ...], line: str):
    """What cannot be meant is refused in one line that says what can, with exit code 2."""
    done = on_sqlite("replay", *arguments)

    assert (2, "") == (done.returncode, done.stdout)
    assert 1 == len(done.stderr.splitlines())
    assert line in done.stderr
