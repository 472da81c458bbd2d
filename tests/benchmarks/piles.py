"""Piles of notifications, made and signed before anything is timed; no two of a pile are the same."""

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from tests.benchmarks.load import request
from tests.benchmarks.place import Place
from worker.demo.trust import APP, LIFETIME_PRODUCT, PRODUCT
from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.sales import DAY_MS, Till
from worker.simulator.stripe import StripeSimulator

STRIPE_BYTES = 4_082
"""As long as a `charge.refunded` of a live account; the simulator's own are shorter, having no optional fields."""
_NUMBERS = itertools.count(time.time_ns() // 1_000_000)
"""From where no earlier run came: a ledger may be kept and asked again (`ledgers.py`)."""


@dataclass(frozen=True)
class Kind:
    """One kind of refund, and the purchase that it takes back.

    Attributes:
        subscription: of a period, else of what was bought once.
    """

    name: str
    platform: str
    says: Callable[[Simulator, Sale, float], Shot]
    subscription: bool

    @property
    def path(self) -> str:
        """Name the door."""
        return f"/webhooks/{self.platform}/{APP}"

    def sales(self, count: int, now: float) -> list[Sale]:
        """Sell to so many new customers."""
        bought_ms = int(now * 1000) - 9 * DAY_MS
        return [till.sell(0, bought_ms=bought_ms, subscription=self.subscription) for till in self._tills(count)]

    def _tills(self, count: int) -> Iterator[Till]:
        """Open tills of customers and purchases that differ for certain, which short random names do not."""
        random = Random()
        for _ in range(count):
            user = uuid.uuid4()
            name = str(user) if self.platform == "apple" else f"user-{user.hex}"
            # Room for the renewals of each between it and the next.
            purchase = f"2{100 * next(_NUMBERS):015}" if self.platform == "apple" else None
            yield Till(
                self.platform,
                random,
                product_id=PRODUCT,
                lifetime_product_id=LIFETIME_PRODUCT,
                user_id=name,
                purchase_id=purchase,
            )

    def refunds(self, place: Place, sales: list[Sale], now: float) -> list[Shot]:
        """Say of each that its money went back."""
        simulator = place.simulator(self.platform)
        return [self.says(simulator, sale, now) for sale in sales]

    def purchases(self, place: Place, sales: list[Sale], now: float) -> list[Shot]:
        """Say of each that it was bought."""
        simulator = place.simulator(self.platform)
        return [simulator.purchase(sale, now) for sale in sales]

    def requests(self, place: Place, count: int) -> list[bytes]:
        """Make refunds of new customers, as they go over the wire."""
        return self.signed(place, self.sales(count, time.time()))

    def signed(self, place: Place, sales: list[Sale]) -> list[bytes]:
        """Make refunds of these, as they go over the wire."""
        return [request(self.path, shot.body, shot.headers) for shot in self.refunds(place, sales, time.time())]


def stripe_refund(simulator: Simulator, sale: Sale, now: float) -> Shot:
    """Say `refund.created` with as many notes of the shop's own as make it as long as a real event."""
    if not isinstance(simulator, StripeSimulator):
        raise TypeError("not Stripe")
    refund = simulator.refund_object(sale, now)
    short = STRIPE_BYTES - len(simulator.event("refund.created", refund, now).body)
    notes = {f"note_{number:02}": "x" * 40 for number in range((short - 8) // 67)}
    return simulator.event("refund.created", {**refund, "metadata": notes}, now)


def apple_refund(simulator: Simulator, sale: Sale, now: float) -> Shot:
    """Say REFUND: of a subscription with its transaction and its renewal, else with its transaction alone."""
    return simulator.refund(sale, now)


STRIPE = Kind("Stripe", "stripe", stripe_refund, subscription=False)
APPLE_ONCE = Kind("Apple, transaction", "apple", apple_refund, subscription=False)
APPLE = Kind("Apple, transaction + renewal", "apple", apple_refund, subscription=True)
KINDS = (STRIPE, APPLE_ONCE, APPLE)
