"""What was measured, held against its goal, and printed as one table or as JSON. Pure: nothing here measures."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

HEAD = ("", "unit", "ours", "beside", "ratio", "goal", "")
WORDS = {True: "met", False: "MISSED", None: ""}


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure has to reach.

    Attributes:
        of: the ratio of ours to what is beside it, or our own median.
        bound: the least or the most that is good.
    """

    of: Literal["ratio", "ours"]
    side: Literal["least", "most"]
    bound: float

    def met(self, value: float) -> bool:
        """Tell whether a value is good enough."""
        return value >= self.bound if self.side == "least" else value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.side == "least" else "≤"
        return f"{sign} {number(self.bound)}{' of it' if self.of == 'ratio' else ''}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        reach: which goal of the product it belongs to, 1 to 8.
        ours: one sample of each run.
        beside: one sample of each run of what we are compared with, taken in turns with ours.
        other: what that is.
        more: whatever else was seen, by name.
    """

    reach: int
    what: str
    unit: str
    ours: Sequence[float]
    beside: Sequence[float] = ()
    other: str = ""
    goal: Goal | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Compare run by run where runs were in turns, so that what slowed both down does not count."""
        if not self.ours or not self.beside or not all(self.beside):
            return None
        if len(self.ours) == len(self.beside):
            return statistics.median(a / b for a, b in zip(self.ours, self.beside, strict=True))
        return statistics.median(self.ours) / statistics.median(self.beside)

    @property
    def met(self) -> bool | None:
        """Tell whether the goal is reached; None: there is none, or nothing to judge by."""
        value = self.ratio if self.goal and self.goal.of == "ratio" else median(self.ours)
        return None if self.goal is None or value is None else self.goal.met(value)

    def cells(self) -> tuple[str, ...]:
        """Write it as a row."""
        ours, beside = (number(median(samples)) for samples in (self.ours, self.beside))
        said = f"{beside} {self.other}".strip() if self.beside else ""
        goal = "" if self.goal is None else str(self.goal)
        return self.what, self.unit, ours, said, number(self.ratio), goal, WORDS[self.met]

    def document(self) -> dict[str, Any]:
        """Write everything about it for a program."""
        return {
            "reach": self.reach,
            "what": self.what,
            "unit": self.unit,
            "ours": {"median": median(self.ours), "runs": list(self.ours)},
            "beside": {"what": self.other, "median": median(self.beside), "runs": list(self.beside)},
            "ratio": self.ratio,
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
            "more": dict(self.more),
        }


def median(samples: Sequence[float]) -> float | None:
    """Give the middle of some samples; None of none."""
    return statistics.median(samples) if samples else None


def percentile(samples: Sequence[float], share: float) -> float:
    """Give the smallest sample that at least `share` of all do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))]


def number(value: float | None) -> str:
    """Write a number with as many places as it deserves."""
    if value is None:
        return ""
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text and places > 2 else text


def table(figures: Sequence[Figure]) -> str:
    """Write all of them below each other, and say in the last line how many goals are met."""
    rows = [HEAD, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "  ".join(_aligned(cell, width, at) for at, (cell, width) in enumerate(_pairs(row, widths))) for row in rows
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", summary(figures)])


def summary(figures: Sequence[Figure]) -> str:
    """Say how many goals are met, and name those that are missed."""
    judged = [figure for figure in figures if figure.met is not None]
    missed = [figure.what for figure in judged if not figure.met]
    said = f"{len(judged) - len(missed)} of {len(judged)} goals met"
    return f"{said}. MISSED: {'; '.join(missed)}" if missed else f"{said}."


def compared(figures: Sequence[Figure], usual: str, embedded: str) -> list[Figure]:
    """Hold each rate on the embedded database against the same on the usual one: at least half of it."""
    rates = {figure.what: figure for figure in figures if figure.unit == "/s" and not figure.what.startswith(" ")}
    pairs = [(here, rates.get(name.replace(embedded, usual))) for name, here in rates.items() if embedded in name]
    return [
        Figure(4, f"embedded: {here.what}", "/s", here.ours, there.ours, f"on {usual}", Goal("ratio", "least", 0.5))
        for here, there in pairs
        if there is not None
    ]


def _pairs(row: Sequence[str], widths: Sequence[int]) -> list[tuple[str, int]]:
    return list(zip(row, widths, strict=True))


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if HEAD[column] in ("ours", "ratio") else cell.ljust(width)
