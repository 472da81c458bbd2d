"""Make up sales with ids in each platform's own style, reproducible from a seed."""

import string
import uuid
from random import Random
from typing import Final

from worker.simulator.sale import Sale

DAY_MS: Final = 24 * 3600 * 1000
MONTH_MS: Final = 30 * DAY_MS
AMOUNT: Final = 999
CURRENCY: Final = "usd"

_LETTERS = string.ascii_letters + string.digits


class Till:
    """Sells to one user: a subscription period after period, or something for life.

    Args:
        platform: whose ids to make.
        random: the source of every id.
        product_id: the subscription.
        lifetime_product_id: what is bought once.
        user_id: who buys; None: somebody new.
        purchase_id: the first purchase's id; None: a new one.
    """

    def __init__(
        self,
        platform: str,
        random: Random,
        *,
        product_id: str,
        lifetime_product_id: str,
        user_id: str | None = None,
        purchase_id: str | None = None,
    ) -> None:
        self._platform = platform
        self._random = random
        self._product_id = product_id
        self._lifetime_product_id = lifetime_product_id
        self.user_id = user_id or self._new_user()
        self._first_id = purchase_id or self._new_id()
        self._original_id = self._new_original()
        self._ids = {0: self._first_id}

    def sell(self, period: int, *, bought_ms: int, subscription: bool = True) -> Sale:
        """Sell a period of thirty days, or for life; the same period is always the same sale."""
        return Sale(
            user_id=self.user_id,
            product_id=self._product_id if subscription else self._lifetime_product_id,
            purchase_id=self._id_of(period),
            original_purchase_id=self._original_id,
            amount=AMOUNT,
            currency=CURRENCY,
            purchased_at_ms=bought_ms,
            expires_at_ms=bought_ms + MONTH_MS if subscription else None,
            period=period,
            subscription=subscription,
        )

    def _id_of(self, period: int) -> str:
        if period not in self._ids:
            renewal = f"{self._first_id}..{period - 1}" if self._platform == "google" else self._new_id()
            # Amazon keeps one receipt for the whole subscription.
            self._ids[period] = self._first_id if self._platform == "amazon" else renewal
        return self._ids[period]

    def _new_user(self) -> str:
        # An appAccountToken holds a UUID and nothing else.
        if self._platform == "apple":
            return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        return f"user-{self._letters(6).lower()}"

    def _new_id(self) -> str:
        if self._platform == "apple":
            return f"2000000{self._digits(9)}"
        if self._platform == "google":
            return f"GPA.{self._digits(4)}-{self._digits(4)}-{self._digits(4)}-{self._digits(5)}"
        if self._platform == "stripe":
            return f"ch_3{self._letters(23)}"
        return f"q1YqVrJSSl{self._letters(40)}:3:11"

    def _new_original(self) -> str:
        if self._platform == "google":
            return f"{self._letters(24).lower()}.AO-J1O{self._letters(60)}"
        if self._platform == "stripe":
            return f"sub_1{self._letters(23)}"
        return self._first_id

    def _digits(self, count: int) -> str:
        return "".join(self._random.choices(string.digits, k=count))

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(_LETTERS, k=count))
