"""What the API reads of purchases, refunds and entitlements: pages by sort key, each from an index.

A page is read one row longer than it is shown, so that it is known whether another follows. Filters are columns by
their names; None filters nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    Table,
    and_,
    case,
    or_,
    select,
    tuple_,
)

from handlers.entitlements import access_at, standing
from schemas.base import Access
from schemas.resources import Entitlement, Purchase, Refund
from worker.store.ledger import entitlement_of, purchase_of, refund_of
from worker.store.naming import OF_ALL, purchases_known_as
from worker.store.tables import entitlements, purchases, refs, refunds

Filters = Mapping[str, Any]
After = tuple[Any, ...] | None
"""The sort key of the last row that was seen; None: from the beginning."""


def list_refunds(
    connection: Connection,
    filters: Filters,
    *,
    unmatched: bool | None = None,
    created_from: int | None = None,
    created_to: int | None = None,
    after: After,
    limit: int,
) -> list[Refund]:
    """List refunds, newest first; `unmatched`: those of which nobody knows whose they are, or only the others."""
    statement = select(refunds).where(*equal(refunds, filters))
    if charge_id := filters.get("charge_id"):
        # A refund is in the lineage of its purchase, and found there: no index knows it by its charge.
        home = select(purchases.c.lineage).where(purchases.c.id == charge_id)
        statement = statement.where(refunds.c.lineage == home.scalar_subquery())
    if unmatched is not None:
        statement = statement.where(refunds.c.user_id.is_(None) if unmatched else refunds.c.user_id.is_not(None))
    if created_from is not None:
        statement = statement.where(refunds.c.created_at >= created_from)
    if created_to is not None:
        statement = statement.where(refunds.c.created_at <= created_to)
    return [
        refund_of(row) for row in newest_first(connection, statement, refunds.c.created_at, refunds.c.id, after, limit)
    ]


def find_refund(connection: Connection, refund_id: str) -> Refund | None:
    """Find one refund by our id."""
    found = rows(connection, select(refunds).where(refunds.c.id == refund_id))
    return refund_of(found[0]) if found else None


def list_purchases(
    connection: Connection, filters: Filters, *, access: Access | None = None, now: float, after: After, limit: int
) -> list[Purchase]:
    """List purchases, newest first, with the access they give at this moment; `purchase_id` is any id they go by."""
    others = {name: value for name, value in filters.items() if name != "purchase_id"}
    statement = select(purchases).where(*equal(purchases, others))
    if name := filters.get("purchase_id"):
        statement = statement.where(purchases.c.id.in_(sorted(purchases_known_as(connection, name))))
    if access is not None:
        statement = statement.where(_access_at(now) == access.value)
    page = newest_first(connection, statement, purchases.c.sort_at, purchases.c.id, after, limit)
    return [_at(purchase_of(row), now) for row in page]


def find_purchases(connection: Connection, ids: Iterable[str], *, now: float) -> dict[str, Purchase]:
    """Find purchases by our ids, those of today and earlier ones, with the access they give at this moment."""
    wanted = set(ids)
    found = rows(connection, select(purchases).where(purchases.c.id.in_(sorted(wanted))))
    known = {row["id"]: _at(purchase_of(row), now) for row in found}
    return known | _find_renamed(connection, wanted - known.keys(), now=now)


def _find_renamed(connection: Connection, ids: Iterable[str], *, now: float) -> dict[str, Purchase]:
    """Find purchases whose id was another while only an alias of them was known, or their subscription or token was.

    The latter is answered by its newest payment, as `POST /v1/purchases` does.
    """
    ids = sorted(ids)
    if not ids:
        return {}
    statement = select(refs.c.purchase, refs.c.ref, purchases).join_from(
        refs, purchases, purchases.c.lineage == refs.c.lineage
    )
    found = rows(connection, statement.where(refs.c.purchase.in_(ids)))
    candidates = [(row["purchase"], row["ref"], purchase_of(row)) for row in found]
    candidates.sort(key=lambda candidate: (candidate[2].purchased_at or 0, candidate[2].id))
    return {
        old: _at(purchase, now)
        for old, ref, purchase in candidates
        if ref in purchase.aliases or ref.partition(":")[0] in OF_ALL
    }


def sort_at(purchase: Purchase) -> int:
    """Tell where a purchase stands in the order of its list; `worker/store/ledger.py` stores the same."""
    return purchase.purchased_at or purchase.updated_at


def list_entitlements(
    connection: Connection, filters: Filters, *, now: float, after: After, limit: int
) -> list[Entitlement]:
    """List the entitlements of a user as they stand at this moment, by app, environment and key."""
    c = entitlements.c
    order = (c.app, c.environment, c.key)
    statement = select(entitlements).where(*equal(entitlements, filters)).order_by(*order).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(*order) > after)
    found = [entitlement_of(row) for row in rows(connection, statement)]
    return _standing_now(connection, found, now)


def equal(table: Table, filters: Filters) -> list[ColumnElement[bool]]:
    """Say that columns have these values."""
    return [table.c[name] == value for name, value in filters.items() if value is not None]


def newest_first(
    connection: Connection, statement: Select[Any], at: Column[int], last: Column[str], after: After, limit: int
) -> Sequence[RowMapping]:
    """Read one page of a statement in falling order of its sort key."""
    if after is not None:
        statement = statement.where(tuple_(at, last) < after)
    return rows(connection, statement.order_by(at.desc(), last.desc()).limit(limit))


def rows(connection: Connection, statement: Select[Any]) -> Sequence[RowMapping]:
    """Read rows by the names of their columns."""
    return connection.execute(statement).mappings().all()


def _access_at(now: float) -> ColumnElement[str]:
    """Say in SQL what `handlers.entitlements.access_at` says of a purchase."""
    c = purchases.c
    running = or_(c.access == Access.ACTIVE.value, c.access == Access.SUSPENDED.value)
    return case((and_(running, c.lapses_at <= int(now)), Access.EXPIRED.value), else_=c.access)


def _at(purchase: Purchase, now: float) -> Purchase:
    access = access_at(purchase, now)
    if access is purchase.access:
        return purchase
    return purchase.model_copy(update={"access": access, "access_reason": purchase.access_reason or "expired"})


def _standing_now(connection: Connection, found: list[Entitlement], now: float) -> list[Entitlement]:
    """Judge those anew whose end has passed and whose lapse no sweep has recorded yet."""
    over = [entitlement for entitlement in found if _is_over(entitlement, now)]
    behind = find_purchases(connection, (p for e in over for p in e.purchases), now=now) if over else {}
    return [_judged(e, behind, now) if _is_over(e, now) else e for e in found]


def _is_over(entitlement: Entitlement, now: float) -> bool:
    running = entitlement.status in ("active", "suspended")
    return running and entitlement.expires_at is not None and entitlement.expires_at <= now


def _judged(entitlement: Entitlement, behind: Mapping[str, Purchase], now: float) -> Entitlement:
    own = [behind[id_] for id_ in entitlement.purchases if id_ in behind]
    ended = entitlement.model_copy(update={"active": False, "status": "expired", "reason": "expired"})
    return standing(own, entitlement.key, now=now) or ended
