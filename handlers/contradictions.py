"""Set aside refunds whose money does not fit what its platform says was paid: kept, shown, and without effect."""

from collections.abc import Iterable, Mapping, Sequence

from handlers.refunds import Followed
from schemas.entry import Entry, EntryKind

_TOLD = EntryKind.TOLD


def paid_by_platform(own: Iterable[Entry]) -> Mapping[str, int]:
    """Find the highest price that the platform ever named, per currency.

    What the app's backend tells is no evidence against the platform: a price without tax is below every refund.
    """
    prices: dict[str, int] = {}
    for entry in own:
        if entry.kind is not _TOLD:
            amount, currency = entry.facts.amount, entry.facts.currency
            if amount is not None and currency is not None:
                prices[currency] = max(amount, prices.get(currency, 0))
    return prices


def judge(followed: Sequence[Followed], prices: Mapping[str, int]) -> list[Followed]:
    """Mark the refunds that go beyond what was paid, or speak of another currency, with both numbers.

    Args:
        followed: the refunds of one purchase, in platform order: of several, those count that came first.
        prices: what `paid_by_platform` finds. Where it finds nothing, nothing can contradict it.
    """
    gone = dict.fromkeys(prices, 0)
    return [_judged(refund, prices, gone) for refund in followed] if prices else list(followed)


def _judged(refund: Followed, prices: Mapping[str, int], gone: dict[str, int]) -> Followed:
    amount, currency = refund.facts.amount, refund.facts.currency
    if amount is None or currency is None or refund.facts.amount_source != "exact" or not _counts(refund):
        return refund
    if currency not in prices:
        paid_in, paid = next(iter(sorted(prices.items())))
        return refund._replace(contradiction=f"{amount} {currency} of {paid} {paid_in}")
    if gone[currency] + amount <= prices[currency]:
        gone[currency] += amount
        return refund
    if refund.facts.scope == "full" and refund.facts.type == "void" and amount <= prices[currency]:
        # That all of it went back is the platform's word; what it then says of sums is not needed to believe that.
        unsure = {"amount": None, "amount_source": "unknown"}
        return refund._replace(facts=refund.facts.model_copy(update=unsure))
    return refund._replace(contradiction=f"{gone[currency] + amount} of {prices[currency]} {currency}")


def _counts(refund: Followed) -> bool:
    """Leave out what moved no money, and the bank's claims: their amount follows the bank's rate of exchange."""
    return refund.facts.type != "chargeback" and refund.state in ("succeeded", "pending", "requires_action")
