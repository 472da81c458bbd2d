"""Load the book that a set of entries concerns, and write what a decision changed: a fixed number of statements each.

Whoever decides locks first: the lineages that are concerned, then their customers, each in the order of their ids, so
that two who want the same wait for each other and never in a circle. What is not there yet cannot be locked; it is
inserted in the end, and if somebody else was faster the whole transaction is done again, on what they wrote.

Purchases, refunds and entitlements are stored as their resources: a column per field, so that what the API reads is
what the fold made. Tuples are JSON text.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, RowMapping, Select, Table, and_, bindparam, delete, or_, select, update

from handlers.ledger import purchase_id_of
from handlers.placing import refs_of
from schemas.base import Noun
from schemas.book import Book, Held, Holder, Lineage, Ref
from schemas.entry import Entry
from schemas.resources import Entitlement, Purchase, Refund
from worker.store import bulk
from worker.store import tables as t
from worker.store.engine import Contended

_Resource = TypeVar("_Resource", bound=Noun)

_TUPLES = {"aliases", "entitlements", "purchases"}
_ELSEWHERE = {"object", "charge"}
"""Fields that are no columns."""


def _stored(model: type[Noun]) -> tuple[str, ...]:
    return tuple(name for name in model.model_fields if name not in _ELSEWHERE)


_PURCHASE_FIELDS, _REFUND_FIELDS, _ENTITLEMENT_FIELDS = _stored(Purchase), _stored(Refund), _stored(Entitlement)
_PURCHASES = select(t.purchases.c.lineage, *(t.purchases.c[name] for name in _PURCHASE_FIELDS))
_REFUNDS = select(t.refunds.c.lineage, *(t.refunds.c[name] for name in _REFUND_FIELDS))
_ENTITLEMENTS = select(*(t.entitlements.c[name] for name in _ENTITLEMENT_FIELDS))


def load_book(connection: Connection, entries: Sequence[Entry], *, for_update: bool = False) -> Book:
    """Load everything that deciding about these entries may read.

    Args:
        connection: a transaction.
        entries: what will be said.
        for_update: lock it too, to the end of the transaction.
    """
    refs = _load_refs(connection, {ref for entry in entries for ref in refs_of(entry)}, for_update=for_update)
    lineages = load_lineages(connection, set(refs.values()))
    everything = [*entries, *(entry for lineage in lineages.values() for entry in lineage.entries)]
    customers = {(entry.app, entry.facts.user_id) for entry in everything if entry.facts.user_id}
    sequences = _load_sequences(connection, customers, for_update=for_update)
    return Book(
        refs=refs,
        lineages=lineages,
        holdings=_load_holdings(connection, customers, lineages.values()),
        entitlements=_load_entitlements(connection, customers),
        sequences=sequences,
    )


def write_book(
    connection: Connection,
    before: Book,
    after: Book,
    *,
    merged: Mapping[str, str],
    now_ms: int,
) -> None:
    """Write what differs between two books.

    Raises:
        Contended: somebody else began the same lineage or customer meanwhile.
    """
    # First what others wait for, in the order in which it is locked: whoever comes later holds nothing that we need.
    _insert_new(connection, t.lineages, [{"id": key} for key in after.lineages if key not in before.lineages])
    _write_customers(connection, before, after)
    _write_merges(connection, merged)
    _write_refs(connection, before, after)
    _write_entries(connection, before, after, now_ms)
    _write_views(connection, before, after)
    changed = [e for held, e in after.entitlements.items() if before.entitlements.get(held) != e]
    bulk.upsert(connection, t.entitlements, [_columns(e) for e in changed])


def purchase_of(row: RowMapping) -> Purchase:
    """Read a purchase back from its columns."""
    return _read(Purchase, _PURCHASE_FIELDS, [row[name] for name in _PURCHASE_FIELDS])


def refund_of(row: RowMapping) -> Refund:
    """Read a refund back from its columns."""
    return _read(Refund, _REFUND_FIELDS, [row[name] for name in _REFUND_FIELDS])


def entitlement_of(row: RowMapping) -> Entitlement:
    """Read an entitlement back from its columns."""
    return _read(Entitlement, _ENTITLEMENT_FIELDS, [row[name] for name in _ENTITLEMENT_FIELDS])


def _load_refs(connection: Connection, wanted: Iterable[Ref], *, for_update: bool) -> dict[Ref, str]:
    """Find where ids lead. A ref moves only when its lineage goes, so it is locked with that."""
    wanted = list(wanted)
    if not wanted:
        return {}
    c = t.refs.c
    spaces = defaultdict(list)
    for ref in wanted:
        spaces[ref.app, ref.platform, ref.realm].append(ref.ref)
    matches = [
        and_(c.app == app, c.platform == platform, c.realm == realm, c.ref.in_(refs))
        for (app, platform, realm), refs in spaces.items()
    ]
    statement = select(t.refs).join(t.lineages, t.lineages.c.id == c.lineage).where(or_(*matches))
    if for_update:
        statement = statement.order_by(t.lineages.c.id).with_for_update(of=t.lineages)
    rows = connection.execute(statement)
    return {Ref(row.app, row.platform, row.realm, row.ref): row.lineage for row in rows}


def load_lineages(connection: Connection, wanted: set[str]) -> dict[str, Lineage]:
    """Load lineages with their entries, and their views as they are stored."""
    if not wanted:
        return {}
    entries = defaultdict(list)
    statement = select(t.entries.c.lineage, t.entries.c.document)
    for lineage, document in connection.execute(statement.where(bulk.among(connection, t.entries.c.lineage, wanted))):
        entries[lineage].append(Entry.model_validate_json(document))
    purchases, refunds = defaultdict(list), defaultdict(list)
    for bought in connection.execute(_PURCHASES.where(bulk.among(connection, t.purchases.c.lineage, wanted))):
        purchases[bought[0]].append(_read(Purchase, _PURCHASE_FIELDS, bought[1:]))
    for refunded in connection.execute(_REFUNDS.where(bulk.among(connection, t.refunds.c.lineage, wanted))):
        refunds[refunded[0]].append(_read(Refund, _REFUND_FIELDS, refunded[1:]))
    return {key: Lineage(tuple(entries[key]), tuple(purchases[key]), tuple(refunds[key])) for key in wanted}


def _load_holdings(
    connection: Connection, customers: set[tuple[str, str]], lineages: Iterable[Lineage]
) -> dict[Holder, Mapping[str, Purchase]]:
    """Load what customers hold. Most of it was read with its lineage, and need not be understood again."""
    known = {purchase.id: purchase for lineage in lineages for purchase in lineage.purchases}
    holdings: dict[Holder, dict[str, Purchase]] = defaultdict(dict)
    for row in _of_customers(connection, t.purchases, _PURCHASES, customers):
        purchase = known.get(row.id) or _read(Purchase, _PURCHASE_FIELDS, row[1:])
        holdings[Holder(purchase.app, purchase.environment, str(purchase.user_id))][purchase.id] = purchase
    return dict(holdings)


def _load_entitlements(connection: Connection, customers: set[tuple[str, str]]) -> dict[Held, Entitlement]:
    rows = _of_customers(connection, t.entitlements, _ENTITLEMENTS, customers)
    loaded = [_read(Entitlement, _ENTITLEMENT_FIELDS, row) for row in rows]
    return {Held(Holder(e.app, e.environment, e.user_id), e.key): e for e in loaded}


def _load_sequences(
    connection: Connection, customers: set[tuple[str, str]], *, for_update: bool
) -> dict[tuple[str, str], int]:
    statement = select(t.customers)
    if for_update:
        statement = statement.order_by(t.customers.c.app, t.customers.c.user_id).with_for_update()
    rows = _of_customers(connection, t.customers, statement, customers)
    return {(row.app, row.user_id): row.sequence for row in rows}


def _of_customers(
    connection: Connection, table: Table, statement: Select[Any], customers: set[tuple[str, str]]
) -> Sequence[Row[Any]]:
    if not customers:
        return ()
    theirs = bulk.among_pairs(connection, (table.c.app, table.c.user_id), customers)
    return connection.execute(statement.where(theirs)).all()


def _write_merges(connection: Connection, merged: Mapping[str, str]) -> None:
    """Move what was stored of lineages into those they went into, in the order in which that was found out."""
    moves = [{"gone": gone, "home": home} for gone, home in merged.items()]
    for table in (t.refs, t.entries, t.purchases, t.refunds) if moves else ():
        moved = update(table).where(table.c.lineage == bindparam("gone")).values(lineage=bindparam("home"))
        connection.execute(moved, moves)
    if moves:
        connection.execute(delete(t.lineages).where(t.lineages.c.id.in_(sorted(merged))))


def _write_refs(connection: Connection, before: Book, after: Book) -> None:
    new = [
        {**ref._asdict(), "lineage": lineage, "purchase": purchase_id_of(ref)}
        for ref, lineage in after.refs.items()
        if ref not in before.refs
    ]
    _insert_new(connection, t.refs, new)


def _write_customers(connection: Connection, before: Book, after: Book) -> None:
    """Count on, and begin the count of everybody who is met for the first time, so that there is a row to lock."""
    said = (entry for lineage in after.lineages.values() for entry in lineage.entries)
    met = {(entry.app, entry.facts.user_id) for entry in said if entry.facts.user_id}
    new = sorted((met | after.sequences.keys()) - before.sequences.keys())
    counts = {customer: after.sequences.get(customer, 0) for customer in new}
    _insert_new(connection, t.customers, _counted(counts))
    changed = {customer: n for customer, n in after.sequences.items() if before.sequences.get(customer, n) != n}
    bulk.upsert(connection, t.customers, _counted(changed))


def _counted(counts: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [{"app": app, "user_id": user_id, "sequence": n} for (app, user_id), n in counts.items()]


def _write_entries(connection: Connection, before: Book, after: Book, now_ms: int) -> None:
    known = {entry.id for lineage in before.lineages.values() for entry in lineage.entries}
    rows = [
        {
            "id": entry.id,
            "lineage": key,
            "app": entry.app,
            "platform": entry.platform,
            "kind": entry.kind.value,
            "occurred_at_ms": entry.occurred_at_ms,
            "recorded_at_ms": now_ms,
            "notification": entry.source.notification,
            "document": entry.model_dump_json(exclude_defaults=True),
        }
        for key, lineage in after.lineages.items()
        for entry in lineage.entries
        if entry.id not in known
    ]
    bulk.insert(connection, t.entries, rows)


def _write_views(connection: Connection, before: Book, after: Book) -> None:
    for table, name in ((t.purchases, "purchases"), (t.refunds, "refunds")):
        old = {item.id: item for lineage in before.lineages.values() for item in getattr(lineage, name)}
        new = {item.id: (key, item) for key, lineage in after.lineages.items() for item in getattr(lineage, name)}
        if gone := old.keys() - new.keys():
            connection.execute(delete(table).where(table.c.id.in_(sorted(gone))))
        changed = [_columns(item) | {"lineage": key} for key, item in new.values() if old.get(item.id) != item]
        if table is t.purchases:
            changed = [row | {"sort_at": row["purchased_at"] or row["updated_at"]} for row in changed]
        bulk.upsert(connection, table, changed)


def _insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert what was not there when we looked, in one order everywhere; whoever else did meanwhile was first."""
    if not rows:
        return
    key = [column.name for column in table.primary_key]
    ordered = sorted(rows, key=lambda row: tuple(row[name] for name in key))
    if len(bulk.insert_absent(connection, table, ordered)) < len(rows):
        raise Contended(table.name)


def _columns(resource: Purchase | Refund | Entitlement) -> dict[str, Any]:
    # What is in them is flat: a field is what its column holds, but for tuples.
    dumped = {name: value for name, value in resource if name not in _ELSEWHERE}
    return dumped | {name: json.dumps(dumped[name]) for name in _TUPLES.intersection(dumped)}


def _read(model: type[_Resource], names: Sequence[str], values: Sequence[Any]) -> _Resource:
    fields = dict(zip(names, values, strict=True))
    return model.model_validate(fields | {name: json.loads(fields[name]) for name in _TUPLES.intersection(fields)})
