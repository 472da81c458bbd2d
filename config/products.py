"""Which product gives which access."""

from typing import Literal

from pydantic import Field

from config.section import Section

ProductKind = Literal["subscription", "non_consumable", "consumable", "non_renewing"]


class Product(Section):
    """One product as the app sells it."""

    kind: ProductKind = "subscription"
    entitlements: tuple[str, ...] = ()
    """The entitlement keys that owning this product gives."""
    units: int = Field(default=1, ge=0)
    """Consumables: what one unit of quantity is worth."""
