"""What each notification means is one table in the code and one in the documents, and they say the same."""

import re
from typing import get_args

import pytest

from handlers import announce
from schemas.base import PlatformName
from tests.house.meaning_tables import HEADER, Pair, differences, meanings_of, rows_of
from tests.house.meaning_tables import tests as every_test
from tests.house.tree import ROOT

CODE: dict[Pair, bool] = {
    ("REFUND", ""): True,
    ("REFUND", "SEATS"): True,
    ("SUBSCRIBED", "*"): True,
    ("TEST", "*"): False,
}
EVENTS = {"refund.succeeded", "entitlement.revoked", "entitlement.granted"}
GOOD = "test_platform_tables::test_the_table_is_what_the_code_does"
TABLE = f"""
## What it means

{HEADER}
|---|---|---|---|---|---|---|
| `SUBSCRIBED` | any | bought | active | - | `entitlement.granted` | `{GOOD}` |
| `REFUND` | | refunded | revoked | succeeded | `refund.succeeded`, `entitlement.revoked` | `{GOOD}`, `{GOOD}` |
| `REFUND` | `SEATS` | as it was | as it was | succeeded, by quantity | `refund.succeeded` | `{GOOD}` |
| `TEST` | any | - | - | - | - | `{GOOD}` |

More is told elsewhere.
"""

DOCTORED = {
    "the table is gone": (TABLE.replace(HEADER, "| type | entry |"), "no table"),
    "two tables": (TABLE + TABLE, "no table"),
    "a row is gone": (re.sub(r"\| `TEST`.*\n", "", TABLE), "no row for TEST with any subtype"),
    "a subtype is gone": (re.sub(r"\| `REFUND` \| `SEATS`.*\n", "", TABLE), "no row for REFUND / SEATS"),
    "a row is invented": (TABLE.replace("`SEATS`", "`SEATS`, `CHAIRS`"), "the code knows no REFUND / CHAIRS"),
    "a row is told twice": (re.sub(r"(\| `TEST`.*\n)", r"\1\1", TABLE), "has a row already"),
    "an event is invented": (TABLE.replace("`entitlement.revoked`", "`entitlement.vanished`"), "entitlement.vanished"),
    "a test is invented": (TABLE.replace(GOOD, "test_apple::test_of_the_emperor", 1), "test_of_the_emperor"),
    "no test is named": (TABLE.replace(f"`{GOOD}` |\n\n", "|\n\n"), "shown by one or more tests"),
    "what has no effect tells": (
        re.sub(r"(\| `TEST` .*)\| - \| (`test)", r"\1| `refund.succeeded` | \2", TABLE),
        "TEST with any subtype has no effect",
    ),
    "a cell says nothing": (TABLE.replace("| bought |", "| |"), "say what becomes of them"),
    "a cell is missing": (TABLE.replace("| bought ", ""), "6 cells instead of 7"),
    "a type is prose": (TABLE.replace("`TEST`", "whatever"), "one or more words in backticks"),
    "a subtype is prose": (TABLE.replace("`SEATS`", "seats"), "or nothing: seats"),
    "an event is prose": (TABLE.replace("`entitlement.granted`", "granted"), "or a dash: granted"),
}


EVERY_EVENT = {
    *(f"entitlement.{change}" for change in announce.ENTITLEMENT_CHANGES.values()),
    *announce.REFUND_EVENTS.values(),
    *announce.CHARGEBACK_EVENTS.values(),
    *announce.BALANCE_EVENTS,
    announce.REFUND_DECLINED,
}


@pytest.mark.parametrize("platform", get_args(PlatformName))
def test_the_table_is_what_the_code_does(platform: str) -> None:
    """Each type and subtype that the code knows, and no other, has a row; events and tests that it names exist."""
    page = (ROOT / "docs" / "platforms" / f"{platform}.md").read_text("utf-8")

    found = list(differences(list(rows_of(page)), meanings_of(platform), EVERY_EVENT))

    assert [] == found, "\n".join(found)


@pytest.mark.parametrize("platform", get_args(PlatformName))
def test_no_row_can_go_unnoticed(platform: str) -> None:
    """Without any one of its rows, the table of a platform is no longer what the code does."""
    rows = list(rows_of((ROOT / "docs" / "platforms" / f"{platform}.md").read_text("utf-8")))
    code = meanings_of(platform)

    assert [] == [row.number for row in rows if not list(differences([r for r in rows if r != row], code, EVERY_EVENT))]


def test_a_true_table_passes() -> None:
    """A table that says what the code does has nothing against it."""
    assert [] == list(differences(list(rows_of(TABLE)), CODE, EVENTS))


@pytest.mark.parametrize(("page", "finding"), DOCTORED.values(), ids=DOCTORED)
def test_a_doctored_table_is_found_out(page: str, finding: str) -> None:
    """Whatever is wrong with a table is found, and said so that its author knows where to look."""
    found = list(differences(list(rows_of(page)), CODE, EVENTS))

    assert any(finding in each for each in found), found


def test_tests_are_known_by_file_and_name() -> None:
    """A test is `file::test` at the top of a file, and within a class with or without the class's name."""
    expected = {
        "test_platform_tables::test_tests_are_known_by_file_and_name",
        "test_load::TestUnknownKeys::test_no_unknown_key_goes_unnoticed",
        "test_load::test_no_unknown_key_goes_unnoticed",
    }

    assert expected == expected & every_test()
    assert "test_platform_tables::EVERY_EVENT" not in every_test()
