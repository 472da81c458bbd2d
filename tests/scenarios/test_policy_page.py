"""docs/policy.md is true: it has every rule with its default, and what its examples say is what happens.

Real: the configuration's model, placing, folding and deciding. Double: nothing.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest

from config.policy import Policy
from schemas.resources import Event
from tests.handlers.entries import Story, day
from tests.house.tree import ROOT
from tests.scenarios.policy_stories import EXAMPLES
from tests.scenarios.shop import hear, hear_in_any_order, run_out, shop, types

pytestmark = pytest.mark.unit

PAGE = (ROOT / "docs" / "policy.md").read_text("utf-8")
CHOICES: Mapping[str, tuple[Any, ...]] = {"full_refund_from_percent": (100, 90), "late_renewal_hours": (24, 0)}
"""What the page tries, where the type of a rule does not list it."""

Row = Mapping[str, str]


def _sections() -> dict[str, str]:
    """Cut the page into its rules."""
    rules = PAGE.partition("\n## Rules\n")[2].partition("\n## ")[0]
    return {
        heading.strip("`"): text for heading, _, text in (part.partition("\n") for part in rules.split("\n### ")[1:])
    }


def _table(section: str) -> Iterator[Row]:
    """Read the one table of a section, by the words of its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    yield from (dict(zip(head, row, strict=True)) for row in rows)


def _rows() -> Iterator[Any]:
    for rule, section in _sections().items():
        for row in _table(section):
            yield pytest.param(rule, row, id=f"{rule}={row['with'].strip('`')}")


def _quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _told(rule: str, choice: Any) -> tuple[Story, list[Event]]:
    """Tell the example of a rule under one choice."""
    example = EXAMPLES[rule]()
    app = shop(**{rule: choice})
    looked_on = 364 if example.looked_on is None else example.looked_on
    hear_in_any_order(*([entry] for entry in (*example.before, *example.then)), app=app, on_day=looked_on)
    story = Story(app)
    if example.looked_on is not None:
        story.now_ms = example.before[-1].occurred_at_ms
    hear(story, *([entry] for entry in example.before))
    story.now_ms = day(looked_on)
    lapsed = hear(story, *([each] for each in run_out(story))) if example.looked_on is not None else []
    return story, [*lapsed, *hear(story, *([entry] for entry in example.then))]


def test_the_page_has_every_rule_in_the_order_of_the_code() -> None:
    """Each rule of the policy, and no other, has a section, and an example."""
    assert list(Policy.model_fields) == list(_sections()) == list(EXAMPLES)


@pytest.mark.parametrize("rule", EXAMPLES)
def test_the_page_names_the_default(rule: str) -> None:
    """The default on the page is that of the code, and the first row shows it."""
    default, section = json.dumps(Policy.model_fields[rule].default), _sections()[rule]

    assert section.strip().startswith(f"Default: `{default}`. ")
    assert f"`{default}`" == next(_table(section))["with"]


@pytest.mark.parametrize("rule", EXAMPLES)
def test_the_page_tells_the_story_of_the_test(rule: str) -> None:
    """The example's sentence is the story's own, and the page says where that is."""
    section, example = _sections()[rule], EXAMPLES[rule]

    assert f"\nExample: {example.__doc__}\n" in section
    assert section.strip().endswith(f"Story: `tests/scenarios/policy_stories.py: {example.__name__}`")


@pytest.mark.parametrize("rule", EXAMPLES)
def test_the_page_tries_every_choice(rule: str) -> None:
    """Every value that a rule can have has a row."""
    choices = CHOICES.get(rule) or get_args(Policy.model_fields[rule].annotation)

    assert sorted(json.dumps(choice) for choice in choices) == sorted(
        row["with"].strip("`") for row in _table(_sections()[rule])
    )


@pytest.mark.parametrize(("rule", "row"), list(_rows()))
def test_each_row_of_the_page_is_what_happens(rule: str, row: Row) -> None:
    """Under this choice the story has this outcome, these events and this rule on them, in any order of arrival."""
    story, events = _told(rule, json.loads(row["with"].strip("`")))

    assert _quoted(row["events"]) == types(events)
    decided = [event.data.cause.rule for event in events]
    assert _quoted(row["rule"]) == decided[-1:]
    if "units to take" in row:
        balances = [event.data.balance for event in events if event.data.balance]
        taken = [(str(balance.units), balance.allow_negative) for balance in balances]
        written = (
            [(row["units to take"], row["below zero"].startswith("yes"))] if row["units to take"] != "none" else []
        )
        assert written == taken
    else:
        access = next(row[head] for head in row if head.startswith("access"))
        assert [story.status(EXAMPLES[rule]().user)] == _quoted(access)
