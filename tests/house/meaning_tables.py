"""Read the table of a platform's page that says what each notification means, and compare it with the code's own.

The header names the columns; in the cells, types, subtypes, events and tests are code, and the rest is prose:
`any` for whatever the subtype, `-` for nothing.
"""

import ast
import importlib
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import product
from typing import NamedTuple

from schemas.meaning import Ignored, Quarantined
from tests.house.tree import sources

HEADER = "| type | subtype | purchase | entitlement | refund record | events | shown by |"
ANY = "*"
NOTHING = "-"

Pair = tuple[str, str]
"""A type and a subtype, as a notification's are stored. An empty subtype is none, `*` is any."""


class Row(NamedTuple):
    """One row: what it is about, what it says in prose, and what it names."""

    number: int
    types: tuple[str, ...]
    subtypes: tuple[str, ...]
    prose: tuple[str, ...]
    events: tuple[str, ...]
    shown_by: tuple[str, ...]
    flaws: tuple[str, ...]

    @property
    def pairs(self) -> frozenset[Pair]:
        """List every type with every subtype of this row."""
        return frozenset(product(self.types, self.subtypes))


def rows_of(page: str) -> Iterator[Row]:
    """Read the rows of the one table with the header; none, if there is no such table or more than one."""
    lines = page.splitlines()
    if lines.count(HEADER) != 1:
        return
    first = lines.index(HEADER) + 2  # under the header, the line that rules it off
    for number, line in enumerate(lines[first:], first + 1):
        if not line.startswith("|"):
            return
        yield _row(number, [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]])


def meanings_of(platform: str) -> dict[Pair, bool]:
    """List what the code's tables hold, and whether it has an effect: `MEANING` and `IGNORED` of its meaning module."""
    module = importlib.import_module(f"handlers.{platform}_meaning")
    found: dict[Pair, bool] = {}
    for word, effect in module.MEANING.items():
        if isinstance(effect, Mapping):
            found |= {(word, subtype): _acts(each) for subtype, each in effect.items()}
        else:
            found[_pair(word)] = _acts(effect)
    return found | {_pair(word): False for word in getattr(module, "IGNORED", ())}


def differences(rows: Collection[Row], code: Mapping[Pair, bool], events: Collection[str]) -> Iterator[str]:
    """Say where a table is not what the code does, or names what is not there."""
    if not rows:
        yield f"no table, or more than one, with the header {HEADER}"
    documented: dict[Pair, int] = {}
    for row in rows:
        yield from (f"line {row.number}: {flaw}" for flaw in (*row.flaws, *_untrue(row, code, events)))
        for pair in sorted(row.pairs):
            if pair in documented:
                yield f"line {row.number}: {_told(pair)} has a row already, in line {documented[pair]}"
            documented.setdefault(pair, row.number)
    yield from (f"no row for {_told(pair)}, which the code knows" for pair in sorted(code.keys() - documented.keys()))


def _untrue(row: Row, code: Mapping[Pair, bool], events: Collection[str]) -> Iterator[str]:
    yield from (f"the code knows no {_told(pair)}" for pair in sorted(row.pairs - code.keys()))
    yield from (f"{event} is no event that is ever told" for event in row.events if event not in events)
    yield from (f"{test} is no test" for test in row.shown_by if test not in tests())
    if row.events and (idle := sorted(pair for pair in row.pairs if code.get(pair) is False)):
        yield f"{', '.join(map(_told, idle))} has no effect in the code, so no event can follow"


@cache
def tests() -> frozenset[str]:
    """List every test as `file::name`, wherever the file stands; a class in between may be named or not."""
    found = set()
    for source in sources("tests"):
        stem = source.path.rsplit("/", 1)[-1].removesuffix(".py")
        for node in source.tree.body:
            found.add(f"{stem}::{getattr(node, 'name', '')}")
            if isinstance(node, ast.ClassDef):
                names = [each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
                found |= {f"{stem}::{path}" for name in names for path in (name, f"{node.name}::{name}")}
    return frozenset(name for name in found if re.search(r"::[Tt]est\w+$", name))


def _row(number: int, cells: list[str]) -> Row:
    types, subtypes, *prose, events, shown_by = (*cells, *[""] * 7)[:7]
    return Row(
        number,
        types=_code(types),
        subtypes=(ANY,) if subtypes == "any" else _code(subtypes) or ("",),
        prose=tuple(prose),
        events=_code(events),
        shown_by=_code(shown_by),
        flaws=tuple(_flaws(cells)),
    )


def _flaws(cells: list[str]) -> Iterator[str]:
    """Say what of a row cannot be read, or says nothing."""
    if len(cells) != 7:
        yield f"{len(cells)} cells instead of 7"
        return
    types, subtypes, *prose, events, shown_by = cells[:7]
    if not _code(types) or _rest(types):
        yield f"the type is one or more words in backticks: {types}"
    if subtypes != "any" and _rest(subtypes):
        yield f"the subtype is words in backticks, `any` without them, or nothing: {subtypes}"
    if not all(prose):
        yield "purchase, entitlement and refund record say what becomes of them, if only a dash"
    if events != NOTHING and (not _code(events) or _rest(events)):
        yield f"the events are words in backticks, or a dash: {events}"
    if not _code(shown_by) or _rest(shown_by):
        yield f"is shown by one or more tests, `file::test` in backticks: {shown_by}"


def _code(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def _rest(cell: str) -> str:
    """Give what stands in a cell beside code, commas and spaces."""
    return re.sub(r"`[^`]+`|[,\s]|<br>", "", cell)


def _pair(word: str) -> Pair:
    kind, _, subtype = word.partition("/")
    return kind, subtype


def _acts(effect: object) -> bool:
    return not isinstance(effect, Ignored | Quarantined)


def _told(pair: Pair) -> str:
    kind, subtype = pair
    return f"{kind} with any subtype" if subtype == ANY else f"{kind} / {subtype}" if subtype else kind
