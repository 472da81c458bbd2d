"""`clawback dead`: as real processes, on a database of either kind.

Real: the command, both databases. Absent: a broker and workers, so what is accepted again stays so.
"""

import json

import pytest

from tests.cli.installation import Installation
from tests.handlers.entries import NOW_MS
from worker.store import tables

MINUTE_MS = 60_000


def test_a_list_shows_who_waits_for_somebody(installed: Installation):
    """What is dead is listed, the oldest first; filters choose, and what is quarantined is asked for by name."""
    installed.put("new", received_at_ms=NOW_MS + MINUTE_MS, reason="error:KeyError")
    installed.put("old", reason="error:ValueError", type="charge.refunded")
    installed.put("odd", status="quarantined", reason="unknown_type")
    installed.put("done", status="processed")

    def listed(*options: str) -> tuple[list[str], bool]:
        answer = json.loads(installed("dead", "list", *options, "--json").stdout)
        return [each["id"] for each in answer["data"]], answer["has_more"]

    assert (["ntf_old", "ntf_new"], False) == listed()
    assert (["ntf_old"], True) == listed("--limit", "1")
    assert (["ntf_odd"], False) == listed("--status", "quarantined")
    assert ([], False) == listed("--platform", "apple")
    table = installed("dead", "list", "--type", "charge.refunded").stdout
    assert "ntf_old" in table
    assert "ntf_new" not in table


def test_one_is_shown_whole(on_sqlite: Installation):
    """What it is, why it is there and how far it came: for people in words, for programs as the API's resource."""
    id_ = on_sqlite.put("1", reason="error:KeyError")

    shown = json.loads(on_sqlite("dead", "show", id_, "--json").stdout)
    assert {"id": id_, "status": "dead", "reason": "error:KeyError", "attempts": 8}.items() <= shown.items()
    assert "error:KeyError" in on_sqlite("dead", "show", id_).stdout
    missing = on_sqlite("dead", "show", "ntf_2")
    assert (1, "clawback: there is no notification ntf_2; nothing was done\n") == (missing.returncode, missing.stderr)


def test_all_are_retried_once_somebody_says_yes(installed: Installation):
    """Where nobody can be asked, --all does nothing without --yes; then it retries what is chosen, and nothing else."""
    installed.put("1")
    installed.put("2", platform="google")
    installed.put("odd", status="quarantined")

    unsure = installed("dead", "retry", "--all")
    assert (2, 1) == (unsure.returncode, len(unsure.stderr.splitlines()))
    assert "2 notifications (2 dead) would be retried: say --yes" in unsure.stderr
    assert {"ntf_1": "dead", "ntf_2": "dead", "ntf_odd": "quarantined"} == installed.statuses()

    done = installed("dead", "retry", "--all", "--platform", "google", "--yes", "--json")
    assert {"retried": 1} == json.loads(done.stdout)
    assert {"ntf_1": "dead", "ntf_2": "accepted", "ntf_odd": "quarantined"} == installed.statuses()
    assert "1 accepted again, for the workers to take up.\n" == installed("dead", "retry", "ntf_1").stdout
    assert "Nothing is there to retry.\n" == installed("dead", "retry", "--all").stdout


def test_what_is_discarded_stays_on_record(installed: Installation):
    """It is ignored as discarded, with what it was and why, and can be taken back."""
    first, second = installed.put("1", reason="error:KeyError"), installed.put("2", status="quarantined")

    done = installed("dead", "discard", first, second, "--note", "a test of 2019")
    assert (0, "2 discarded; `clawback replay ID` takes it back.\n") == (done.returncode, done.stdout)
    kept = {row["id"]: (row["status"], row["reason"], row["detail"]) for row in installed.at.rows(tables.notifications)}
    assert {
        first: ("ignored", "discarded", "was dead, error:KeyError; a test of 2019"),
        second: ("ignored", "discarded", "was quarantined; a test of 2019"),
    } == kept

    assert 0 == installed("replay", first).returncode
    assert {first: "accepted", second: "ignored"} == installed.statuses()


def test_what_waits_for_nobody_is_left_alone(on_sqlite: Installation):
    """Only what is dead or quarantined is retried or discarded; with anything else among them nothing is done."""
    dead, done = on_sqlite.put("1"), on_sqlite.put("2", status="processed")
    going = on_sqlite.put("3", status="accepted")

    refusals = (("retry", done, "`clawback replay` repeats it"), ("discard", going, "it is on its way"))
    for verb, other, advice in refusals:
        refused = on_sqlite("dead", verb, dead, other)
        assert (1, 1) == (refused.returncode, len(refused.stderr.splitlines()))
        assert advice in refused.stderr
    assert {dead: "dead", done: "processed", going: "accepted"} == on_sqlite.statuses()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("retry",), "name notifications by their ids, or say --all"),
        (("retry", "ntf_1", "--all"), "name notifications by their ids, or say --all"),
        (("discard",), "Missing argument 'ID...'"),
        (("discard", "ntf_1", "--note", "two\nlines"), "--note is one line"),
        (("list", "--status", "processed"), "'processed' is not one of 'dead', 'quarantined'"),
        (("bury",), "No such command 'bury'"),
    ],
)
def test_a_mistake_is_one_line(on_sqlite: Installation, arguments: tuple[str, ...], line: str):
    """What cannot be meant is refused in one line, with exit code 2."""
    done = on_sqlite("dead", *arguments)

    assert (2, "") == (done.returncode, done.stdout)
    assert 1 == len(done.stderr.splitlines())
    assert line in done.stderr
