"""Find the lineage an entry belongs to, by every id its source knows, and merge lineages that prove to be the same."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from handlers import ids
from schemas.base import realm
from schemas.book import Book, Lineage, Ref
from schemas.entry import Entry


@dataclass(frozen=True, slots=True)
class Placed:
    """The book with entries in their places.

    Attributes:
        lineages: which ones gained something, and must be folded again.
        merged: lineage → the one it went into.
    """

    book: Book
    lineages: frozenset[str]
    merged: Mapping[str, str]


def refs_of(entry: Entry) -> tuple[Ref, ...]:
    """List every id under which the subject of an entry can be found."""
    space = realm(entry.platform, entry.environment)
    return tuple(Ref(entry.app, entry.platform, space, ref) for ref in entry.refs)


def place(book: Book, entries: Iterable[Entry]) -> Placed:
    """Put entries into their lineages; an entry that is already there adds nothing."""
    placed = Placed(book, frozenset(), {})
    for entry in entries:
        placed = _place_one(placed, entry)
    return placed


def _place_one(placed: Placed, entry: Entry) -> Placed:
    refs = refs_of(entry)
    found = sorted({placed.book.refs[ref] for ref in refs if ref in placed.book.refs})
    home = found[0] if found else ids.make("lin", *refs[0])
    joined = _join(placed.book.lineages, home, found)
    if any(known.id == entry.id for known in joined.entries):
        return placed
    lineages = {**placed.book.lineages, home: Lineage((*joined.entries, entry), joined.purchases, joined.refunds)}
    for gone in found[1:]:
        lineages.pop(gone, None)
    moved = {ref: home for ref, lineage in placed.book.refs.items() if lineage in found[1:]} if found[1:] else {}
    return Placed(
        book=replace(placed.book, lineages=lineages, refs={**placed.book.refs, **moved, **dict.fromkeys(refs, home)}),
        lineages=(placed.lineages - set(found[1:])) | {home},
        merged=_follow(placed.merged, dict.fromkeys(found[1:], home)),
    )


def _join(lineages: Mapping[str, Lineage], home: str, found: Iterable[str]) -> Lineage:
    joined = lineages.get(home, Lineage())
    for other in (lineages[key] for key in found if key != home):
        joined = Lineage(
            entries=(*joined.entries, *other.entries),
            purchases=(*joined.purchases, *other.purchases),
            refunds=(*joined.refunds, *other.refunds),
        )
    return joined


def _follow(earlier: Mapping[str, str], later: Mapping[str, str]) -> Mapping[str, str]:
    """Point at the last home: what was merged into a lineage moves along with it."""
    return {gone: later.get(home, home) for gone, home in earlier.items()} | dict(later)
