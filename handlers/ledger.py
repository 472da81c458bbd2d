"""The state of purchases is a pure fold over their entries, in platform order and never in order of arrival.

It reads no clock: the passing of an expiry date is itself an entry (`LAPSED`), so folding the same entries tomorrow
gives the same state. What takes access away is kept as a set of causes, one per refund, chargeback or revocation:
undoing one of them undoes exactly that one.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, get_args

from config.policy import Policy
from config.products import Product
from handlers import ids, units
from handlers.causes import Cause, causes, strongest
from handlers.clusters import current, in_platform_order
from handlers.contradictions import judge, paid_by_platform
from handlers.life import LAPSED, ended, follow_life, held_back
from handlers.periods import Period, periods
from handlers.refunds import DECLINED, Followed, State, estimate, follow, scope_of, sum_of_amounts, unnamed
from schemas.base import Access, Environment, PlatformName, realm, trusted
from schemas.book import Ref
from schemas.entry import Entry, EntryKind, PurchaseFacts
from schemas.resources import Purchase, Refund, RefundStatus

_TOLD, _PASSED = EntryKind.TOLD, EntryKind.LAPSED
_SALES: Final = frozenset({EntryKind.TOLD, EntryKind.PURCHASED, EntryKind.RENEWED})
"""What says that there was a purchase, even if not of what."""

_purchase, _refunded = trusted(Purchase), trusted(Refund)

_STATUS: Final[dict[State, RefundStatus]] = {status: status for status in get_args(RefundStatus)} | {
    "declined": "canceled"
}
"""How the states of a refund are on record. An inquiry is not: it is the bank's question, and no money moved."""

_NO_CAUSE: Final = {Access.ACTIVE: "bought", Access.UNKNOWN: "unknown_purchase"}
"""What stands where a rule would: nothing speaks against it, or nobody knows what it is."""


class View(NamedTuple):
    """What the entries of one lineage amount to."""

    purchases: tuple[Purchase, ...]
    refunds: tuple[Refund, ...]


def fold(entries: Sequence[Entry], *, policy: Policy, products: Mapping[str, Product]) -> View:
    """Fold every entry of one lineage into its purchases and refunds.

    Args:
        entries: in any order; all of one app, platform and realm.
        policy: the app's rules.
        products: the app's products, by product id.
    """
    ordered = in_platform_order(current(entries))
    environment = _environment(ordered)
    purchases: list[Purchase] = []
    refunds: list[Refund] = []
    for period in periods(ordered):
        purchase, its_refunds = _fold_period(period, policy, products, environment)
        purchases.append(purchase)
        refunds += its_refunds
    return View(tuple(purchases), tuple(refunds))


def purchase_id_of(ref: Ref) -> str:
    """Make our id of the purchase that goes by this id; `kind:` is left out, since it is found under any of them."""
    return _id_of(ref.app, ref.platform, ref.realm, ref.ref.partition(":")[2])


def _id_of(app: str, platform: PlatformName, space: str, purchase_id: str) -> str:
    return ids.make("pur", app, platform, space, purchase_id)


def _environment(entries: Sequence[Entry]) -> Environment:
    """A lineage is a test as soon as anyone says so; where nobody says, it is production."""
    return "sandbox" if "sandbox" in [entry.environment for entry in entries] else "production"


def _fold_period(
    period: Period, policy: Policy, products: Mapping[str, Product], environment: Environment
) -> tuple[Purchase, list[Refund]]:
    cluster, paid = period.cluster, period.facts
    product = products.get(paid.product_id or "")
    followed = _followed(period)
    access, cause = _access(period, causes(period, followed, policy))
    total = units.worth(paid, product)
    first = cluster.entries[0]
    app, platform = first.app, first.platform
    purchase = _purchase(
        id=_id_of(app, platform, realm(platform, environment), cluster.purchase_id),
        app=app,
        platform=platform,
        environment=environment,
        purchase_id=cluster.purchase_id,
        original_purchase_id=cluster.lineage[0].partition(":")[2] if cluster.lineage else None,
        aliases=cluster.aliases,
        product_id=paid.product_id,
        kind=paid.kind or (product.kind if product else None),
        user_id=paid.user_id,
        quantity=paid.quantity,
        amount=paid.amount,
        amount_refunded=_amount_refunded(followed, paid) if followed else 0,
        units=total,
        units_clawed_back=units.clawed_back(total, followed, paid, cause, policy) if total else 0,
        currency=paid.currency,
        purchased_at=_seconds(paid.purchased_at_ms),
        expires_at=_seconds(paid.expires_at_ms),
        lapses_at=_lapses_at(period, policy),
        access=access,
        access_reason=cause.reason if cause else None,
        rule=cause.rule if cause else _NO_CAUSE[access],
        entitlements=product.entitlements if product else (),
        updated_at=_updated_at(period, cause),
    )
    if not followed:
        return purchase, []
    return purchase, [_refund(f, status, purchase, paid) for f in followed if (status := _STATUS.get(f.state))]


