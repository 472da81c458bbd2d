"""The state of purchases is a pure fold over their entries, in platform order and never in order of arrival.

It reads no clock: the passing of an expiry date is itself an entry (`LAPSED`), so folding the same entries tomorrow
gives the same state. What takes access away is kept as a set of causes, one per refund, chargeback or revocation:
undoing one of them undoes exactly that one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from config.policy import Effect, Policy
from config.products import Product
from handlers import facts, ids
from handlers.clusters import Cluster, clusters, in_platform_order
from handlers.refunds import Followed, State, estimate, follow, scope_of, sum_of_amounts, unnamed, weigh
from schemas.base import Access, Environment, realm
from schemas.book import Ref
from schemas.entry import Entry, EntryKind, PurchaseFacts
from schemas.resources import Purchase, Refund, RefundStatus

K = EntryKind

LIFE: Final[dict[EntryKind, Access | None]] = {
    # What each kind says about the life of a purchase, money aside. None: nothing.
    K.LINKED: None,
    K.TOLD: None,
    K.PURCHASED: Access.ACTIVE,
    K.RENEWED: Access.ACTIVE,
    K.EXPIRED: Access.EXPIRED,
    K.LAPSED: Access.EXPIRED,
    K.REVOKED: None,
    K.REFUND_PENDING: None,
    K.REFUND_REQUIRES_ACTION: None,
    K.REFUND_SUCCEEDED: None,
    K.REFUND_CANCELED: None,
    K.REFUND_FAILED: None,
    K.REFUND_REVERSED: None,
    K.REFUNDED_TOTAL: None,
    K.INQUIRY_OPENED: None,
    K.INQUIRY_CLOSED: None,
    K.CHARGEBACK_OPENED: None,
    K.CHARGEBACK_WON: None,
    K.CHARGEBACK_LOST: None,
}


_REFUND_RULES: Final[dict[State, str]] = {
    "succeeded": "full_refund",
    "pending": "pending_refund",
    "requires_action": "pending_refund",
}
_CHARGEBACK_RULES: Final[dict[State, str]] = {
    "inquiry": "inquiry_opened",
    "pending": "chargeback_opened",
    "succeeded": "chargeback_lost",
}
"""Which rule of the policy weighs a refund or chargeback in this state. Other states take nothing."""

_STATUS: Final[dict[State, RefundStatus]] = {status: status for status in get_args(RefundStatus)}
"""The states of a refund that are on record. An inquiry is a question: no money moved."""

TAKING: Final[frozenset[RefundStatus]] = frozenset({"succeeded", "pending", "requires_action"})
"""The statuses of refunds and chargebacks that may take access away."""

PLATFORM_REVOKED: Final = "platform_revoked"
_STRENGTH: Final[tuple[Effect, ...]] = ("keep", "suspend", "revoke")
_BOUGHT: Final = "bought"


@dataclass(frozen=True, slots=True)
class View:
    """What the entries of one lineage amount to."""

    purchases: tuple[Purchase, ...]
    refunds: tuple[Refund, ...]


@dataclass(frozen=True, slots=True)
class _Cause:
    """One reason for less than full access."""

    effect: Effect
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Period:
    """One purchase with everything that bears on it."""

    cluster: Cluster
    facts: PurchaseFacts
    whole_lineage: tuple[Entry, ...]
    """What is said of the whole lineage and concerns this purchase."""

    @property
    def entries(self) -> list[Entry]:
        return in_platform_order((*self.cluster.entries, *self.whole_lineage))


def fold(entries: Sequence[Entry], *, policy: Policy, products: Mapping[str, Product]) -> View:
    """Fold every entry of one lineage into its purchases and refunds.

    Args:
        entries: in any order; all of one app, platform and realm.
        policy: the app's rules.
        products: the app's products, by product id.
    """
    ordered = in_platform_order(entries)
    if not ordered:
        return View((), ())
    environment = _environment(ordered)
    views = [_fold_period(period, policy, products, environment) for period in _periods(ordered)]
    return View(
        purchases=tuple(view.purchases[0] for view in views),
        refunds=tuple(refund for view in views for refund in view.refunds),
    )


def purchase_id_of(ref: Ref) -> str:
    """Make our id of the purchase that goes by this id; `kind:` is left out, since it is found under any of them."""
    return ids.make("pur", ref.app, ref.platform, ref.realm, ref.ref.partition(":")[2])


def _environment(entries: Sequence[Entry]) -> Environment:
    """A lineage is a test as soon as anyone says so; where nobody says, it is production."""
    return "sandbox" if any(entry.environment == "sandbox" for entry in entries) else "production"


def _periods(ordered: Sequence[Entry]) -> list[_Period]:
    """Give each purchase its facts, and its share of what was said of the whole lineage."""
    whole = tuple(entry for entry in ordered if entry.whole_lineage)
    grouped = clusters([entry for entry in ordered if not entry.whole_lineage])
    # Unknown counts as before everything, so that what ends a lineage ends it too.
    started = {cluster.purchase_id: facts.purchased_at_ms(cluster.entries) or 0 for cluster in grouped}
    concerned = [(entry, _concerned(entry, started)) for entry in whole]
    users = facts.users(ordered)
    periods = []
    for cluster in grouped:
        concerning = tuple(entry for entry, purchases in concerned if cluster.purchase_id in purchases)
        periods.append(_Period(cluster, facts.merge(cluster.entries, concerning, users), concerning))
    return periods


def _concerned(entry: Entry, started: Mapping[str, int]) -> Collection[str]:
    """List the purchases of a lineage that something said of it as a whole is about.

    An end ends every period bought before; a renewal without an order id continues the newest of them.
    """
    if entry.kind in (K.PURCHASED, K.LINKED, K.TOLD):
        return started.keys()
    before = {purchase_id for purchase_id, at in started.items() if at <= entry.occurred_at_ms}
    if entry.kind is K.RENEWED and before:
        return {max(before, key=lambda purchase_id: (started[purchase_id], purchase_id))}
    return before


def _fold_period(period: _Period, policy: Policy, products: Mapping[str, Product], environment: Environment) -> View:
    entries, paid = period.entries, period.facts
    named = follow(entries)
    rest = unnamed(entries, named)
    followed = [estimate(refund, paid) for refund in ((*named, rest) if rest else named)]
    access, cause = _access(entries, paid, _causes(entries, followed, paid, policy))
    product = products.get(paid.product_id or "")
    first = entries[0]
    space = realm(first.platform, environment)
    purchase = Purchase(
        id=purchase_id_of(Ref(first.app, first.platform, space, f"purchase:{period.cluster.purchase_id}")),
        app=first.app,
        platform=first.platform,
        environment=environment,
        purchase_id=period.cluster.purchase_id,
        original_purchase_id=_original(period),
        product_id=paid.product_id,
        kind=paid.kind or (product.kind if product else None),
        user_id=paid.user_id,
        quantity=paid.quantity,
        amount=paid.amount,
        amount_refunded=_amount_refunded(followed, paid),
        currency=paid.currency,
        purchased_at=_seconds(paid.purchased_at_ms),
        expires_at=_seconds(paid.expires_at_ms),
        access=access,
        access_reason=cause.reason if cause else None,
        rule=cause.rule if cause else None if access is Access.UNKNOWN else _BOUGHT,
        entitlements=product.entitlements if product else (),
        aliases=period.cluster.aliases,
        updated_at=_updated_at(entries),
    )
    money = tuple(_refund(f, status, purchase, paid) for f in followed if (status := _STATUS.get(f.state)))
    return View((purchase,), money)


def _causes(
    entries: Sequence[Entry], followed: Sequence[Followed], paid: PurchaseFacts, policy: Policy
) -> list[_Cause]:
    """List everything that speaks against access, each with the rule that says how much."""
    causes = [_Cause("revoke", PLATFORM_REVOKED, e.reason or "revoked") for e in entries if e.kind is K.REVOKED]
    refunds = [f for f in followed if f.facts.type != "chargeback"]
    for state, rule in _REFUND_RULES.items():
        if in_state := [f for f in refunds if f.state == state]:
            # What is on its way counts beside what has gone already.
            counted = [f for f in refunds if f.state in ("succeeded", state)]
            full = weigh(counted, paid, full_from_percent=policy.full_refund_from_percent) == "full"
            chosen = rule if full else _rule_of_a_part(in_state, policy, rule)
            causes.append(_by_policy(policy, chosen, in_state[-1].facts.reason or "refund"))
    causes.extend(
        _by_policy(policy, _CHARGEBACK_RULES[f.state], f.facts.reason or "chargeback")
        for f in followed
        if f.facts.type == "chargeback" and f.state in _CHARGEBACK_RULES
    )
    return causes


def _rule_of_a_part(refunds: Sequence[Followed], policy: Policy, rule: str) -> str:
    """Tell a part of the price from the rest of the time, after which nothing is left to use.

    A part that is on its way takes no more than it will take once it has arrived.
    """
    arrived = "prorated_refund" if any(f.facts.scope == "prorated" for f in refunds) else "partial_refund"
    milder = _STRENGTH.index(getattr(policy, arrived)) < _STRENGTH.index(getattr(policy, rule))
    return arrived if rule == "full_refund" or milder else rule


def _by_policy(policy: Policy, rule: str, reason: str) -> _Cause:
    effect: Effect = getattr(policy, rule)
    return _Cause(effect, f"{rule}={effect}", reason)


def _access(entries: Sequence[Entry], paid: PurchaseFacts, causes: Sequence[_Cause]) -> tuple[Access, _Cause | None]:
    """Let the strongest cause decide: revoked before expired before suspended before active."""
    if not (paid.product_id or any(e.kind in (K.TOLD, K.PURCHASED, K.RENEWED) for e in entries)):
        return Access.UNKNOWN, None
    by_effect = {cause.effect: cause for cause in reversed(causes)}
    if "revoke" in by_effect:
        return Access.REVOKED, by_effect["revoke"]
    if ended := _ended(entries, paid):
        return Access.EXPIRED, ended
    if "suspend" in by_effect:
        return Access.SUSPENDED, by_effect["suspend"]
    return Access.ACTIVE, by_effect.get("keep")


def _ended(entries: Sequence[Entry], paid: PurchaseFacts) -> _Cause | None:
    """Tell how it ended, if it did: by the platform's last word on its life, or by its date, while that stands.

    A date that passed counts even where the platform said "bought" later than that: its notification was signed late,
    and left alone the purchase would run out anew in every round of the sweeper.
    """
    told = [entry for entry in entries if LIFE[entry.kind] is not None and entry.kind is not K.LAPSED]
    if told and LIFE[told[-1].kind] is Access.EXPIRED:
        return _Cause("keep", "platform_expired", told[-1].reason or "expired")
    date = _seconds(paid.expires_at_ms)
    lapsed = any(entry.kind is K.LAPSED and _seconds(entry.facts.expires_at_ms) == date for entry in entries)
    return _Cause("keep", "lapsed", "expired") if lapsed else None


def _original(period: _Period) -> str | None:
    refs = sorted({ref for entry in period.cluster.entries for ref in entry.subject.lineage})
    return refs[0].partition(":")[2] if refs else None


def _amount_refunded(followed: Sequence[Followed], paid: PurchaseFacts) -> int:
    """Add what went back in the currency that was paid in, and never more than was paid."""
    gone = [f for f in followed if f.state == "succeeded" and f.facts.amount is not None]
    total = sum_of_amounts(gone, paid)
    if total is None:
        total = sum(f.facts.amount or 0 for f in gone if f.facts.currency == paid.currency)
    return total if paid.amount is None else min(total, paid.amount)


def _refund(followed: Followed, status: RefundStatus, purchase: Purchase, paid: PurchaseFacts) -> Refund:
    said = followed.facts
    space = realm(purchase.platform, purchase.environment)
    return Refund(
        id=ids.make("re", purchase.app, purchase.platform, space, said.platform_refund_id),
        app=purchase.app,
        platform=purchase.platform,
        environment=purchase.environment,
        platform_refund_id=said.platform_refund_id,
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
        reference=said.reference,
        receipt_number=said.receipt_number,
        failed_reason=said.failed_reason,
        failed_at=_seconds(followed.failed_at_ms),
        created_at=followed.created_at_ms // 1000,
        updated_at=followed.updated_at_ms // 1000,
    )


def _updated_at(entries: Sequence[Entry]) -> int:
    """When the last thing happened, by a platform's clock; by the app's only if no platform ever spoke."""
    said = [entry for entry in entries if entry.kind is not K.TOLD] or entries
    return max(entry.occurred_at_ms for entry in said) // 1000


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
