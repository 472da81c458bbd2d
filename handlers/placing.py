"""Find the lineage an entry belongs to, by every id its source knows, and merge lineages that prove to be the same."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from handlers import ids
from schemas.base import realm
from schemas.book import Book, Changes, Draft, Lineage, Ref
from schemas.entry import Entry

_NOTHING = Lineage()


class Placed(NamedTuple):
    """Entries in their places.

    Attributes:
        before: the book that they were placed in.
        changes: what that changed. Its lineages gained something, and must be folded again.
    """

    before: Book
    changes: Changes

    @property
    def book(self) -> Book:
        """Copy the book with the entries in their places."""
        return Draft(self.before).take(self.changes)

    @property
    def lineages(self) -> frozenset[str]:
        """List the lineages that gained something."""
        return frozenset(self.changes.lineages)

    @property
    def merged(self) -> Mapping[str, str]:
        """Give lineage → the one it went into."""
        return self.changes.merged


def refs_of(entry: Entry) -> tuple[Ref, ...]:
    """List every id under which the subject of an entry can be found."""
    app, platform, space = entry.app, entry.platform, realm(entry.platform, entry.environment)
    return tuple([Ref(app, platform, space, ref) for ref in entry.refs])


def lineage_begun(refs: Sequence[Ref]) -> str:
    """Make our id of the lineage that begins with an entry of these refs."""
    return ids.make("lin", *refs[0])


def lineages_begun(known: Iterable[Ref], named: Iterable[Sequence[Ref]]) -> list[str]:
    """List the lineages that entries begin: those that share no id with what is known, nor with one before them.

    Args:
        known: the refs that lead somewhere already.
        named: the refs of each entry.
    """
    met, begun = set(known), []
    for refs in named:
        if met.isdisjoint(refs):
            begun.append(lineage_begun(refs))
        met.update(refs)
    return begun


def place(book: Book, entries: Iterable[Entry]) -> Placed:
    """Put entries into their lineages; an entry that is already there adds nothing."""
    step = _Step(book)
    for entry in entries:
        step.put(entry)
    return Placed(book, Changes(refs=step.refs, lineages=step.lineages, merged=step.merged))


class _Step:
    """What the entries that were put so far change in a book."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.refs: dict[Ref, str] = {}
        self.lineages: dict[str, Lineage] = {}
        self.merged: dict[str, str] = {}

    def put(self, entry: Entry) -> None:
        refs = refs_of(entry)
        new, known = self.refs, self._book.refs
        found = sorted({key for ref in refs if (key := new.get(ref) or known.get(ref))})
        home = found[0] if found else lineage_begun(refs)
        joined = self._join(home, found)
        if entry.id in [each.id for each in joined.entries]:
            return
        if len(found) > 1:
            self._merge(found[1:], home)
        self.refs.update(dict.fromkeys(refs, home))
        self.lineages[home] = Lineage((*joined.entries, entry), joined.purchases, joined.refunds)

    def _join(self, home: str, found: Sequence[str]) -> Lineage:
        joined = self.lineages.get(home) or self._book.lineages.get(home, _NOTHING)
        for key in found[1:]:
            other = self.lineages.get(key) or self._book.lineages[key]
            joined = Lineage(
                entries=(*joined.entries, *other.entries),
                purchases=(*joined.purchases, *other.purchases),
                refunds=(*joined.refunds, *other.refunds),
            )
        return joined

    def _merge(self, gone: Sequence[str], home: str) -> None:
        """Move what leads to lineages that are gone, with what was merged into these before."""
        for known in (self._book.refs, dict(self.refs)):
            self.refs.update({ref: home for ref, key in known.items() if key in gone})
        for key in gone:
            self.lineages.pop(key, None)
        moved = [old for old, key in self.merged.items() if key in gone]
        self.merged.update(dict.fromkeys([*moved, *gone], home))
