"""What a simulated platform sells, and what it posts about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from config.products import ProductKind


@dataclass(frozen=True, slots=True)
class Sale:
    """One purchase by one user, with every id a platform may need to speak of it.

    Attributes:
        purchase_id: transactionId, orderId, charge or receiptId.
        original_purchase_id: what its renewals share with it: originalTransactionId, purchase token, subscription.
        amount: minor units of `currency`.
        period: 0 for the first purchase, then one more with each renewal.
        consumable: what was bought once is used up; of several at a time that goes without saying.
        seats: the quantity is one of places for other people.
        family: the copy of a family member, who paid nothing.
        replaces: the purchase whose place this one takes, by an upgrade.
    """

    user_id: str
    product_id: str
    purchase_id: str
    original_purchase_id: str
    amount: int
    currency: str
    purchased_at_ms: int
    expires_at_ms: int | None
    period: int = 0
    subscription: bool = True
    quantity: int = 1
    consumable: bool = False
    seats: bool = False
    family: bool = False
    replaces: str | None = None

    @property
    def kind(self) -> ProductKind:
        """Tell what kind of product was sold."""
        if self.subscription:
            return "subscription"
        return "consumable" if self.consumable or self.quantity > 1 else "non_consumable"


def backend_word(sale: Sale, *, platform: str, **ids: str | None) -> dict[str, Any]:
    """Write what an app's backend knows of a sale, as it posts it to `/v1/purchases`.

    Args:
        sale: what was sold.
        platform: where.
        ids: what else names it there: `original_purchase_id`, `purchase_token`.
    """
    word = {
        "platform": platform,
        "purchase_id": sale.purchase_id,
        **ids,
        "product_id": sale.product_id,
        "user_id": sale.user_id,
        "kind": sale.kind,
        "quantity": sale.quantity,
        "amount": None if sale.family else sale.amount,
        "currency": None if sale.family else sale.currency,
        "purchased_at": sale.purchased_at_ms // 1000,
        "expires_at": None if sale.expires_at_ms is None else sale.expires_at_ms // 1000,
    }
    return {name: value for name, value in word.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Shot:
    """One POST, signed and ready: to send it twice is to send a duplicate.

    Attributes:
        type: the platform's word for it, to be shown to a person.
    """

    type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Simulator(Protocol):
    """Speak as one platform. Each call makes a new notification with a new id, signed at `now` (Unix seconds).

    These verbs every platform has. What only some of them say (a refund that is asked for, a dispute, an upgrade) they
    call by the same name, and in the same way, as `purchase`.
    """

    def purchase(self, sale: Sale, now: float) -> Shot:
        """Say that it was bought."""
        ...

    def renew(self, sale: Sale, now: float) -> Shot:
        """Say that `sale`, a later period, was paid."""
        ...

    def refund(self, sale: Sale, now: float) -> Shot:
        """Say that all its money went back."""
        ...

    def undo_refund(self, sale: Sale, now: float) -> Shot | None:
        """Say that the refund was reversed or failed; None where the platform has no such thing."""
        ...

    def expire(self, sale: Sale, now: float) -> Shot | None:
        """Say that it ended by itself; None where the platform has no such thing."""
        ...

    def reseal(self, shot: Shot, now: float) -> Shot:
        """Seal what was said before for delivery at `now`, as the platform does when it has to try again."""
        ...

    def forge(self, shot: Shot, now: float) -> tuple[tuple[str, Shot], ...]:
        """Make named forgeries of a good notification, each of which must be refused."""
        ...


class Backend(Protocol):
    """What the app's own backend says of a sale: the JSON of `POST /v1/purchases`, or None if the platform said all."""

    def __call__(self, sale: Sale) -> Mapping[str, Any] | None:
        """Say it of one sale."""
        ...