def _followed(period: Period) -> list[Followed]:
    """Follow the refunds of one purchase, named or not, and judge whether their money can be true."""
    entries = [entry for entry in period.entries if entry.refund is not None]
    if not entries:
        return []
    named, prices = follow(entries), paid_by_platform(period.cluster.entries)
    known = [estimate(refund, period.facts) for refund in (*named, *unnamed(entries, named, prices))]
    return judge(known, prices)


def _access(period: Period, found: Sequence[Cause]) -> tuple[Access, Cause | None]:
    """Let the strongest cause decide: revoked before expired before suspended before active."""
    entries, paid = period.entries, period.facts
    if not (paid.product_id or any(entry.kind in _SALES for entry in entries)):
        return Access.UNKNOWN, None
    if found and (cause := strongest(found, "revoke")):
        return Access.REVOKED, cause
    standing = follow_life(entries)
    if cause := ended(entries, standing, paid):
        return Access.EXPIRED, cause
    if cause := strongest(found, "suspend") or held_back(standing):
        return Access.SUSPENDED, cause
    return Access.ACTIVE, strongest(found, "keep")


def _lapses_at(period: Period, policy: Policy) -> int | None:
    """Tell when our clock ends it: at its date, or with some patience if its platform may renew it after that."""
    date = _seconds(period.facts.expires_at_ms)
    return date + policy.late_renewal_hours * 3600 if date is not None and period.renews else date


def _amount_refunded(followed: Sequence[Followed], paid: PurchaseFacts) -> int:
    """Add what went back in the currency that was paid in, and never more than was paid."""
    gone = [f for f in followed if f.state == "succeeded" and f.facts.amount is not None and f.contradiction is None]
    if not gone:
        return 0
    total = sum_of_amounts(gone, paid)
    if total is None:
        total = sum(f.facts.amount or 0 for f in gone if f.facts.currency == paid.currency)
    return total if paid.amount is None else min(total, paid.amount)


def _refund(followed: Followed, status: RefundStatus, purchase: Purchase, paid: PurchaseFacts) -> Refund:
    said = followed.facts
    app, platform, environment, name = purchase.app, purchase.platform, purchase.environment, said.platform_refund_id
    return _refunded(
        id=ids.make("re", app, platform, realm(platform, environment), name),
        app=app,
        platform=platform,
        environment=environment,
        platform_refund_id=name,
        charge_id=purchase.id,
        user_id=purchase.user_id,
        amount=said.amount,
        amount_source=said.amount_source,
        currency=said.currency,
        scope=scope_of(said, paid),
        status=status,
        type=said.type,
        reason=said.reason,
        description=said.description,
        quantity=said.quantity if said.seats is None else said.seats,
        reference=said.reference,
        reference_type=said.reference_type,
        reference_status=said.reference_status,
        receipt_number=said.receipt_number,
        contradiction=followed.contradiction,
        failed_reason=DECLINED if followed.state == "declined" else said.failed_reason,
        failed_at=_seconds(followed.returned_at_ms) if status == "failed" else None,
        created_at=followed.created_at_ms // 1000,
        updated_at=followed.updated_at_ms // 1000,
    )


def _updated_at(period: Period, cause: Cause | None) -> int:
    """When the last thing happened, by a platform's clock; by the app's only if no platform ever spoke.

    That a date passed counts only where it is what ended the purchase: whether our clock noted it before a grace period
    moved it, or before a refund came, is chance.
    """
    entries = period.entries
    if _PASSED in [entry.kind for entry in entries]:
        date = _seconds(period.facts.expires_at_ms) if cause is not None and cause.rule == LAPSED else None
        entries = [e for e in entries if e.kind is not _PASSED or _seconds(e.facts.expires_at_ms) == date] or entries
    for entry in reversed(entries):
        if entry.kind is not _TOLD:
            return entry.occurred_at_ms // 1000
    return entries[-1].occurred_at_ms // 1000


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
