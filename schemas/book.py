"""What must be known to decide about a set of notifications: one snapshot of the ledger, loaded at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from schemas.base import Environment, PlatformName
from schemas.entry import Entry
from schemas.resources import Entitlement, Event, Purchase, Refund


class Ref(NamedTuple):
    """An id under which a lineage is found, within the space in which it is unique."""

    app: str
    platform: PlatformName
    realm: str
    ref: str


class Holder(NamedTuple):
    """Who holds purchases: tests and production never mix."""

    app: str
    environment: Environment
    user_id: str


class Held(NamedTuple):
    """One entitlement of a holder."""

    holder: Holder
    key: str


class Lineage(NamedTuple):
    """The purchases that belong together, their entries, and the fold of these as it was stored."""

    entries: tuple[Entry, ...] = ()
    purchases: tuple[Purchase, ...] = ()
    refunds: tuple[Refund, ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    """The ledger as far as a set of notifications concerns it.

    Attributes:
        refs: where each id leads.
        lineages: by our id of them, `lin_…`.
        holdings: every purchase of every holder concerned, by purchase id.
        entitlements: as stored.
        sequences: how many events each customer (app, user) has had.
    """

    refs: Mapping[Ref, str] = field(default_factory=dict)
    lineages: Mapping[str, Lineage] = field(default_factory=dict)
    holdings: Mapping[Holder, Mapping[str, Purchase]] = field(default_factory=dict)
    entitlements: Mapping[Held, Entitlement] = field(default_factory=dict)
    sequences: Mapping[tuple[str, str], int] = field(default_factory=dict)


_NONE: Mapping[Any, Any] = MappingProxyType({})


class Changes(NamedTuple):
    """What one step writes into a book: in each of its parts that alone which is new, or other than it was.

    Attributes:
        merged: lineage → the one it went into, where two turned out to be the same.
    """

    refs: Mapping[Ref, str] = _NONE
    lineages: Mapping[str, Lineage] = _NONE
    holdings: Mapping[Holder, Mapping[str, Purchase]] = _NONE
    entitlements: Mapping[Held, Entitlement] = _NONE
    sequences: Mapping[tuple[str, str], int] = _NONE
    merged: Mapping[str, str] = _NONE


class Draft:
    """A book that one step after the other is written into, in place: a step costs what it changes, not what there is.

    Args:
        book: what it begins with, which stays as it is.
    """

    def __init__(self, book: Book) -> None:
        self._refs, self._lineages = dict(book.refs), dict(book.lineages)
        self._holdings, self._entitlements = dict(book.holdings), dict(book.entitlements)
        self._sequences = dict(book.sequences)
        self.book = Book(self._refs, self._lineages, self._holdings, self._entitlements, self._sequences)

    def take(self, changes: Changes) -> Book:
        """Write a step into it; give the book as it is then, and as it will be after later steps."""
        for gone in changes.merged:
            self._lineages.pop(gone, None)
        self._refs.update(changes.refs)
        self._lineages.update(changes.lineages)
        self._holdings.update(changes.holdings)
        self._entitlements.update(changes.entitlements)
        self._sequences.update(changes.sequences)
        return self.book


class Decision(NamedTuple):
    """What follows from what was said: what it changes in the book, and what subscribers are told.

    Attributes:
        before: the book that it was decided on.
        changes: what differs from that, and what the store writes in the end.
        events: in the order in which they are told.
        contradictions: refunds whose money turned out not to fit what was paid, both numbers of each.
    """

    before: Book
    changes: Changes = Changes()
    events: tuple[Event, ...] = ()
    contradictions: tuple[str, ...] = ()

    @property
    def book(self) -> Book:
        """Copy the book with this applied. Of many steps, a `Draft` takes one after the other without a copy."""
        return Draft(self.before).take(self.changes)
