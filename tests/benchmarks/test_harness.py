"""The pure parts of the harness: what goes over the wire, what is read from /proc and from the server's log."""

import asyncio
import json

import pytest
import uvloop

from tests.benchmarks.figures import percentile
from tests.benchmarks.fill import IDS
from tests.benchmarks.growth import report
from tests.benchmarks.load import ends_at, request, shoot
from tests.benchmarks.plans import Plan, read_log, read_plan
from tests.benchmarks.profile import shares
from tests.benchmarks.scope import Scope
from tests.benchmarks.servers import answering
from tests.benchmarks.usage import fields
from worker.store.tables import metadata

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_request_carries_its_length():
    """A request names its headers and the length of its body, and ends with it."""
    made = request("/x", b"body", {"stripe-signature": "t=1"})

    assert made.startswith(b"POST /x HTTP/1.1\r\n")
    assert made.endswith(b"stripe-signature: t=1\r\ncontent-length: 4\r\n\r\nbody")
    assert len(made) == ends_at(made)


@pytest.mark.parametrize("size", range(len(ANSWER)))
def test_a_part_of_an_answer_is_not_taken_for_all_of_it(size):
    """Until the last byte is there, an answer has no end, or one that is still ahead."""
    assert 0 == ends_at(ANSWER[:size]) or len(ANSWER) == ends_at(ANSWER[:size]) > size


def test_an_answer_ends_where_the_next_begins():
    """What follows an answer does not belong to it."""
    assert len(ANSWER) == ends_at(ANSWER + ANSWER)


def test_an_answer_without_its_length_is_refused():
    """The generator reads no chunked answers, and says so."""
    with pytest.raises(ValueError, match="without its length"):
        ends_at(b"HTTP/1.1 200 OK\r\n\r\n")


@pytest.mark.parametrize(("line", "accepted"), [(b"200 OK", 20), (b"400 Bad Request", 0)])
def test_only_a_200_counts(line, accepted):
    """Every request is sent once; an answer that is not 200 is counted as refused."""
    answer = ANSWER.replace(b"200 OK", line)
    with answering(answer, uvloop.new_event_loop) as port:
        shooting = shoot(port, [request("/", b"x" * 10_000, {})] * 20, connections=3)

    assert (accepted, 20 - accepted) == (shooting.accepted, shooting.refused)
    assert accepted == len(shooting.waits)


def test_whoever_hears_503_comes_again():
    """A request that is not let in is sent once more, and counts when it is accepted."""
    with answering(ANSWER, uvloop.new_event_loop, ANSWER.replace(b"200 OK", b"503 Service Unavailable")) as port:
        shooting = shoot(port, [request("/", b"x", {})] * 20, connections=3)

    assert (20, 0, 3) == (shooting.accepted, shooting.refused, shooting.repeated)


def test_a_line_of_proc_is_read_past_any_name():
    """A process may call itself anything: its parent and its ticks are found behind the last parenthesis."""
    line = "7 (a) b) (c)) S 3 " + " ".join(str(number) for number in range(5, 30))

    parent, seconds = fields(line)

    assert 3 == parent
    assert seconds > 0


def test_a_plan_names_what_it_read():
    """A plan says which index it went through, and which table it read from end to end."""
    plan = read_plan(
        {
            "Query Text": "SELECT *\n FROM a, b WHERE a.x IN ($1::TEXT, $2::TEXT, $3::TEXT)",
            "Plan": {
                "Node Type": "Nested Loop",
                "Plans": [
                    {"Node Type": "Seq Scan", "Relation Name": "a"},
                    {"Node Type": "Index Scan", "Relation Name": "b", "Index Name": "pk_b"},
                    {"Node Type": "Function Scan", "Function Name": "unnest"},
                ],
            },
        }
    )

    assert "SELECT * FROM a, b WHERE a.x IN ($1::TEXT, …)" == plan.statement
    assert ("Seq Scan a", "Index Scan pk_b") == plan.scans
    assert ("a",) == plan.whole


def test_plans_are_read_from_the_log(tmp_path):
    """Of what the server logged since, each statement is told once, whatever else stands between."""
    document = json.dumps({"Query Text": "SELECT 1", "Plan": {"Node Type": "Result"}}, indent=2)
    entry = f"2026-01-01 UTC [1] LOG:  duration: 0.1 ms  plan:\n{document}\n".replace("\n", "\n\t")
    log = tmp_path / "log"
    log.write_text(f"before {entry}\n2026 LOG: checkpoint\n{entry}{entry}")

    assert ["SELECT 1"] == [plan.statement for plan in read_log(log, len("before"))]


def test_pages_of_a_statement_are_the_mean_of_all_its_runs(tmp_path):
    """What a statement looked at is told of all the times that it was run."""
    log = tmp_path / "log"
    with log.open("w") as file:
        for hit, read, images in ((3, 0, 0), (2, 3, 1)):
            plan = {"Node Type": "Result", "Shared Hit Blocks": hit, "Shared Read Blocks": read, "WAL FPI": images}
            file.write(f"duration: 0.1 ms  plan:\n{json.dumps({'Query Text': 'SELECT 1', 'Plan': plan})}\n")

    assert [(4, 0.5)] == [(plan.pages, plan.images) for plan in read_log(log, 0)]


def test_growth_names_a_table_that_is_read_from_end_to_end():
    """The report has each statement's pages beside those of the small ledger, and what grows and is read whole."""
    few, many = (Plan("SELECT 1", ("Seq Scan events",), ("events",), pages, 0.5) for pages in (4, 4_000))

    said = report([few], [many])

    assert "pages looked at 4000, logged whole 0.5, with 10,000 rows 4 and 0.5" in said
    assert said.endswith("READ FROM END TO END: events")
    assert report([], []).endswith("No table that grows is read from end to end.")


def test_every_table_that_grows_is_filled():
    """What is multiplied are tables of ours, by columns of theirs; only what stays small is left out."""
    small = {"subscribers", "attempts", "idempotency", "locks", "marks", "tokens", "audit"}

    assert {table.name for table in metadata.sorted_tables} - small == set(IDS)
    assert all(name in metadata.tables[table].c for table, names in IDS.items() for name in names)


@pytest.mark.parametrize(
    ("words", "wanted"), [((), True), (("stripe",), True), (("STRIPE", "2p"), True), (("stripe", "sqlite"), False)]
)
def test_all_words_have_to_be_in_the_name(words, wanted):
    """A line is measured if every word is somewhere in its name, in capitals or not."""
    assert wanted is Scope(words).wants("accepted, Stripe", "2p")


def test_an_empty_loop_is_closed():
    """The generator leaves no event loop behind."""
    with answering(ANSWER, asyncio.new_event_loop) as port:
        waits = shoot(port, [request("/", b"", {})] * 2).waits

    assert percentile(waits, 1.0) > 0


def test_a_profile_counts_a_function_once_for_each_sample():
    """What calls itself is counted once, whatever the line; alone counts only who ran."""
    inclusive, alone = shares(["main (a.py:1);fold (b.py:7);fold (b.py:9) 3", "main (a.py:2) 1"])

    assert {"main (a.py)": 1.0, "fold (b.py)": 0.75} == inclusive
    assert {"fold (b.py)": 0.75, "main (a.py)": 0.25} == alone
