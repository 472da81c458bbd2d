"""Find a person in the store, and take them out of it: a stretch of each table at a time.

An index knows whose a purchase is now, and not who else was ever said to hold it. So whoever is to be erased is looked
for in every row: each table is walked along its key, and every statement sees one stretch of it.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, func, or_, select, update

from handlers.erased import TEXTS, Names, erased_document, erased_entry
from schemas.entry import Entry
from worker.store import tables as t
from worker.store.engine import Store
from worker.store.inbox import ERASED

STRETCH: Final = 1_000
"""So many rows one statement walks over."""
PORTION: Final = 200
"""So many keys one statement is given."""
_GROWING: Final = (t.entries, t.events, t.notifications, t.deliveries, t.idempotency)
"""What is walked."""

AnyRow = Row[*tuple[Any, ...]]


def remember(connection: Connection, name: str, names: Names) -> None:
    """Note which names are being replaced by what: whoever goes on after a kill must draw no others."""
    forget(connection, name)
    connection.execute(t.marks.insert().values(name=name, value=json.dumps(names)))


def remembered(connection: Connection, name: str) -> dict[str, str]:
    """Read what was noted; nothing: none is under way."""
    value = connection.execute(select(t.marks.c.value).where(t.marks.c.name == name)).scalar()
    return json.loads(value) if value else {}


def forget(connection: Connection, name: str) -> None:
    """Forget which names were replaced by what: from now on nobody can tell."""
    connection.execute(delete(t.marks).where(t.marks.c.name == name))


def count_rows(connection: Connection) -> int:
    """Count what is walked over."""
    return sum(connection.execute(select(func.count()).select_from(table)).scalar_one() for table in _GROWING)


def walk(
    store: Store, table: Table, key: str, columns: Sequence[str], *where: ColumnElement[bool]
) -> Iterator[list[AnyRow]]:
    """Walk along a table; give of each stretch the rows for which something holds."""
    c, after = table.c[key], None
    while True:
        stretch = select(c).order_by(c).limit(STRETCH)
        stretch = stretch if after is None else stretch.where(c > after)
        with store.read() as connection:
            end = connection.execute(select(func.max(stretch.subquery().c[0]))).scalar()
            if end is None:
                return
            found = select(*(table.c[name] for name in columns)).where(c <= end, *where)
            rows = list(connection.execute(found if after is None else found.where(c > after)))
        yield rows
        after = end


def speaks_of(column: ColumnElement[Any], names: Collection[str]) -> ColumnElement[bool]:
    """Say that a JSON document may hold one of these."""
    return or_(*(column.contains(json.dumps(name, ensure_ascii=False)[1:-1], autoescape=True) for name in names))


def of_app(table: Table, app: str | None) -> list[ColumnElement[bool]]:
    """Say that it is this app's, or any's."""
    return [] if app is None else [table.c.app == app]


def hold_ledger(connection: Connection, lineages: Collection[str], names: Collection[str], app: str | None) -> None:
    """Let nobody decide about these before the transaction ends, in the order in which those who decide lock."""
    for some in portions(lineages):
        connection.execute(select(t.lineages.c.id).where(t.lineages.c.id.in_(some)).order_by("id").with_for_update())
    c = t.customers.c
    theirs = select(c.user_id).where(c.user_id.in_(names), *of_app(t.customers, app)).order_by(c.app, c.user_id)
    connection.execute(theirs.with_for_update())


def load_entries(connection: Connection, lineages: Collection[str]) -> dict[str, list[Entry]]:
    """Load what was said of these."""
    found: dict[str, list[Entry]] = {}
    for some in portions(lineages):
        rows = connection.execute(
            select(t.entries.c.lineage, t.entries.c.document).where(t.entries.c.lineage.in_(some))
        )
        for lineage, document in rows:
            found.setdefault(lineage, []).append(Entry.model_validate_json(document))
    return found


def erase_ledger(connection: Connection, lineages: Mapping[str, Sequence[Entry]], names: Names, app: str | None) -> int:
    """Replace the names in what was said, and in everything that it amounts to; tell how many entries that changed."""
    c, changed = t.entries.c, 0
    for lineage, said in lineages.items():
        for entry in said:
            if (nobody := erased_entry(entry, names)) != entry:
                document = nobody.model_dump_json(exclude_defaults=True)
                connection.execute(
                    update(t.entries).where(c.lineage == lineage, c.id == entry.id).values(document=document)
                )
                changed += 1
    for some in portions(lineages):
        silent: Any = dict.fromkeys(TEXTS)
        connection.execute(update(t.refunds).where(t.refunds.c.lineage.in_(some)).values(silent))
        for table in (t.purchases, t.refunds):
            for name, nobody_ in names.items():
                own = update(table).where(table.c.user_id == name, table.c.lineage.in_(some))
                connection.execute(own.values(user_id=nobody_))
    for table in (t.entitlements, t.customers):
        for name, nobody_ in names.items():
            connection.execute(
                update(table).where(table.c.user_id == name, *of_app(table, app)).values(user_id=nobody_)
            )
    return changed


def held_by(connection: Connection, names: Collection[str], app: str | None) -> set[str]:
    """Find the lineages of what these hold now."""
    c = t.purchases.c
    held = select(c.lineage).where(c.user_id.in_(names), *of_app(t.purchases, app))
    return set(connection.execute(held).scalars())


def told_by(connection: Connection, notifications: Collection[str]) -> list[AnyRow]:
    """Read the events that followed from these notifications, as `erase_events` takes them."""
    c = t.events.c
    told = select(c.position, c.user_id, c.document).where(c.notification.in_(notifications))
    return list(connection.execute(told))


def erase_events(connection: Connection, rows: Sequence[AnyRow], *, names: Names) -> int:
    """Replace the names in events; rows are of `position`, `user_id`, `document`."""
    changed = 0
    for row in rows:
        document = erased_document(row.document, names)
        if json.loads(document) != json.loads(row.document) or row.user_id in names:
            own = update(t.events).where(t.events.c.position == row.position)
            connection.execute(own.values(document=document, user_id=names.get(row.user_id, row.user_id)))
            changed += 1
    return changed


def empty(connection: Connection, ids: Collection[str]) -> int:
    """Destroy the bodies of these notifications; tell of how many there still was one."""
    c = t.notifications.c
    own = update(t.notifications).where(c.id.in_(ids), func.length(c.body) > 0)
    return connection.execute(own.values(body=b"", headers="{}", reason=ERASED, detail=None)).rowcount


def forget_deliveries(connection: Connection, ids: Collection[str]) -> int:
    """Delete these, with what was answered to them; tell how many there were."""
    connection.execute(delete(t.attempts).where(t.attempts.c.delivery.in_(ids)))
    return connection.execute(delete(t.deliveries).where(t.deliveries.c.id.in_(ids))).rowcount


def forget_answers(connection: Connection, keys: Collection[str]) -> int:
    """Delete the answers kept under these keys; tell how many there were."""
    return connection.execute(delete(t.idempotency).where(t.idempotency.c.key.in_(keys))).rowcount


def compact(store: Store) -> bool:
    """Write SQLite's file anew and empty its log, so that no page holds what was deleted; tell whether that was done.

    `VACUUM` leaves no free page behind (https://www.sqlite.org/lang_vacuum.html), and a log that was truncated no
    earlier version of a page (https://www.sqlite.org/pragma.html#pragma_wal_checkpoint).
    """
    with closing(store.engine.raw_connection()) as connection:
        cursor: Any = connection.cursor()
        cursor.execute("VACUUM")
        (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def rewrite(store: Store) -> None:
    """Have PostgreSQL write the tables anew, without the rows that are dead: others wait for each meanwhile."""
    with closing(store.engine.raw_connection()) as connection:
        driver: Any = connection.driver_connection
        driver.autocommit = True
        driver.execute("SET statement_timeout = 0")
        for table in t.metadata.sorted_tables:
            driver.execute(f"VACUUM (FULL, ANALYZE) {table.name}")
        # The most frequent values of each column are in there. Whoever does not own it is warned, and it stays.
        driver.execute("VACUUM (FULL) pg_catalog.pg_statistic")
        # What this connection was told to be is no other's.
        connection.invalidate()


def portions(keys: Collection[str]) -> Iterator[list[str]]:
    """Cut many into few at a time."""
    ordered = sorted(keys)
    return (ordered[at : at + PORTION] for at in range(0, len(ordered), PORTION))
