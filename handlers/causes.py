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

_TAKEN_BACK: Final[dict[EntryKind, str | None]] = {
    K.REVOKED: None,
    K.MEMBER_REMOVED: "member_removed",
    K.CONSENT_RESCINDED: "consent_rescinded",
}
"""Which rule weighs access that was taken back without money; None: no rule can, the platform revoked it."""

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
    taken_back = [_taken_back(entry, policy) for entry in period.entries if entry.kind in _TAKEN_BACK]
    if not followed:
        return taken_back
    refunds: list[Followed] = []
    chargebacks: list[Followed] = []
    for one in followed:
        if one.contradiction is None:
            (chargebacks if one.facts.type == "chargeback" else refunds).append(one)
    whole = [f for f in refunds if f.facts.seats is None]
    return [
        *taken_back,
        *_by_refunds(whole, period, policy),
        *(_by_seats(refunds) if len(whole) < len(refunds) else ()),
        *(_by_chargebacks(chargebacks, policy) if chargebacks else _by_a_dispute_to_come(refunds, policy)),
    ]


def by_money(rule: str | None) -> bool:
    """Tell whether a rule is one behind which a refund or chargeback on record stands."""
    return rule is not None and rule.partition("=")[0] in MONEY_RULES


def strongest(found: Iterable[Cause], effect: Effect) -> Cause | None:
    """Find the first cause with this effect."""
    for cause in found:
        if cause.effect == effect:
            return cause
    return None


def _taken_back(entry: Entry, policy: Policy) -> Cause:
    rule = _TAKEN_BACK[entry.kind]
    if rule is None:
        return Cause("revoke", PLATFORM_REVOKED, entry.reason or "revoked")
    return _by_policy(policy, rule, entry.reason or rule)


def _by_refunds(refunds: Sequence[Followed], period: Period, policy: Policy) -> Iterable[Cause]:
    """Weigh, for each state, what is in it together with what has gone already."""
    states = {f.state for f in refunds}
    for state, rule in _REFUND_RULES.items():
        if state in states:
            in_state = [f for f in refunds if f.state == state]
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
    if not period.cluster.lineage:
        return rule
    ended = any(entry.kind is K.EXPIRED for entry in period.whole_lineage)
    return rule if ended else "refund_without_cancellation"


def _rule_of_a_part(refunds: Sequence[Followed], policy: Policy, rule: str) -> str:
    """Tell a part of the price from the rest of the time, after which nothing is left to use.

    A part that is on its way takes no more than it will take once it has arrived.
    """
    arrived = "prorated_refund" if any(f.facts.scope == "prorated" for f in refunds) else "partial_refund"
    milder = STRENGTH.index(getattr(policy, arrived)) < STRENGTH.index(getattr(policy, rule))
    return arrived if rule == "full_refund" or milder else rule


def _by_seats(refunds: Iterable[Followed]) -> Iterable[Cause]:
    """Take nothing for seats, however many."""
    given_back = [f for f in refunds if f.facts.seats is not None and f.state == "succeeded"]
    return (Cause("keep", SEATS_REFUNDED, "seats"),) if given_back else ()


def _by_chargebacks(chargebacks: Iterable[Followed], policy: Policy) -> Iterable[Cause]:
    return [
        _by_policy(policy, rule, one.facts.reason or "chargeback")
        for one in chargebacks
        if (rule := _CHARGEBACK_RULES.get(one.state))
    ]


def _by_a_dispute_to_come(refunds: Iterable[Followed], policy: Policy) -> Iterable[Cause]:
    """Give nothing back for a refund that failed because of a dispute that nobody told us of yet."""
    failed = [f for f in refunds if f.state == "failed" and f.facts.failed_reason == _DISPUTED]
    return (_by_policy(policy, "chargeback_opened", _DISPUTED),) if failed else ()


def _by_policy(policy: Policy, rule: str, reason: str) -> Cause:
    effect: Effect = getattr(policy, rule)
    return Cause(effect, f"{rule}={effect}", reason)
