"""Say what changed: one event for each change of an entitlement or a refund, in our words.

The changes are drawn in docs/ledger.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from handlers.refunds import DECLINED
from schemas.resources import Entitlement, EntitlementStatus, Purchase, Refund, RefundStatus

Change = Literal["granted", "renewed", "revoked", "reinstated", "suspended", "expired"]

ENTITLEMENT_CHANGES: Final[dict[tuple[EntitlementStatus | None, EntitlementStatus], Change]] = {
    (None, "active"): "granted",
    (None, "suspended"): "suspended",
    # It was paid back before anyone knew what had been bought: whoever granted it on their own must hear of it.
    (None, "revoked"): "revoked",
    (None, "expired"): "expired",
    ("active", "suspended"): "suspended",
    ("active", "revoked"): "revoked",
    ("active", "expired"): "expired",
    ("suspended", "active"): "reinstated",
    ("suspended", "revoked"): "revoked",
    ("suspended", "expired"): "expired",
    ("revoked", "active"): "reinstated",
    ("revoked", "suspended"): "suspended",
    ("revoked", "expired"): "expired",
    ("expired", "active"): "renewed",
    ("expired", "suspended"): "suspended",
    ("expired", "revoked"): "revoked",
}
"""What a change of status is called. A pair that is not here is no change."""

REFUND_EVENTS: Final[dict[RefundStatus, str]] = {
    "to_issue": "refund.requested",
    "pending": "refund.pending",
    "requires_action": "refund.pending",
    "succeeded": "refund.succeeded",
    "failed": "refund.failed",
    "canceled": "refund.canceled",
    "reversed": "refund.reversed",
}
REFUND_DECLINED: Final = "refund.declined"
BALANCE_EVENTS: Final = ("balance.clawed_back", "balance.restored")
CHARGEBACK_EVENTS: Final[dict[RefundStatus, str]] = {
    "pending": "chargeback.opened",
    "succeeded": "chargeback.lost",
    "reversed": "chargeback.won",
}


def entitlement_change(before: Entitlement | None, after: Entitlement) -> Change | None:
    """Name what happened to an entitlement; None: nothing that anyone must act on."""
    if before is None or before.status != after.status:
        change = ENTITLEMENT_CHANGES[before.status if before else None, after.status]
        bought_anew = before is not None and not set(after.purchases) <= set(before.purchases)
        return "granted" if bought_anew and after.active and change in ("reinstated", "renewed") else change
    return "renewed" if after.active and _outlasts(after.expires_at, before.expires_at) else None


def refund_changes(before: Sequence[Refund], after: Sequence[Refund]) -> list[tuple[str, Refund]]:
    """Name what happened to the refunds of a lineage, one event type per change.

    Money of an unnamed total that a named refund now explains was announced already: the name is no news. A refund
    that grew is: Apple tells of a second partial refund by raising the share of the first.
    """
    if not after:
        return []
    known = {refund.id: refund for refund in before}
    ordered = sorted(after, key=lambda r: (r.updated_at, r.id)) if len(after) > 1 else after
    announced = _now_under_another_name(known, {refund.id: refund for refund in ordered}) if known else 0
    changes = []
    for refund in ordered:
        earlier = known.get(refund.id)
        if refund.contradiction or (earlier is not None and not _moved(earlier, refund)):
            continue
        if earlier is None and refund.status == "succeeded" and 0 < (refund.amount or 0) <= announced:
            announced -= refund.amount or 0
            continue
        if named := event_type(refund):
            changes.append((named, refund))
    return changes


def event_type(refund: Refund) -> str | None:
    """Name the event that tells of a refund in this state."""
    if refund.type == "chargeback":
        return CHARGEBACK_EVENTS.get(refund.status)
    declined = refund.status == "canceled" and refund.failed_reason == DECLINED
    return REFUND_DECLINED if declined else REFUND_EVENTS[refund.status]


def purchase_behind(after: Entitlement, among: Iterable[Purchase]) -> Purchase | None:
    """Choose the newest purchase among these that gives, or gave, an entitlement."""
    key = after.key
    giving = {p.id: p for p in among if key in p.entitlements}
    for purchase_id in after.purchases if giving else ():
        if purchase_id in giving:
            return giving[purchase_id]
    return None


def _now_under_another_name(known: Mapping[str, Refund], after: Mapping[str, Refund]) -> int:
    """Add the money that was announced as gone, and that the same refunds no longer speak for."""
    gone = [refund for refund in known.values() if refund.status == "succeeded"]
    kept = {key: refund.amount if refund.status == "succeeded" else None for key, refund in after.items()}
    return sum(max(0, (r.amount or 0) - (kept.get(r.id, 0) or 0)) for r in gone if kept.get(r.id, 0) is not None)


def balance_changes(before: Iterable[Purchase], after: Iterable[Purchase]) -> list[tuple[str, int, Purchase]]:
    """Name what became of the units of consumables: per customer and product, one event and the number.

    Purchases that nobody is known to hold have no balance: their units count from the moment at which somebody does.
    """
    shown: dict[tuple[str, str, str], Purchase] = {}
    units: dict[tuple[str, str, str], int] = {}
    for sign, purchases in ((-1, before), (1, after)):
        for purchase in purchases:
            if purchase.units is not None and purchase.user_id is not None and purchase.product_id is not None:
                account = (purchase.environment, purchase.user_id, purchase.product_id)
                units[account] = units.get(account, 0) + sign * purchase.units_clawed_back
                if account not in shown or purchase.units_clawed_back:
                    shown[account] = purchase
    moved = [(account, was) for account, was in sorted(shown.items()) if units[account]]
    if not moved:
        return []
    clawed_back, restored = BALANCE_EVENTS
    now = {(purchase.id, purchase.user_id, purchase.product_id): purchase for purchase in after}
    # What is restored was last clawed back in the book before. It is told as it stands now, unless it turned out to be
    # somebody else's, or something else.
    return [
        (
            clawed_back if units[account] > 0 else restored,
            abs(units[account]),
            now.get((was.id, was.user_id, was.product_id), was),
        )
        for account, was in moved
    ]


def _moved(earlier: Refund, later: Refund) -> bool:
    """Tell whether something became of a refund that is worth telling."""
    believed_at_last = earlier.contradiction is not None and later.contradiction is None
    return believed_at_last or earlier.status != later.status or _grew(earlier, later)


def _grew(earlier: Refund, later: Refund) -> bool:
    """Tell whether more went back under the same name; learning of an amount or a scope is not that."""
    more = None not in (earlier.amount, later.amount) and (later.amount or 0) > (earlier.amount or 0)
    pieces = None not in (earlier.quantity, later.quantity) and (later.quantity or 0) > (earlier.quantity or 0)
    whole = later.scope == "full" and earlier.scope in ("partial", "prorated", "quantity")
    return later.status == "succeeded" and (more or pieces or whole)


def _outlasts(after: int | None, before: int | None) -> bool:
    return before is not None and (after is None or after > before)
