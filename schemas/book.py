"""What must be known to decide about a set of notifications: one snapshot of the ledger, loaded at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

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


@dataclass(frozen=True, slots=True)
class Lineage:
    """The purchases that belong together, their entries, and the fold of these as it was stored."""

    entries: tuple[Entry, ...] = ()
    purchases: tuple[Purchase, ...] = ()
    refunds: tuple[Refund, ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    """The ledger as far as a set of notifications concerns it. A new one is made at each step.

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


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from what was said: the book after it, and what subscribers are told.

    Attributes:
        book: the book with it applied; what differs from the one before is what the store writes.
        events: in the order in which they are told.
        merged: lineage → the one it went into, where two turned out to be the same.
        contradictions: refunds whose money turned out not to fit what was paid, both numbers of each.
    """

    book: Book
    events: tuple[Event, ...] = ()
    merged: Mapping[str, str] = field(default_factory=dict)
    contradictions: tuple[str, ...] = ()
