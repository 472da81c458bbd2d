"""What is exported is what there is: every refund and every event once, in each format.

Real: both databases, processing, the formats, and pyarrow where it is installed. Double: the queue and the clock.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.resources import Refund
from tests.worker.desk import Desk, arrival, desk
from tests.worker.stripe_events import a_refunded_subscription
from worker import export
from worker.inbox import Inbox
from worker.process import process
from worker.spreadsheets import FORMATS, Columns, Item, harmless
from worker.store import exports, feed, queries
from worker.store.exports import Span

SALES = 5
SECONDS_BETWEEN = 100


@pytest.fixture(name="at")
async def _at(tmp_path: Path, store_url: str) -> Any:
    with desk(tmp_path, url=store_url) as at:
        inbox = Inbox(at.store, at.queue)
        for sale in range(SALES):
            for number, (kind, subject) in enumerate(a_refunded_subscription(str(sale))):
                later = {"created": subject["created"] + sale * SECONDS_BETWEEN} if "created" in subject else {}
                accepted = await inbox.accept(arrival(f"{sale}_{number}", kind, {**subject, **later}))
                process(at.runtime, [accepted.id])
            at.clock.now += SECONDS_BETWEEN
        yield at


def written(name: str, columns: Columns, stretches: Iterator[export.Stretch]) -> bytes:
    """Write it all."""
    sink = io.BytesIO()
    writer = FORMATS[name](sink, columns)
    for _, items in stretches:
        writer.write(items)
    writer.close()
    return sink.getvalue()


def all_refunds(at: Desk) -> list[Refund]:
    """Read the refunds as the API lists them, oldest first."""
    with at.store.read() as connection:
        return queries.list_refunds(connection, {}, after=None, limit=100)[::-1]


def all_events(at: Desk) -> list[str]:
    """Read the documents of the feed."""
    with at.store.read() as connection:
        return [told.document for told in feed.read_feed(connection, after=0, limit=500).events]


async def test_json_lines_are_what_the_api_answers(at: Desk):
    """A line per refund and per event, each the document that the API has, in order."""
    refunds = written("jsonl", export.REFUND_COLUMNS, export.refunds(at.store, Span())).decode().splitlines()
    events = written("jsonl", export.EVENT_COLUMNS, export.events(at.store, Span())).decode().splitlines()

    assert SALES == len(refunds)
    assert [each.model_dump(mode="json", exclude={"charge"}) for each in all_refunds(at)] == [*map(json.loads, refunds)]
    assert all_events(at) == events


async def test_stretches_make_no_difference(at: Desk):
    """However little is read at a time, each comes once, also where several were made in the same second."""
    found = [each for some in exports.read_refunds(at.store, Span(), stretch=2) for each in some]
    with at.store.read() as connection:
        bounds = exports.feed_bounds(connection, Span())
    told = [each for _, some in exports.read_events(at.store, Span(), bounds, stretch=3) for each in some]

    assert all_refunds(at) == found
    assert all_events(at) == told


async def test_a_span_is_from_a_moment_to_before_another(at: Desk):
    """What was made or told at the first moment is in, at the last it is not; other filters choose too."""
    moments = sorted({refund.created_at * 1000 for refund in all_refunds(at)})
    since, until = moments[1], moments[3]
    told = [json.loads(each)["timestamp"] for each in all_events(at)]
    spans = [
        Span(app="other"),
        Span(platform="apple"),
        Span(environment="sandbox"),
        Span(since_ms=10**14),
        Span(until_ms=0),
    ]

    within = [each for some in exports.read_refunds(at.store, Span(since_ms=since, until_ms=until)) for each in some]
    assert moments[1:3] == [refund.created_at * 1000 for refund in within]
    for span in spans:
        assert [] == [item for _, items in export.refunds(at.store, span) for item in items]
        assert [] == [item for _, items in export.events(at.store, span) for item in items]
    half = Span(since_ms=_ms(told[3]), until_ms=_ms(told[-3]), platform="stripe", app="acme", environment="production")
    chosen = [item.cells["timestamp"] for _, items in export.events(at.store, half) for item in items]
    assert [ms for ms in map(_ms, told) if _ms(told[3]) <= ms < _ms(told[-3])] == chosen


def _ms(timestamp: str) -> int:
    return export._milliseconds(timestamp)


async def test_a_table_has_amounts_in_minor_units_and_times_in_words(at: Desk):
    """In CSV a refund's amount is an integer, its time ISO 8601, and what is not known an empty cell."""
    first = all_refunds(at)[0]
    [row, *_] = csv.DictReader(
        io.StringIO(written("csv", export.REFUND_COLUMNS, export.refunds(at.store, Span())).decode())
    )

    assert list(export.REFUND_COLUMNS) == list(row)
    assert (str(first.amount), first.currency, first.user_id, "false") == (
        row["amount"],
        row["currency"],
        row["user_id"],
        row["offline"],
    )
    assert row["created_at"].endswith("Z")
    assert first.created_at * 1000 == _ms(row["created_at"])
    assert "" == row["failed_at"]


async def test_parquet_has_the_same_in_types(at: Desk):
    """The table that Parquet holds has integers, moments and booleans, and the same rows as CSV."""
    pyarrow = pytest.importorskip("pyarrow", reason="pip install 'clawback[parquet]'")
    parquet = pytest.importorskip("pyarrow.parquet")
    for columns, read in ((export.REFUND_COLUMNS, export.refunds), (export.EVENT_COLUMNS, export.events)):
        table = parquet.read_table(io.BytesIO(written("parquet", columns, read(at.store, Span()))))
        rows = list(csv.DictReader(io.StringIO(written("csv", columns, read(at.store, Span())).decode())))
        assert list(columns) == table.column_names
        assert len(rows) == table.num_rows > 0
        assert pyarrow.int64() == table.schema.field("amount").type
        assert [row["amount"] for row in rows] == ["" if n is None else str(n) for n in table["amount"].to_pylist()]
        assert [row["id"] for row in rows] == table["id"].to_pylist()


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", *"\uff1d\uff0b\uff0d\uff20"])
def test_no_cell_is_a_formula(begin: str):
    """Whatever a spreadsheet would compute has an apostrophe before it; a negative number of ours has none."""
    text = f"{begin}HYPERLINK(0)"
    columns: Columns = {"text": "text", "number": "integer"}
    lines = written("csv", columns, iter([(1, [Item("", {"text": text, "number": -5})])])).decode()

    assert [["text", "number"], [f"'{text}", "-5"]] == list(csv.reader(io.StringIO(lines, newline="")))
    assert "user-1" == harmless("user-1")


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5))
def test_csv_reads_back(texts: list[str]):
    """Commas, quotes and line ends in a cell stay in it."""
    columns: Columns = {f"c{number}": "text" for number in range(len(texts))}
    items = [Item("", dict(zip(columns, texts, strict=True)))]
    lines = written("csv", columns, iter([(1, items)])).decode()

    assert [list(columns), [harmless(text) for text in texts]] == list(csv.reader(io.StringIO(lines, newline="")))
