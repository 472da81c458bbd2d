"""The audit can fail: each law of the soak test, broken once, is complained about by name."""

from dataclasses import replace
from typing import Any

import pytest

from tests.soak.audit import CLAIM_SECONDS, LOST_AT_ONCE_MAX, Case, Row, audit
from tests.soak.listeners import RETRY_AFTER_SECONDS, Arrival, Wish, fingerprint

BEGAN = 1_767_225_600
KILL = BEGAN + 1.5
LAPSED = BEGAN + int(CLAIM_SECONDS) + 1
WISH = Wish("one", "per_customer", families=("refund",))


def event(id_: str, sequence: int | None, type_: str = "refund.succeeded") -> dict[str, Any]:
    """Make one of the feed."""
    customer = None if sequence is None else {"user_id": "user-42"}
    return {"id": id_, "type": type_, "customer": customer, "sequence": sequence}


FEED = [event("a", 1), event("other", 2, "entitlement.revoked"), event("b", 3), event("nobody's", None)]


def came(id_: str, at: int, status: int | None = 200) -> Arrival:
    """Tell of one POST."""
    return Arrival(id_, at, fingerprint(next(each for each in FEED if each["id"] == id_)), status)


def row(id_: str, at: int, status: int | None = 200, error: str | None = None) -> Row:
    """Tell of one attempt on record."""
    return Row(id_, at * 1000 + 500, status, error or (None if status == 200 else "not_2xx"))


GOOD = Case(
    WISH,
    FEED,
    # The first is lost with a worker; b fails once.
    arrivals=[
        came("a", BEGAN),
        came("nobody's", BEGAN + 1),
        came("a", LAPSED),
        came("b", LAPSED + 1, 500),
        came("b", LAPSED + 7),
    ],
    rows=[row("nobody's", BEGAN + 1), row("a", LAPSED), row("b", LAPSED + 1, 500), row("b", LAPSED + 7)],
    statuses=dict.fromkeys(("a", "b", "nobody's"), "delivered"),
    kills=[KILL],
)
TWICE = [*GOOD.arrivals, came("b", LAPSED + 30)]


def test_what_is_well_is_believed():
    """A repeat after a failure and one after a kill are explained, and what was lost is named with its kill."""
    verdict = audit(GOOD)
    assert [] == verdict.complaints
    assert {KILL: [GOOD.arrivals[0]]} == verdict.lost
    assert 2 == verdict.repeats


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ({"arrivals": GOOD.arrivals[:-1], "rows": GOOD.rows[:-1]}, "b never got through"),
        ({"feed": [*FEED, event("c", 4)]}, "c never got through"),
        ({"feed": FEED[:-1]}, "nobody's was not asked for"),
        ({"feed": [*FEED[:-1], {**FEED[-1], "app": "other"}]}, "nobody's is not what the feed says"),
        ({"statuses": {**GOOD.statuses, "b": "pending"}}, "deliveries stand wrong"),
        ({"statuses": {"a": "delivered", "b": "delivered"}}, "deliveries stand wrong"),
        ({"arrivals": [came("b", BEGAN), *GOOD.arrivals]}, "b came before a had got through"),
        ({"arrivals": [*GOOD.arrivals, came("a", LAPSED + 30)]}, "a came again after b"),
        ({"kills": []}, f"a, attempted at {BEGAN}, has no row, and no worker was killed then"),
        ({"kills": [BEGAN - 1.0]}, "no worker was killed then"),
        ({"kills": [BEGAN + CLAIM_SECONDS + 2]}, "no worker was killed then"),
        ({"rows": GOOD.rows[:-1]}, "b: its rows are [(500, 'not_2xx')]"),
        ({"rows": [*GOOD.rows[:2], row("b", LAPSED + 7)]}, "b, attempted at"),
        ({"arrivals": TWICE, "kills": [KILL, LAPSED + 31.0]}, f"b came again at {LAPSED + 30}"),
        ({"arrivals": TWICE, "rows": [*GOOD.rows, row("b", LAPSED + 30)]}, "b: its rows are"),
        ({"rows": [*GOOD.rows[:2], row("b", LAPSED + 1), row("b", LAPSED + 7)]}, "b: the row says 200 (None)"),
        ({"rows": [row("a", BEGAN + 9, 500), *GOOD.rows]}, "a: 500 is on record, and nothing came"),
        ({"arrivals": [came("a", LAPSED - 4), *GOOD.arrivals], "kills": [KILL, LAPSED]}, "a came again 4 s after"),
    ],
)
def test_what_is_broken_is_named(broken, complaint):
    """Missed, unasked, changed, misordered, unexplained, repeated after a success, repeated too soon: each is seen."""
    complaints = audit(replace(GOOD, **broken)).complaints
    assert [said for said in complaints if complaint in said], complaints


@pytest.mark.parametrize(("status", "seconds"), [(500, 5), (429, RETRY_AFTER_SECONDS)])
def test_what_is_tried_again_too_soon_is_named(status, seconds):
    """After a first failure 5 s must pass, and what a 429 asked for."""

    def tried_after(wait: int) -> list[str]:
        rows = [*GOOD.rows[:2], row("b", LAPSED + 1, status), row("b", LAPSED + 1 + wait)]
        return [said for said in audit(replace(GOOD, rows=rows)).complaints if "was tried again" in said]

    assert not tried_after(seconds)
    assert [f"b was tried again {seconds - 1}.0 s after {status} (not_2xx)"] == tried_after(seconds - 1)


def test_a_pace_that_is_not_kept_is_named():
    """Twice as many attempts as the rate allows are too many."""
    feed = [event(f"e{number}", None) for number in range(200)]

    def told(per_second: int) -> list[str]:
        rows = [row(each["id"], BEGAN + number // per_second) for number, each in enumerate(feed)]
        paced = Case(replace(WISH, rate_per_second=10.0), feed, (), rows, {})
        return [said for said in audit(paced).complaints if "attempts began within" in said]

    assert not told(10)
    assert told(20)


def test_a_kill_explains_no_more_than_a_lane():
    """What a killed worker could not have had in flight was not lost with it."""
    feed = [event(f"e{number}", None) for number in range(LOST_AT_ONCE_MAX + 1)]

    def losing(number: int) -> list[str]:
        arrivals = [Arrival(each["id"], BEGAN, fingerprint(each), 200) for each in feed[:number]]
        said = audit(Case(WISH, feed, arrivals, (), {}, [KILL])).complaints
        return [one for one in said if "than a lane can hold" in one]

    assert not losing(LOST_AT_ONCE_MAX)
    assert losing(LOST_AT_ONCE_MAX + 1)
