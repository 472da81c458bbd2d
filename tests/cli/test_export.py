"""`clawback export`: as real processes.

Real: the command, SQLite. What is in the files: `tests/worker/test_export.py`, on both databases.
"""

import json
from pathlib import Path

import pytest

from tests.cli.installation import Installation
from tests.worker.desk import arrival
from tests.worker.stripe_events import a_refunded_subscription
from worker.inbox import Inbox
from worker.process import process


async def test_a_file_is_there_once_it_is_complete(on_sqlite: Installation, tmp_path: Path):
    """Its name says the format; it replaces an older one, for this user alone, with nothing left beside it."""
    inbox = Inbox(on_sqlite.at.store, on_sqlite.at.queue)
    for number, (kind, subject) in enumerate(a_refunded_subscription("1")):
        process(on_sqlite.at.runtime, [(await inbox.accept(arrival(number, kind, subject))).id])
    out = tmp_path / "out"
    out.mkdir()
    (out / "refunds.jsonl").write_text("of yesterday")

    done = on_sqlite("export", "refunds", "-o", str(out / "refunds.jsonl"), "--json")
    assert {"exported": "refunds", "format": "jsonl", "rows": 1, "output": str(out / "refunds.jsonl")} == json.loads(
        done.stdout
    )
    assert "refund" == json.loads((out / "refunds.jsonl").read_text())["object"]
    assert ["refunds.jsonl"] == [file.name for file in out.iterdir()]
    assert 0o600 == (out / "refunds.jsonl").stat().st_mode & 0o777

    assert f"1 refunds in {out / 'r.csv'}.\n" == on_sqlite("export", "refunds", "-o", str(out / "r.csv")).stdout
    told = on_sqlite("export", "events").stdout.splitlines()
    assert len(on_sqlite.at.events()) + 1 == len(told)
    assert told[0].startswith("id,type,timestamp,app")


def test_a_file_that_cannot_be_completed_is_left_as_it_was(on_sqlite: Installation, tmp_path: Path):
    """Without pyarrow Parquet is one line that says how to get it, and the older file stays."""
    (tmp_path / "pyarrow.py").write_text("raise ImportError(name='pyarrow')")
    out = tmp_path / "out"
    out.mkdir()
    (out / "refunds.parquet").write_text("of yesterday")

    done = on_sqlite("export", "refunds", "-o", str(out / "refunds.parquet"), environment={"PYTHONPATH": str(tmp_path)})

    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "pip install 'clawback[parquet]'" in done.stderr
    assert [("refunds.parquet", "of yesterday")] == [(file.name, file.read_text()) for file in out.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ((), 2, "name what to export: refunds or events"),
        (("purchases",), 2, "'purchases' is not one of 'refunds', 'events'"),
        (("refunds", "--format", "parquet"), 2, "name a file with --output"),
        (("refunds", "--json"), 2, "name a file with --output"),
        (("events", "--since", "7d", "--until", "8d"), 2, "--until is not after --since"),
        (("refunds", "-o", "/nowhere/at/all.csv"), 1, "/nowhere/at is no directory"),
    ],
)
def test_a_mistake_is_one_line(on_sqlite: Installation, arguments: tuple[str, ...], code: int, line: str):
    """What cannot be done is refused in one line, and nothing is printed as if it were a result."""
    done = on_sqlite("export", *arguments)

    assert (code, "") == (done.returncode, done.stdout)
    assert 1 == len(done.stderr.splitlines())
    assert line in done.stderr
