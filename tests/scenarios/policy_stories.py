"""The worked examples of docs/policy.md, one per rule: what was there before, and what then happened."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from schemas.entry import Entry, EntryKind, Subject
from tests.handlers.entries import ANN, BOB, MONTHLY, PRICE, SUBSCRIPTION, bought, day, dispute, entry, money
from tests.scenarios.shop import COINS, COINS_PRICE, FAMILY_PLAN, MONTHLY_PRICE, month

K = EntryKind


class Example(NamedTuple):
    """One worked example.

    Attributes:
        before: what had happened when the story begins.
        then: what happens, of which the page lists the events.
        user: whose access the page speaks of.
        looked_on: the day on which our clock looks for what has run out, before what then happens; None: it does not.
    """

    before: tuple[Entry, ...]
    then: tuple[Entry, ...]
    user: str = ANN
    looked_on: float | None = None


def all_of_it_back() -> Example:
    """Ann buys the annual plan for $99.00 and gets $99.00 back after two months."""
    return Example((bought(0),), (money(K.REFUND_SUCCEEDED, month(2)),))


def the_running_month_back() -> Example:
    """Ann pays January and February of a Stripe subscription; February is refunded, and nobody cancels."""
    monthly = {"product_id": MONTHLY, "amount": MONTHLY_PRICE, "lineage": SUBSCRIPTION}
    january = bought(month(0), "ch_january", expires_at_ms=day(month(1)), **monthly)
    february = bought(month(1), "ch_february", **monthly)
    refund = money(K.REFUND_SUCCEEDED, 40, MONTHLY_PRICE, purchase="ch_february")
    return Example((january, february), (refund,))


def half_of_it_back() -> Example:
    """Ann buys the annual plan for $99.00 and gets $49.50 back after six months."""
    return Example((bought(0),), (money(K.REFUND_SUCCEEDED, month(6), PRICE // 2),))


def nearly_all_of_it_back() -> Example:
    """Ann buys the annual plan for $99.00; $50.00 go back in June and $44.05 in July: 95 %."""
    parts = (money(K.REFUND_SUCCEEDED, 160, 5000, "re_june"), money(K.REFUND_SUCCEEDED, 190, 4405, "re_july"))
    return Example((bought(0),), parts)


def the_unused_time_back() -> Example:
    """Ann buys the annual plan for $99.00; after nine months Apple pays back the unused quarter, $24.75."""
    plan = bought(0, "2000000123", platform="apple")
    said = {"scope": "prorated", "share_millis": 25_000, "amount_source": "estimated"}
    refund = money(K.REFUND_SUCCEEDED, month(9), 2475, "2000000123", purchase="2000000123", platform="apple", **said)
    return Example((plan,), (refund,))


def all_of_it_on_its_way() -> Example:
    """Ann buys the annual plan for $99.00 by bank debit; the refund of all of it is started, and takes days."""
    return Example((bought(0),), (money(K.REFUND_PENDING, month(2)),))


def the_bank_takes_it() -> Example:
    """Ann buys the annual plan for $99.00; her bank takes the $99.00 back, and the case is open."""
    return Example((bought(0),), (dispute(K.CHARGEBACK_OPENED, 40),))


def the_case_is_lost() -> Example:
    """Ann buys the annual plan for $99.00; her bank takes the $99.00 back, and decides for her."""
    return Example((bought(0), dispute(K.CHARGEBACK_OPENED, 40)), (dispute(K.CHARGEBACK_LOST, 100),))


def the_bank_asks() -> Example:
    """Ann buys the annual plan for $99.00; her bank asks what the $99.00 are for."""
    return Example((bought(0),), (dispute(K.INQUIRY_OPENED, 40),))


def the_invoice_that_rests() -> Example:
    """Ann pays January of a Stripe subscription, $9.99; the invoice of February is paid an hour after January ended."""
    monthly = {"product_id": MONTHLY, "kind": "subscription", "amount": MONTHLY_PRICE, "lineage": SUBSCRIPTION}
    january = bought(month(0), "ch_january", expires_at_ms=day(month(1)), **monthly)
    february = bought(month(1) + 1 / 24, "ch_february", expires_at_ms=day(month(2)), **monthly)
    return Example((january,), (february,), looked_on=month(1) + 1 / 48)


def spent_coins_back() -> Example:
    """Ann buys 100 coins for $4.99, spends 80 of them, and gets $4.99 back."""
    coins = bought(0, "ch_coins", product_id=COINS, kind="consumable", amount=COINS_PRICE)
    return Example((coins,), (money(K.REFUND_SUCCEEDED, 3, COINS_PRICE, purchase="ch_coins"),))


def the_member_leaves() -> Example:
    """Ann buys the family plan for $99.00 and Bob shares it; in March Bob leaves the family."""
    anns = bought(0, "2000000555", platform="apple", product_id=FAMILY_PLAN)
    bobs = bought(1, "2000000777", platform="apple", product_id=FAMILY_PLAN, user_id=BOB, amount=None, currency=None)
    left = entry(K.MEMBER_REMOVED, 70, "2000000777", platform="apple", reason="family_revoke")
    return Example((anns, bobs), (left,), user=BOB)


def the_guardian_withdraws() -> Example:
    """Ann, who is fourteen, has the annual plan for $99.00; her father withdraws his consent to the app."""
    account = ("app_transaction:704123",)
    plan = bought(0, "2000000123", platform="apple")
    plan = plan.model_copy(update={"subject": plan.subject.model_copy(update={"kin": account})})
    rescinded = entry(K.CONSENT_RESCINDED, 50, None, platform="apple")
    return Example((plan,), (rescinded.model_copy(update={"subject": Subject(kin=account)}),))


EXAMPLES: Final[Mapping[str, Callable[[], Example]]] = MappingProxyType({
    "full_refund": all_of_it_back,
    "refund_without_cancellation": the_running_month_back,
    "partial_refund": half_of_it_back,
    "full_refund_from_percent": nearly_all_of_it_back,
    "prorated_refund": the_unused_time_back,
    "pending_refund": all_of_it_on_its_way,
    "chargeback_opened": the_bank_takes_it,
    "chargeback_lost": the_case_is_lost,
    "inquiry_opened": the_bank_asks,
    "late_renewal_hours": the_invoice_that_rests,
    "consumable_refund": spent_coins_back,
    "member_removed": the_member_leaves,
    "consent_rescinded": the_guardian_withdraws,
})  # fmt: skip
"""By the rule that each is about."""
