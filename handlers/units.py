"""Count the units of a consumable: what it was worth, and what its refunds take back from the customer's balance."""

from collections.abc import Sequence

from config.policy import Policy
from config.products import Product
from handlers.causes import Cause
from handlers.refunds import Followed
from schemas.entry import PurchaseFacts


def worth(paid: PurchaseFacts, product: Product | None) -> int | None:
    """Tell how many units a purchase was worth; None: it is no consumable, or of a product nobody configured."""
    if product is None or (paid.kind or product.kind) != "consumable":
        return None
    return product.units * (1 if paid.quantity is None else paid.quantity)


def clawed_back(
    total: int, followed: Sequence[Followed], paid: PurchaseFacts, cause: Cause | None, policy: Policy
) -> int:
    """Tell how many units went back: all of a purchase that money revoked, else those of the pieces refunded.

    A refund of a part of the price without a number of pieces takes nothing: whether a part of the money ends the
    purchase is what the rule `partial_refund` says. Where no money moved, none of what it bought goes back.

    Args:
        total: what `worth` finds, if it finds any.
        followed: the refunds of the purchase.
        paid: what is known of it.
        cause: what decided on access to it.
        policy: the app's rules.
    """
    if policy.consumable_refund == "tell":
        return 0
    if cause is not None and cause.effect == "revoke" and cause.takes_money:
        return total
    quantity = paid.quantity or 1
    return min(total, total // quantity * pieces(followed, paid))


def pieces(followed: Sequence[Followed], paid: PurchaseFacts) -> int:
    """Count how many of several were refunded, by each refund or by what the platform says is left."""
    gone = [f.facts for f in followed if f.state == "succeeded" and f.contradiction is None]
    named = sum(said.quantity or 0 for said in gone if said.scope == "quantity")
    left = paid.quantity if paid.quantity_left is None else paid.quantity_left
    return max(named, (paid.quantity or 0) - (left or 0))
