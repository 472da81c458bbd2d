"""Load the book that a set of entries concerns, and write what a decision changed: a fixed number of statements each.

Whoever decides locks first: the lineages that are concerned, then their customers, each in the order of their ids, so
that two who want the same wait for each other and never in a circle. What is not there yet cannot be locked. It is
inserted: a lineage at once, so that who comes second waits there and has decided nothing yet, all else in the end. If
somebody else was faster the whole transaction is done again, on what they wrote.

Purchases, refunds and entitlements are stored as their resources: a column per field, so that what the API reads is
what the fold made. Tuples are JSON text.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, Table, bindparam, delete, update

from handlers.ledger import purchase_id_of
from handlers.placing import lineages_begun, refs_of
from schemas.base import Access
from schemas.book import Book, Held, Holder, Lineage, Ref
from schemas.entry import Entry
from schemas.resources import Entitlement, Purchase, Refund
from worker.store import bulk
from worker.store import tables as t
from worker.store.customers import Customer, ask_counts
from worker.store.documents import Documents, plain
from worker.store.engine import Contended
from worker.store.views import ENTITLEMENTS, PURCHASES, REFUNDS, View

_Customers = Collection[Customer]
_Stored = tuple[dict[str, Lineage], dict[Holder, dict[str, Purchase]]]
"""Lineages, and what their customers hold."""
_Inserted = tuple[str, int, Callable[[], int]]
"""A table, how many rows were sent there as new, and how many it turned out were: read it after all were sent."""

# Of several `IN ?` every combination is found, and those are left out here that nobody asked for: an id that two apps
# both use, a user whom two apps both know.
_REFS = "SELECT app, platform, realm, ref, lineage FROM refs"
_WANTED_REFS = "app IN ? AND platform IN ? AND realm IN ? AND ref IN ?"
_LOCKED_REFS = (
    f"{_REFS} JOIN lineages ON lineages.id = lineage WHERE {_WANTED_REFS} ORDER BY lineages.id FOR UPDATE OF lineages"
)
_ENTRIES = "SELECT lineage, document FROM entries WHERE lineage IN ?"
# Behind the question that locks, without its answer: each statement sees what was committed before it began, and so
# what that one waited for. What nobody has locked of it is left out again.
_THEIR_LINEAGES = f"lineage IN (SELECT lineage FROM refs WHERE {_WANTED_REFS})"  # noqa: S608 - texts of our own
_THEIR_ENTRIES = f"SELECT lineage, document FROM entries WHERE {_THEIR_LINEAGES}"  # noqa: S608 - texts of our own
_THEIRS = "app IN ? AND user_id IN ?"
_ENTRY_COLUMNS = ("id", "lineage", "app", "platform", "kind", "occurred_at_ms", "notification", "document")


@dataclass(frozen=True, slots=True)
class Written:
    """What was sent to be written; whether somebody was faster is known once it is answered."""

    new: tuple[_Inserted, ...]

    def confirm(self) -> None:
        """Wait for it.

        Raises:
            Contended: somebody else began the same lineage or customer meanwhile.
        """
        for table, given, inserted in self.new:
            if inserted() < given:
                raise Contended(table)


class _Asked(NamedTuple):
    """What was asked about refs, to be read later."""

    named: Collection[Ref]
    refs: Iterable[Any] = ()
    entries: Iterable[Any] = ()
    refunds: Iterable[tuple[tuple[Any, ...], Refund]] = ()

    def found(self) -> dict[Ref, str]:
        """Read to which lineage each of them leads, as far as any is there."""
        asked = {ref: ref for ref in self.named}
        return {ref: row[4] for row in self.refs if (ref := asked.get(row[:4]))}


def load_book(connection: Connection, entries: Sequence[Entry]) -> Book:
    """Load everything that deciding about these entries may read."""
    asked = _ask_lineages(connection, {ref for entry in entries for ref in refs_of(entry)}, for_update=False)
    return _load(connection, entries, asked.found(), asked, for_update=False)


def lock_book(connection: Connection, entries: Sequence[Entry]) -> tuple[Book, Collection[str]]:
    """Load it locked, so that nobody else decides about the same until the commit; begin what lineages are new.

    Args:
        connection: a transaction.
        entries: what will be said.

    Returns:
        The book, and the lineages that were begun: nothing is in them yet.

    Raises:
        Contended: somebody else began one of them, and committed while we waited.
    """
    named = [refs_of(entry) for entry in entries]
    asked = _ask_lineages(connection, {ref for own in named for ref in own}, for_update=True)
    refs = asked.found()
    begun = lineages_begun(refs, named)
    inserted = _insert_new(connection, t.lineages, ("id",), [(key,) for key in begun])
    book = _load(connection, entries, refs, asked, for_update=True)
    Written((inserted,)).confirm()
    return book, begun


def _load(
    connection: Connection, entries: Sequence[Entry], refs: Mapping[Ref, str], asked: _Asked, *, for_update: bool
) -> Book:
    wanted = set(refs.values())
    said = _read_entries(asked.entries, wanted)
    everything = [*entries, *(entry for own in said.values() for entry in own)]
    customers = {(entry.app, entry.facts.user_id) for entry in everything if entry.facts.user_id}
    # Everything is asked before anything is read.
    sequences = ask_counts(connection, customers, " FOR UPDATE" if for_update else "")
    entitlements = _ask_entitlements(connection, customers)
    lineages, holdings = _load_views(connection, said, wanted, customers, asked.refunds)
    return Book(
        refs=refs,
        lineages=lineages,
        holdings=holdings,
        entitlements={
            Held(Holder(e.app, e.environment, e.user_id), e.key): e for c, e in entitlements if c in customers
        },
        sequences={(app, user_id): count for app, user_id, count in sequences if count is not None},
    )


def write_book(
    connection: Connection,
    before: Book,
    after: Book,
    *,
    begun: Collection[str],
    merged: Mapping[str, str],
    documents: Documents,
    now_ms: int,
) -> Written:
    """Write what differs between two books.

    Args:
        connection: the transaction that locked the first one.
        before: as it was locked.
        after: as it is to be.
        begun: lineages whose rows are there, though the first book has none of them.
        merged: lineage → the one it went into.
        documents: where what is written of them once is found again.
        now_ms: Unix milliseconds.

    Returns:
        To be called before the commit.
    """
    # First what others wait for, in the order in which it is locked: whoever comes later holds nothing that we need.
    there = before.lineages.keys() | begun
    new = [_insert_new(connection, t.lineages, ("id",), [(key,) for key in after.lineages if key not in there])]
    new.append(_write_customers(connection, before, after))
    _write_merges(connection, before, merged)
    # What was begun for entries that broke, or proved to belong elsewhere.
    if gone := {*merged, *begun} - after.lineages.keys():
        connection.execute(delete(t.lineages).where(t.lineages.c.id.in_(sorted(gone))))
    new.append(_write_refs(connection, before, after))
    _write_entries(connection, before, after, now_ms)
    _write_views(connection, before, after, documents)
    changed = [held for held, now in after.entitlements.items() if before.entitlements.get(held) != now]
    ENTITLEMENTS.write(connection, [after.entitlements[held] for held in sorted(changed)], documents=documents)
    return Written(tuple(new))


def purchase_of(row: RowMapping) -> Purchase:
    """Read a purchase back from its columns."""
    return PURCHASES.read(row)


def refund_of(row: RowMapping) -> Refund:
    """Read a refund back from its columns."""
    return REFUNDS.read(row)


def entitlement_of(row: RowMapping) -> Entitlement:
    """Read an entitlement back from its columns."""
    return ENTITLEMENTS.read(row)


def load_lineages(connection: Connection, wanted: set[str]) -> dict[str, Lineage]:
    """Load lineages with their entries, and their views as they are stored."""
    if not wanted:
        return {}
    said = _read_entries(bulk.ask(connection, _ENTRIES, wanted), wanted)
    given_back = REFUNDS.find(connection, "lineage", "lineage IN ?", list(wanted))
    return _load_views(connection, said, wanted, (), given_back)[0]


def _ask_lineages(connection: Connection, named: Collection[Ref], *, for_update: bool) -> _Asked:
    """Ask for the lineages of refs, and for what is in them without waiting to hear which they are."""
    if not named:
        return _Asked(named)
    parts = _in_parts(named)
    return _Asked(
        named,
        bulk.ask(connection, _LOCKED_REFS if for_update else f"{_REFS} WHERE {_WANTED_REFS}", *parts),
        bulk.ask(connection, _THEIR_ENTRIES, *parts),
        REFUNDS.find(connection, "lineage", _THEIR_LINEAGES, *parts),
    )


def _in_parts(named: Collection[Ref]) -> tuple[list[str], ...]:
    """List the apps, the platforms, the realms, and the refs themselves."""
    return tuple(list(set(part)) for part in zip(*named, strict=True))


def _read_entries(found: Iterable[Any], wanted: set[str]) -> Mapping[str, list[Entry]]:
    entries: defaultdict[str, list[Entry]] = defaultdict(list)
    for lineage, document in found:
        if lineage in wanted:
            entries[lineage].append(Entry.model_validate_json(document))
    return entries


def _load_views(
    connection: Connection,
    said: Mapping[str, list[Entry]],
    wanted: set[str],
    customers: _Customers,
    given_back: Iterable[tuple[tuple[Any, ...], Refund]],
) -> _Stored:
    """Load the purchases of lineages, and whatever else their customers hold; their refunds were asked for before."""
    purchases: defaultdict[str, list[Purchase]] = defaultdict(list)
    refunds: defaultdict[str, list[Refund]] = defaultdict(list)
    holdings: defaultdict[Holder, dict[str, Purchase]] = defaultdict(dict)
    if wanted or customers:
        where = f"lineage IN ? OR {_THEIRS}"
        for (lineage,), bought in PURCHASES.find(connection, "lineage", where, list(wanted), *_apart(customers)):
            if lineage in wanted:
                purchases[lineage].append(bought)
            if (bought.app, bought.user_id) in customers:
                holdings[Holder(bought.app, bought.environment, str(bought.user_id))][bought.id] = bought
    for (lineage,), refunded in given_back:
        if lineage in wanted:
            refunds[lineage].append(refunded)
    lineages = {k: Lineage(tuple(said.get(k, ())), tuple(purchases[k]), tuple(refunds[k])) for k in wanted}
    return lineages, dict(holdings)


def _ask_entitlements(connection: Connection, customers: _Customers) -> Iterable[tuple[tuple[Any, ...], Entitlement]]:
    return ENTITLEMENTS.find(connection, "app, user_id", _THEIRS, *_apart(customers)) if customers else ()


def _apart(customers: _Customers) -> tuple[list[str], list[str]]:
    """List the apps, and the users."""
    return list({app for app, _ in customers}), list({user_id for _, user_id in customers})


def _write_merges(connection: Connection, before: Book, merged: Mapping[str, str]) -> None:
    """Move what was stored of lineages into those they went into, in the order in which that was found out."""
    if not merged:
        return
    moves = [{"gone": gone, "home": home} for gone, home in merged.items()]
    for table in (t.entries, t.purchases, t.refunds):
        moved = update(table).where(table.c.lineage == bindparam("gone")).values(lineage=bindparam("home"))
        connection.execute(moved, moves)
    if refs := _refs_moved(before, merged):
        connection.execute(_moved_ref, refs)


def _refs_moved(before: Book, merged: Mapping[str, str]) -> list[dict[str, str]]:
    """List the refs of lineages that went away, each with its home: their entries name them, and no index must."""
    moved = {
        ref: _last_home(gone, merged)
        for gone in merged
        if gone in before.lineages
        for entry in before.lineages[gone].entries
        for ref in refs_of(entry)
    }
    names = tuple(f"its_{name}" for name in Ref._fields)
    return [{"home": home, **dict(zip(names, ref, strict=True))} for ref, home in moved.items()]


def _last_home(lineage: str, merged: Mapping[str, str]) -> str:
    while lineage in merged:
        lineage = merged[lineage]
    return lineage


_moved_ref = (
    update(t.refs)
    .where(*(t.refs.c[name] == bindparam(f"its_{name}") for name in Ref._fields))
    .values(lineage=bindparam("home"))
)


def _write_refs(connection: Connection, before: Book, after: Book) -> _Inserted:
    new = [(*ref, lineage, purchase_id_of(ref)) for ref, lineage in after.refs.items() if ref not in before.refs]
    return _insert_new(connection, t.refs, ("app", "platform", "realm", "ref", "lineage", "purchase"), new)


def _write_customers(connection: Connection, before: Book, after: Book) -> _Inserted:
    """Count on, and begin the count of everybody who is met for the first time, so that there is a row to lock."""
    said = (entry for lineage in after.lineages.values() for entry in lineage.entries)
    met = {(entry.app, entry.facts.user_id) for entry in said if entry.facts.user_id}
    new = (met | after.sequences.keys()) - before.sequences.keys()
    names = ("app", "user_id", "sequence")
    rows = [(*customer, after.sequences.get(customer, 0)) for customer in new]
    inserted = _insert_new(connection, t.customers, names, rows)
    counts = after.sequences.items()
    changed = [(*customer, n) for customer, n in counts if before.sequences.get(customer, n) != n]
    bulk.upsert(connection, t.customers, names, changed)
    return inserted


def _write_entries(connection: Connection, before: Book, after: Book, now_ms: int) -> None:
    known = {entry.id for lineage in before.lineages.values() for entry in lineage.entries}
    rows = [
        (
            entry.id,
            key,
            entry.app,
            entry.platform,
            entry.kind,
            entry.occurred_at_ms,
            entry.source.notification,
            plain(entry, exclude_defaults=True),
        )
        for key, lineage in after.lineages.items()
        for entry in lineage.entries
        if entry.id not in known
    ]
    bulk.insert(connection, t.entries, _ENTRY_COLUMNS, rows, {"recorded_at_ms": now_ms})


def _write_views(connection: Connection, before: Book, after: Book, documents: Documents) -> None:
    bought = _changed(connection, PURCHASES, _purchases(before), _purchases(after))
    places = [(key, purchase.purchased_at or purchase.updated_at, _due_at(purchase)) for key, purchase in bought]
    names = ("lineage", "sort_at", "due_at")
    PURCHASES.write(connection, [purchase for _, purchase in bought], names, places, documents)
    refunded = _changed(connection, REFUNDS, _refunds(before), _refunds(after))
    homes = [(key,) for key, _ in refunded]
    REFUNDS.write(connection, [refund for _, refund in refunded], ("lineage",), homes, documents)


def _due_at(purchase: Purchase) -> int | None:
    """Tell when somebody must look whether it lapsed; what was revoked keeps its date: see `lapses.py`."""
    return None if purchase.access is Access.EXPIRED else purchase.lapses_at


def _purchases(book: Book) -> dict[str, tuple[str, Purchase]]:
    """Find every purchase of a book by its id, with its lineage."""
    return {item.id: (key, item) for key, lineage in book.lineages.items() for item in lineage.purchases}


def _refunds(book: Book) -> dict[str, tuple[str, Refund]]:
    """Find every refund of a book by its id, with its lineage."""
    return {item.id: (key, item) for key, lineage in book.lineages.items() for item in lineage.refunds}


def _changed(
    connection: Connection, view: View[Any], old: Mapping[str, tuple[str, Any]], new: Mapping[str, tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """Delete what is gone, and list what is to be written, in the order of its ids."""
    if gone := old.keys() - new.keys():
        connection.execute(delete(view.table).where(view.table.c.id.in_(sorted(gone))))
    return [new[id_] for id_ in sorted(new) if id_ not in old or old[id_][1] != new[id_][1]]


def _insert_new(
    connection: Connection, table: Table, names: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
) -> _Inserted:
    """Insert what was not there when we looked, in one order everywhere; whoever else did meanwhile was first.

    Keys come first in each row.
    """
    ordered = sorted(rows)
    return table.name, len(ordered), bulk.insert_absent(connection, table, names, ordered)
