"""What the benchmarks say of their samples: pure functions, with samples made up here."""

import json

import pytest

from tests.benchmarks.figures import Figure, Goal, compared, median, number, percentile, table
from tests.benchmarks.memory import slope

pytestmark = pytest.mark.unit

AT_LEAST = Goal("ratio", "least", 0.3)


def test_ratio_is_of_runs_in_turns():
    """Runs in turns are compared one by one: what slowed both down at one time does not count."""
    figure = Figure(1, "rate", "/s", [100.0, 10.0, 60.0], [200.0, 20.0, 200.0])

    assert 0.5 == figure.ratio


def test_ratio_of_uneven_runs_is_of_medians():
    """Where one side ran more often, medians are compared."""
    assert 2.0 == Figure(1, "rate", "/s", [2.0, 4.0, 6.0], [1.0, 2.0, 2.0, 3.0]).ratio


@pytest.mark.parametrize("beside", [[], [0.0, 1.0]])
def test_no_ratio_to_nothing(beside):
    """There is no ratio to nothing, and nothing to judge a goal by."""
    figure = Figure(1, "rate", "/s", [1.0, 1.0], beside, goal=AT_LEAST)

    assert (None, None) == (figure.ratio, figure.met)


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal("ratio", "least", 0.3), 0.3, True),
        (Goal("ratio", "least", 0.3), 0.29, False),
        (Goal("ours", "most", 10), 10.0, True),
        (Goal("ours", "most", 10), 10.1, False),
    ],
)
def test_a_goal_is_met_at_its_bound(goal, value, met):
    """The bound itself is good enough, on either side."""
    assert met is goal.met(value)


def test_a_goal_of_ours_needs_nobody_beside():
    """A goal of our own figure is judged by its median alone."""
    assert Figure(3, "wait", "ms", [9.0, 30.0, 8.0], goal=Goal("ours", "most", 10)).met


def test_the_table_says_what_is_missed():
    """The last line counts the goals that are met, and names the others."""
    figures = [
        Figure(1, "fast", "/s", [40.0], [100.0], "bare", AT_LEAST),
        Figure(1, "slow", "/s", [20.0], [100.0], "bare", AT_LEAST),
        Figure(1, "unjudged", "/s", [20.0]),
    ]

    assert table(figures).endswith("\n1 of 2 goals met. MISSED: slow")
    assert "100 bare" in table(figures)


def test_the_table_lines_up():
    """Every row of the table has its columns where the others have them."""
    rows = table([Figure(1, "a", "/s", [1.0], [3.0], "b"), Figure(1, "much longer", "/s", [1_000_000.0])]).split("\n")

    assert rows[0].index("unit") == rows[1].index("/s") == rows[2].index("/s")


def test_json_holds_every_sample():
    """A program gets every run, and what they come to."""
    document = json.loads(json.dumps(Figure(1, "rate", "/s", [1.0, 3.0], [2.0, 2.0], "bare", AT_LEAST).document()))

    assert {"median": 2.0, "runs": [1.0, 3.0]} == document["ours"]
    assert (1.0, "≥ 0.30 of it", True) == (document["ratio"], document["goal"], document["met"])


def test_embedded_is_held_against_the_usual_database():
    """A rate on the embedded database stands beside the same rate on the usual one, and nothing else does."""
    usual = Figure(1, "accepted, PostgreSQL, 1p", "/s", [100.0])
    figures = [usual, Figure(1, "accepted, SQLite, 1p", "/s", [60.0]), Figure(1, "accepted, SQLite, 2p", "/s", [9.0])]

    (found,) = compared(figures, "PostgreSQL", "SQLite")

    assert (4, 0.6, True) == (found.reach, found.ratio, found.met)


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)]
)
def test_a_percentile_is_a_sample(share, value):
    """A percentile is the smallest sample that so large a share of all does not exceed."""
    assert value == percentile([float(sample) for sample in range(100, 0, -1)], share)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (12_345.6, "12,346"), (99.94, "99.9"), (1.234, "1.23"), (0.0625, "0.0625")]
)
def test_a_number_has_the_places_it_deserves(value, text):
    """Small numbers show more places than large ones."""
    assert text == number(value)


def test_the_median_of_nothing_is_nothing():
    """Where nothing was measured, nothing is said."""
    assert median([]) is None


@pytest.mark.parametrize(("values", "grows"), [([5.0, 5.0, 5.0], 0.0), ([1.0, 3.0, 5.0], 2.0), ([7.0], 0.0)])
def test_the_slope_of_a_line(values, grows):
    """Growth is the slope of the line that fits best; one look shows none."""
    assert grows == slope([float(at) for at in range(len(values))], values)
