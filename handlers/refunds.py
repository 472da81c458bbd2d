"""Follow each refund and chargeback of a purchase through its states, and weigh what they add up to.

The states are drawn in docs/ledger.md.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from schemas.entry import Entry, EntryKind, PurchaseFacts, RefundFacts, RefundScope
from schemas.resources import RefundStatus

K = EntryKind
DECLINED: Final = "declined"
"""Why a request for a refund came to nothing: `failed_reason` of its record."""
State = RefundStatus | Literal["inquiry", "inquiry_closed", "declined"]
Weight = Literal["none", "partial", "full"]

_SAYS: Final[dict[EntryKind, State]] = {
    K.REFUND_REQUESTED: "to_issue",
    K.REFUND_DECLINED: "declined",
    K.REFUND_PENDING: "pending",
    K.REFUND_REQUIRES_ACTION: "requires_action",
    K.REFUND_SUCCEEDED: "succeeded",
    K.REFUND_CANCELED: "canceled",
    K.REFUND_FAILED: "failed",
    K.REFUND_REVERSED: "reversed",
    # A chargeback is a refund that the bank makes: the money is gone when it opens, for good when it is lost.
    K.INQUIRY_OPENED: "inquiry",
    K.INQUIRY_CLOSED: "inquiry_closed",
    K.CHARGEBACK_OPENED: "pending",
    K.CHARGEBACK_WON: "reversed",
    K.CHARGEBACK_LOST: "succeeded",
}
REFUND_KINDS = frozenset(_SAYS)
_TOTAL: Final = K.REFUNDED_TOTAL

_RETURNED: Final = ("failed", "canceled")
TAKING: Final[frozenset[RefundStatus]] = frozenset({"succeeded", "pending", "requires_action"})
"""The statuses of refunds and chargebacks that may take access away."""

STATES: Final[tuple[State | None, ...]] = (
    None, "inquiry", "inquiry_closed", "to_issue", "declined", "pending", "requires_action", "succeeded", "failed",
    "canceled", "reversed",
)  # fmt: skip

REFUSED: Final[dict[tuple[State, EntryKind], str]] = {
    # What a platform says late about an earlier moment has been sorted into its place before it comes here. What is
    # refused here contradicts what the platform itself said of an earlier moment; the safe side keeps its state.
    ("succeeded", K.REFUND_PENDING): "already_succeeded",
    ("succeeded", K.REFUND_REQUIRES_ACTION): "already_succeeded",
    ("failed", K.REFUND_PENDING): "already_failed",
    ("failed", K.REFUND_REQUIRES_ACTION): "already_failed",
    ("failed", K.REFUND_SUCCEEDED): "already_failed",
    ("failed", K.REFUND_CANCELED): "already_failed",
    ("failed", K.REFUND_REVERSED): "already_failed",
    ("canceled", K.REFUND_PENDING): "already_canceled",
    ("canceled", K.REFUND_REQUIRES_ACTION): "already_canceled",
    ("canceled", K.REFUND_SUCCEEDED): "already_canceled",
    ("canceled", K.REFUND_FAILED): "already_canceled",
    ("canceled", K.REFUND_REVERSED): "already_canceled",
    ("reversed", K.REFUND_PENDING): "already_reversed",
    ("reversed", K.REFUND_REQUIRES_ACTION): "already_reversed",
    ("reversed", K.REFUND_CANCELED): "already_reversed",
    ("reversed", K.REFUND_FAILED): "already_reversed",
    # Money that is on its way, or was, is past asking. A request after that speaks of another part of the purchase.
    ("pending", K.REFUND_REQUESTED): "already_pending",
    ("pending", K.REFUND_DECLINED): "already_pending",
    ("requires_action", K.REFUND_REQUESTED): "already_pending",
    ("requires_action", K.REFUND_DECLINED): "already_pending",
    ("succeeded", K.REFUND_REQUESTED): "already_succeeded",
    ("succeeded", K.REFUND_DECLINED): "already_succeeded",
    ("failed", K.REFUND_REQUESTED): "already_failed",
    ("failed", K.REFUND_DECLINED): "already_failed",
    ("canceled", K.REFUND_REQUESTED): "already_canceled",
    ("canceled", K.REFUND_DECLINED): "already_canceled",
    ("reversed", K.REFUND_DECLINED): "already_reversed",
    # A question after the claim, or a claim after its verdict, would give back what only a won case gives back.
    ("pending", K.INQUIRY_OPENED): "already_opened",
    ("succeeded", K.INQUIRY_OPENED): "already_lost",
    ("succeeded", K.INQUIRY_CLOSED): "already_lost",
    ("reversed", K.INQUIRY_OPENED): "already_won",
    ("reversed", K.INQUIRY_CLOSED): "already_won",
    ("succeeded", K.CHARGEBACK_OPENED): "already_lost",
}
"""Pairs that leave the state as it is, by name."""

TRANSITIONS: Final[dict[tuple[State | None, EntryKind], State]] = {
    (state, kind): says for state in STATES for kind, says in _SAYS.items() if (state, kind) not in REFUSED
} | {
    # A claim that is called off is a claim that was won: what it took comes back, and everyone hears of it.
    ("pending", K.INQUIRY_CLOSED): "reversed"
}
"""Every other pair: where a refund in this state goes when that is said of it."""


class Followed(NamedTuple):
    """One refund or chargeback, as far as its entries tell."""

    facts: RefundFacts
    state: State
    created_at_ms: int
    updated_at_ms: int
    returned_at_ms: int | None = None
    """When it first came to be failed or canceled, if it is."""
    contradiction: str | None = None
    """Both numbers, if its money does not fit what was paid."""


def follow(entries: Iterable[Entry]) -> tuple[Followed, ...]:
    """Fold the entries of one purchase into its refunds, one per `platform_refund_id`.

    Args:
        entries: of one purchase, in platform order. Those that speak of no refund are passed over.
    """
    followed: dict[str, Followed] = {}
    for entry in entries:
        refund = entry.refund
        if refund is not None and entry.kind in REFUND_KINDS:
            key = refund.platform_refund_id
            followed[key] = _step(followed.get(key), entry, refund)
    return tuple(followed.values())


def unnamed(entries: Iterable[Entry], named: Sequence[Followed], prices: Mapping[str, int]) -> tuple[Followed, ...]:
    """Make refunds of what the platform says went back in all, beyond what the named refunds explain.

    There is one total for each payment of the purchase, by its name. A named refund explains its amount whatever became
    of it later: the total was told when it still counted. What had failed before is in no total told since. Of two
    totals with the same time the higher one is the later: within a second, more goes back and nothing returns.

    Args:
        entries: of one purchase, in platform order.
        named: what `follow` finds in them.
        prices: what its platform says was paid, by currency: all of one payment may be a part of it.
    """
    last: dict[str, tuple[int, RefundFacts]] = {}
    for entry in entries:
        if entry.kind is _TOTAL and (total := entry.refund) is not None:
            told = (entry.occurred_at_ms, total)
            last[total.platform_refund_id] = max(last.get(total.platform_refund_id, told), told, key=_later)
    if not last:
        return ()
    rests, used = [], 0
    for at, total in sorted(last.values(), key=lambda told: (told[0], told[1].platform_refund_id)):
        explained = max(0, sum(f.facts.amount or 0 for f in named if _counted(f, at)) - used)
        amount = (total.amount or 0) - explained
        used += min(explained, total.amount or 0)
        if amount > 0:
            whole = amount == total.amount and amount >= prices.get(total.currency or "", 0)
            rests.append(_rest(total, amount, at, scope=total.scope if whole else "partial"))
    return tuple(rests)


def _later(told: tuple[int, RefundFacts]) -> tuple[int, int]:
    return told[0], told[1].amount or 0


def _counted(refund: Followed, at_ms: int) -> bool:
    """Tell whether a total that was told then has this refund in it."""
    gone_before = refund.returned_at_ms is not None and refund.returned_at_ms < at_ms
    return refund.facts.type != "chargeback" and not gone_before


def _rest(total: RefundFacts, amount: int, at_ms: int, *, scope: RefundScope) -> Followed:
    facts = total.model_copy(update={"amount": amount, "scope": scope, "amount_source": "exact"})
    return Followed(facts, "succeeded", created_at_ms=total.created_at_ms or at_ms, updated_at_ms=at_ms)


def weigh(refunds: Sequence[Followed], paid: PurchaseFacts, *, full_from_percent: int) -> Weight:
    """Tell whether these refunds together took everything, a part, or nothing.

    What cannot be compared (an unknown price, another currency) counts as everything unless its platform called it
    a part: most refunds are full, and a customer who was charged after all will say so.
    """
    scopes = [refund.facts.scope for refund in refunds]
    if not scopes:
        return "none"
    if "full" in scopes:
        return "full"
    for part, whole in _parts(refunds, paid):
        if part is not None and whole:
            return "full" if part * 100 >= whole * full_from_percent else "partial"
    return "full" if "unknown" in scopes else "partial"


def _parts(refunds: Sequence[Followed], paid: PurchaseFacts) -> Iterator[tuple[int | None, int | None]]:
    """Measure what went back beside the whole of it, by one measure after the other: the first that fits is enough."""
    yield sum_of_amounts(refunds, paid), paid.amount
    yield _sum([refund.facts.share_millis for refund in refunds]), 100_000
    yield _pieces(refunds, paid), paid.quantity


def _pieces(refunds: Iterable[Followed], paid: PurchaseFacts) -> int | None:
    """Count how many of several went back; what the platform says is left is the surer word."""
    if paid.quantity is not None and paid.quantity_left is not None:
        return max(0, paid.quantity - paid.quantity_left)
    return _sum([refund.facts.quantity for refund in refunds])


def sum_of_amounts(refunds: Iterable[Followed], paid: PurchaseFacts) -> int | None:
    """Add what went back; None as soon as an amount is missing or two currencies would mix."""
    total, currency = 0, paid.currency
    for refund in refunds:
        said = refund.facts
        if said.amount is None or not _one_currency(currency, said.currency):
            return None
        total, currency = total + said.amount, currency or said.currency
    return total


def estimate(refund: Followed, paid: PurchaseFacts) -> Followed:
    """Give a full refund whose platform names no sum (Google Play, Amazon) the price as its amount, marked as such."""
    told = refund.facts
    if told.scope != "full" or told.amount is not None or paid.amount is None or paid.currency is None:
        return refund
    if told.currency not in (None, paid.currency):
        return refund
    known = {"amount": paid.amount, "currency": paid.currency, "amount_source": "estimated"}
    return refund._replace(facts=refund.facts.model_copy(update=known))


def scope_of(refund: RefundFacts, paid: PurchaseFacts) -> RefundScope:
    """Name the scope that the platform left open, where the amounts allow it."""
    if refund.scope != "unknown" or not paid.amount or refund.amount is None:
        return refund.scope
    if not _one_currency(refund.currency, paid.currency):
        return refund.scope
    return "full" if refund.amount >= paid.amount else "partial"


def _step(before: Followed | None, entry: Entry, refund: RefundFacts) -> Followed:
    state = TRANSITIONS.get((before.state if before else None, entry.kind))
    if state is None and before is not None:
        return before
    at = entry.occurred_at_ms
    created = min(at, refund.created_at_ms or at, before.created_at_ms if before else at)
    facts = _newer(before.facts, refund) if before else refund
    again = before is not None and before.state == state
    returned = before.returned_at_ms if before and again else at if state in _RETURNED else None
    return Followed(facts, state or "pending", created_at_ms=created, updated_at_ms=at, returned_at_ms=returned)


def _newer(old: RefundFacts, new: RefundFacts) -> RefundFacts:
    """Let the newer word win, and the older one stand where the newer is silent."""
    said = {
        name: value
        for name, value in new
        if value is not None and not (name in ("scope", "amount_source") and value == "unknown")
    }
    # What of the purchase went back is one statement: seats at first, and all of it later, are not both.
    whole = {"seats": new.seats} if "scope" in said else {}
    return old.model_copy(update=said | whole)


def _one_currency(this: str | None, that: str | None) -> bool:
    """Tell whether amounts can be compared: nobody named two currencies. One that is not named is no other one."""
    return this == that or not this or not that


def _sum(parts: Iterable[int | None]) -> int | None:
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total
