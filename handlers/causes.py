"""List everything that speaks against access to a purchase, each with the rule of the policy that says how much.

Causes are a set: undoing one of them takes its own effect away and nothing else.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from config.policy import Effect, Policy
from handlers.periods import Period
from handlers.refunds import Followed, State, weigh
from schemas.entry import Entry, EntryKind

K = EntryKind

PLATFORM_REVOKED: Final = "platform_revoked"
SEATS_REFUNDED: Final = "seats_refunded"
"""Some seats of many went back. No rule can make that take the purchaser's own access."""

# Stripe: the customer disputed the charge while its refund was pending; the refund will not be made again
# (https://docs.stripe.com/refunds#failed-refunds). The money is where the bank decides.
_DISPUTED: Final = "charge_for_pending_refund_disputed"

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

_TAKEN_BACK: Final[dict[EntryKind, str]] = {
    K.MEMBER_REMOVED: "member_removed",
    K.CONSENT_RESCINDED: "consent_rescinded",
}
"""Which rule weighs access that was taken back without money."""

MONEY_RULES: Final = frozenset({
    "full_refund", "refund_without_cancellation", "partial_refund", "prorated_refund", "pending_refund",
    "chargeback_opened", "chargeback_lost",
})  # fmt: skip
"""The rules behind which a refund or chargeback on record stands."""

STRENGTH: Final[tuple[Effect, ...]] = ("keep", "suspend", "revoke")


class Cause(NamedTuple):
    """One reason for less than full access."""

    effect: Effect
    rule: str
    reason: str

    @property
    def takes_money(self) -> bool:
        """Tell whether a refund or chargeback on record stands behind it."""
        return by_money(self.rule)


def causes(period: Period, followed: Sequence[Followed], policy: Policy) -> list[Cause]:
    """List the causes of one purchase, in an order that does not depend on arrival.

    Args:
        period: the purchase with its entries.
        followed: its refunds and chargebacks. Those whose money contradicts the price take nothing.
        policy: the app's rules.
    """
    taken_back = list(_taken_back(period.entries, policy))
    if not followed:
        return taken_back
    believed = [f for f in followed if f.contradiction is None]
    refunds = [f for f in believed if f.facts.type != "chargeback"]
    chargebacks = [f for f in believed if f.facts.type == "chargeback"]
    return [
        *taken_back,
        *_by_refunds([f for f in refunds if f.facts.seats is None], period, policy),
        *_by_seats(refunds),
        *_by_chargebacks(chargebacks, policy),
        *_by_a_dispute_to_come(refunds, chargebacks, policy),
    ]


def by_money(rule: str | None) -> bool:
    """Tell whether a rule is one behind which a refund or chargeback on record stands."""
    return (rule or "").partition("=")[0] in MONEY_RULES


def strongest(found: Iterable[Cause], effect: Effect) -> Cause | None:
    """Find the first cause with this effect."""
    for cause in found:
        if cause.effect == effect:
            return cause
    return None


def _taken_back(entries: Iterable[Entry], policy: Policy) -> Iterable[Cause]:
    for entry in entries:
        if entry.kind is K.REVOKED:
            yield Cause("revoke", PLATFORM_REVOKED, entry.reason or "revoked")
        elif rule := _TAKEN_BACK.get(entry.kind):
            yield _by_policy(policy, rule, entry.reason or rule)


def _by_refunds(refunds: Sequence[Followed], period: Period, policy: Policy) -> Iterable[Cause]:
    """Weigh, for each state, what is in it together with what has gone already."""
    for state, rule in _REFUND_RULES.items():
        if in_state := [f for f in refunds if f.state == state]:
            counted = [f for f in refunds if f.state in ("succeeded", state)]
            full = weigh(counted, period.facts, full_from_percent=policy.full_refund_from_percent) == "full"
            chosen = _rule_of_all(period, rule) if full else _rule_of_a_part(in_state, policy, rule)
            yield _by_policy(policy, chosen, in_state[-1].facts.reason or "refund")


def _rule_of_all(period: Period, rule: str) -> str:
    """Tell a refund from one of a subscription that nobody canceled: at Stripe these are two decisions.

    "Refunding does not cancel a subscription" is true of Stripe alone
    (https://docs.stripe.com/billing/subscriptions/cancel): the stores end or go on by their own rules, and say so.
    """
    if rule != "full_refund" or period.cluster.entries[0].platform != "stripe":
        return rule
    goes_on = not any(entry.kind is K.EXPIRED for entry in period.whole_lineage)
    return "refund_without_cancellation" if period.cluster.lineage and goes_on else rule


def _rule_of_a_part(refunds: Sequence[Followed], policy: Policy, rule: str) -> str:
    """Tell a part of the price from the rest of the time, after which nothing is left to use.

    A part that is on its way takes no more than it will take once it has arrived.
    """
    arrived = "prorated_refund" if any(f.facts.scope == "prorated" for f in refunds) else "partial_refund"
    milder = STRENGTH.index(getattr(policy, arrived)) < STRENGTH.index(getattr(policy, rule))
    return arrived if rule == "full_refund" or milder else rule


def _by_seats(refunds: Iterable[Followed]) -> Iterable[Cause]:
    if any(f.facts.seats is not None and f.state == "succeeded" for f in refunds):
        yield Cause("keep", SEATS_REFUNDED, "seats")


def _by_chargebacks(chargebacks: Iterable[Followed], policy: Policy) -> Iterable[Cause]:
    for one in chargebacks:
        if rule := _CHARGEBACK_RULES.get(one.state):
            yield _by_policy(policy, rule, one.facts.reason or "chargeback")


def _by_a_dispute_to_come(
    refunds: Iterable[Followed], chargebacks: Sequence[Followed], policy: Policy
) -> Iterable[Cause]:
    """Give nothing back for a refund that failed because of a dispute that nobody told us of yet."""
    failed = any(f.state == "failed" and f.facts.failed_reason == _DISPUTED for f in refunds)
    if failed and not chargebacks:
        yield _by_policy(policy, "chargeback_opened", _DISPUTED)


def _by_policy(policy: Policy, rule: str, reason: str) -> Cause:
    effect: Effect = getattr(policy, rule)
    return Cause(effect, f"{rule}={effect}", reason)
