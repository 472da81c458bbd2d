"""What the demo app sells, on every platform under the same names."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from config.products import ProductKind

MONTHLY: Final = "com.demo.pro.monthly"
YEARLY: Final = "com.demo.pro.yearly"
LIFETIME: Final = "com.demo.pro.lifetime"
COINS: Final = "com.demo.coins.100"


@dataclass(frozen=True, slots=True)
class Good:
    """One thing that can be bought.

    Attributes:
        amount: minor units, for the whole quantity.
        quantity: how many at once: packs of a consumable, seats of a subscription.
        days: how long it lasts; None: for ever.
        seats: each of several is a place for another person.
    """

    product_id: str
    kind: ProductKind
    amount: int = 999
    quantity: int = 1
    days: int | None = None
    seats: bool = False


GOODS: Final[Mapping[str, Good]] = MappingProxyType({
    "month": Good(MONTHLY, "subscription", days=30),
    "year": Good(YEARLY, "subscription", amount=9_999, days=365),
    "seats": Good(MONTHLY, "subscription", amount=4_995, quantity=5, days=30, seats=True),
    "lifetime": Good(LIFETIME, "non_consumable"),
    "coins": Good(COINS, "consumable", amount=499),
    "three packs of coins": Good(COINS, "consumable", amount=1_497, quantity=3),
})  # fmt: skip
