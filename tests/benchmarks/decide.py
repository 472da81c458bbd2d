"""Measure what the pure core costs for each notification: place, fold, compare, and say what changed.

    .venv/bin/python -m tests.benchmarks.decide [WORD …]

Real: everything in `handlers`. Left out: reading, writing and understanding. Every customer of a set has a history
already, and hears one word more; that word is measured. The same for sets of several sizes: what one notification costs
must not depend on how many come with it. Microseconds, for each notification the least of many rounds, as nothing makes
a computation faster than it is and much makes it slower. One that is decided alone again and again finds everything in
the processor's cache, and one of many does not. A WORD limits it to cases whose names have it.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from config.settings import App
from handlers.decide import decide
from schemas.book import Book, Draft
from schemas.entry import Entry, EntryKind
from tests.handlers.entries import MONTHLY, NOW_MS, acme, bought, day, entry, money
from worker.work import spare_collector

K = EntryKind
SIZES, SECONDS = (1, 256), 2.0
"""How many notifications a set has, and how long each is decided again and again."""
LONG = 10
"""What has a longer history than this is measured alone: a set of them takes as long as so many sets of one."""

Say = Callable[[str], Entry]


class Case(NamedTuple):
    """What every customer heard before, and the word that is measured."""

    name: str
    before: tuple[Say, ...]
    last: Say


def _charge(who: str) -> Entry:
    return bought(0, f"ch_{who}", user_id=who, aliases=(f"payment_intent:pi_{who}",))


def _charge_refunded(who: str) -> Entry:
    said: dict[str, Any] = {"name": f"re_{who}", "purchase": f"ch_{who}", "scope": "full", "amount_source": "exact"}
    return money(K.REFUND_SUCCEEDED, 60, aliases=(f"payment_intent:pi_{who}",), **said)


def _period(number: int) -> Say:
    def say(who: str) -> Entry:
        return entry(
            K.PURCHASED,
            30 * number,
            f"{who}-{number}",
            lineage=(f"original:{who}",),
            platform="apple",
            product_id=MONTHLY,
            kind="subscription",
            user_id=who,
            amount=999,
            currency="usd",
            purchased_at_ms=day(30 * number),
            expires_at_ms=day(30 * number + 30),
        )

    return say


def _period_refunded(number: int) -> Say:
    def say(who: str) -> Entry:
        said: dict[str, Any] = {"lineage": (f"original:{who}",), "platform": "apple", "scope": "full"}
        purchase = f"{who}-{number}"
        return money(K.REFUND_SUCCEEDED, 30 * number + 5, 999, f"{purchase}:refund", purchase=purchase, **said)

    return say


CASES = (
    Case("a charge", (), _charge),
    Case("a charge and its refund", (_charge,), _charge_refunded),
    Case("a renewal", (_period(0),), _period(1)),
    Case("a refund of one of two periods", (_period(0), _period(1)), _period_refunded(1)),
    Case("the 200th renewal", tuple(map(_period, range(199))), _period(199)),
)


class Deciding:
    """A set of notifications that can be decided again and again."""

    def __init__(self, case: Case, size: int) -> None:
        people = [f"{case.name}-{number}" for number in range(size)]
        self.app: App = acme()
        draft = Draft(Book())
        for who in people:
            if history := [_read(say(who)) for say in case.before]:
                draft.take(decide(draft.book, history, app=self.app, now_ms=NOW_MS).changes)
        self.before = draft.book
        self.said = [_read(case.last(who)) for who in people]

    def microseconds(self) -> list[float]:
        """Decide about each, one after the other, as one transaction does; give what each of them takes."""
        draft, took = Draft(self.before), []
        for each in self.said:
            began = time.perf_counter_ns()
            draft.take(decide(draft.book, [each], app=self.app, now_ms=NOW_MS).changes)
            took.append((time.perf_counter_ns() - began) / 1000)
        return took


def _read(said: Entry) -> Entry:
    """Make an entry that shares nothing with others, as one that was read from the store."""
    return Entry.model_validate_json(said.model_dump_json())


def measured(case: Case) -> Iterator[float]:
    """Take the least of several rounds, for each size of a set; a small set is decided more often."""
    for size in SIZES if len(case.before) <= LONG else SIZES[:1]:
        deciding = Deciding(case, size)
        rounds = [deciding.microseconds()]
        gc.collect()
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            rounds.append(deciding.microseconds())
        yield statistics.mean(map(min, zip(*rounds, strict=True)))


def main(words: Sequence[str]) -> None:
    """Print one table: what a notification costs, by case and size of its set."""
    spare_collector()
    head = "".join(f"{f'set of {size}':>14}" for size in SIZES)
    print(f"{'microseconds for a notification':<40}{head}")  # noqa: T201 - it is a report
    for case in CASES:
        if all(word.lower() in case.name.lower() for word in words):
            print(f"{case.name:<40}" + "".join(f"{us:>14.1f}" for us in measured(case)), flush=True)  # noqa: T201 - so is this


if __name__ == "__main__":
    main(sys.argv[1:])
