"""Make up sales with ids in each platform's own style, reproducible from a seed."""

import string
import uuid
from random import Random
from typing import Final, Literal

from worker.simulator.goods import GOODS, LIFETIME, MONTHLY
from worker.simulator.sale import Sale

Role = Literal["period", "again", "upgrade", "member"]
"""What a sale is to those before it: the next period, another purchase, a better plan, a family member's copy."""

DAY_MS: Final = 24 * 3600 * 1000
CURRENCY: Final = "usd"
AMOUNT: Final = GOODS["month"].amount

_LETTERS = string.ascii_letters + string.digits


class Till:
    """Sells to one user, and to one more who shares: a period after period, something for life, something to use up.

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
        product_id: str = MONTHLY,
        lifetime_product_id: str = LIFETIME,
        user_id: str | None = None,
        purchase_id: str | None = None,
    ) -> None:
        self._platform = platform
        self._random = random
        self._names = {MONTHLY: product_id, LIFETIME: lifetime_product_id}
        self.user_id = user_id or self._new_user()
        self._first_id = purchase_id or self._new_id()
        self._original_id = self._new_original(self._first_id)
        self.member_id = self._new_user()
        self._known: dict[int, tuple[str, str]] = {}

    def sell(
        self,
        number: int,
        *,
        bought_ms: int,
        subscription: bool = True,
        good: str | None = None,
        role: Role = "period",
    ) -> Sale:
        """Sell something; the same number is always the same sale.

        Args:
            number: of the sale, from 0; of a period, counted from the first.
            bought_ms: Unix milliseconds.
            subscription: a month of the subscription, else for life; where no `good` is named.
            good: one of `GOODS`.
            role: what it is to what was sold before.
        """
        what = GOODS[good or ("month" if subscription else "lifetime")]
        purchase_id, original_id = self._ids(number, role)
        return Sale(
            user_id=self.member_id if role == "member" else self.user_id,
            product_id=self._names.get(what.product_id, what.product_id),
            purchase_id=purchase_id,
            original_purchase_id=original_id,
            amount=what.amount,
            currency=CURRENCY,
            purchased_at_ms=bought_ms,
            expires_at_ms=None if what.days is None else bought_ms + what.days * DAY_MS,
            period=number if role == "period" else 0,
            subscription=what.kind == "subscription",
            quantity=what.quantity,
            consumable=what.kind == "consumable",
            seats=what.seats,
            family=role == "member",
            replaces=self._first_id if role == "upgrade" else None,
        )

    def _ids(self, number: int, role: Role) -> tuple[str, str]:
        if number not in self._known:
            self._known[number] = self._new_ids(number, role)
        return self._known[number]

    def _new_ids(self, number: int, role: Role) -> tuple[str, str]:
        """Make the id of a sale, and the one that its renewals share with it."""
        if number == 0:
            return self._first_id, self._original_id
        if role == "period" and self._platform == "amazon":
            return self._first_id, self._original_id  # Amazon keeps one receipt for the whole subscription
        if role == "period" and self._platform == "google":
            return f"{self._first_id}..{number - 1}", self._original_id
        new = self._new_id()
        # Who subscribes again in the App Store goes on with the same originalTransactionId; a family member never.
        shares = role in ("period", "upgrade") or (role == "again" and self._platform == "apple")
        return new, self._original_id if shares and self._platform != "amazon" else self._new_original(new)

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

    def _new_original(self, first_id: str) -> str:
        if self._platform == "google":
            return f"{self._letters(24).lower()}.AO-J1O{self._letters(60)}"
        if self._platform == "stripe":
            return f"sub_1{self._letters(23)}"
        return first_id

    def _digits(self, count: int) -> str:
        return "".join(self._random.choices(string.digits, k=count))

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(_LETTERS, k=count))
