"""Learn from the Receipt Verification Service what a Real-Time Notification leaves out: product, period and end.

An answer tells how a receipt is when it is asked about, which may be long after the notification. No clock is read
here: dates of the answer are compared with the notification's own time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from config.products import ProductKind
from schemas.entry import EntryKind, PurchaseFacts
from schemas.meaning import Facts, Lookup, Missing
from schemas.platforms.amazon import AppstoreNotification, AppstoreReceipt

NO_LONGER_VALID: Final = 410
"""Amazon: "The transaction represented by this receiptId is no longer valid. Treat it as a canceled receipt."
(iap-rvs-for-android-apps.html)"""

_KINDS: Final[Mapping[str | None, ProductKind]] = {
    "SUBSCRIPTION": "subscription",
    "CONSUMABLE": "consumable",
    "ENTITLED": "non_consumable",
}

_NOT_KNOWN_YET: Final = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """What a `cancelReason` makes of the end of a subscription."""

    kind: EntryKind
    reason: str


# iap-rvs-for-android-apps.html and iap-rvs-for-tiered-subs.html, "Cancel reason response codes". 0 is not known yet,
# 3 is Amazon's own. None of them says that money moved: 1 is the customer who let it run out, 2 a payment that was
# never mended (or customer service, on request), 4 a change to another tier, which begins a receipt of its own.
ENDINGS: Final[Mapping[int | None, Ending]] = {
    1: Ending(EntryKind.EXPIRED, "customer_cancelled"),
    2: Ending(EntryKind.EXPIRED, "system_cancelled"),
    3: Ending(EntryKind.REVOKED, "internal"),
    4: Ending(EntryKind.EXPIRED, "replaced"),
}


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of a receipt beside the notification.

    Attributes:
        facts: product, kind, quantity, and when it was bought.
        runs_until_ms: when it ends, or has to be paid for again; None: not told.
        cancelled_at_ms: when it ended, or will.
        ending: how; None: not told, or not known yet.
        invalid: Amazon knows the receipt no longer.
        wanted: whose answer would tell more.
    """

    facts: PurchaseFacts = field(default_factory=PurchaseFacts)
    runs_until_ms: int | None = None
    cancelled_at_ms: int | None = None
    ending: Ending | None = None
    invalid: bool = False
    wanted: tuple[Lookup, ...] = ()

    @property
    def cancelled(self) -> bool:
        """Tell whether the answer speaks of a cancellation, be it one to come."""
        return self.cancelled_at_ms is not None or self.ending is not None


def lookups(said: AppstoreNotification) -> tuple[Lookup, ...]:
    """Name what to ask. The user id comes first: receipt ids may hold a slash, user ids do not.

    Live App Testing buys for real, so the production service knows its receipts; the Cloud Sandbox knows those of
    App Tester (rvs-cloud-sandbox.html). A test is looked for in both.
    """
    if not (said.app_user_id and said.receipt_id):
        return ()
    kinds = ("rvs", "rvs_sandbox") if said.beta_product_transaction else ("rvs",)
    return tuple(Lookup(kind=kind, key=f"{said.app_user_id}/{said.receipt_id}") for kind in kinds)


def learn(asked: tuple[Lookup, ...], facts: Facts) -> Learned:
    """Read the first answer that can be read. Total: an answer may be any JSON."""
    for lookup in asked:
        if receipt := _read(facts.get(lookup)):
            return _learned(receipt, (lookup,) if receipt.cancel_reason == _NOT_KNOWN_YET else ())
    missing = {lookup: facts[lookup].status for lookup in asked if isinstance(facts.get(lookup), Missing)}
    if NO_LONGER_VALID in missing.values():
        return Learned(invalid=True)
    return Learned(wanted=tuple(lookup for lookup in asked if lookup not in missing))


def _read(answer: Any) -> AppstoreReceipt | None:
    try:
        return AppstoreReceipt.model_validate(answer) if isinstance(answer, Mapping) else None
    except ValidationError:
        return None


def _learned(receipt: AppstoreReceipt, wanted: tuple[Lookup, ...]) -> Learned:
    return Learned(
        facts=PurchaseFacts(
            product_id=receipt.term_sku or receipt.product_id,
            kind=_KINDS.get(receipt.product_type),
            quantity=receipt.quantity,
            purchased_at_ms=receipt.purchase_date_ms,
        ),
        runs_until_ms=_runs_until_ms(receipt),
        cancelled_at_ms=receipt.cancel_date_ms,
        ending=ENDINGS.get(receipt.cancel_reason),
        wanted=wanted,
    )


def _runs_until_ms(receipt: AppstoreReceipt) -> int | None:
    """Find the date to which access lasts: where it was cancelled for, else when the next payment or grace is due."""
    if receipt.cancel_date_ms is not None:
        return receipt.cancel_date_ms
    dates = (receipt.renewal_date_ms, receipt.grace_period_end_date_ms)
    return max((date for date in dates if date is not None), default=None)
