"""What one App Store transaction says of its purchase: which it is, whose, what was paid, and until when.

A purchase is one transaction, never a subscription: `originalTransactionId` is what its renewals share, and
`appTransactionId` what everything shares that one Apple Account bought in the app.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from config.products import ProductKind
from handlers import money
from schemas.base import Environment
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Said, Subject
from schemas.meaning import Quarantined
from schemas.platforms.apple import MultiSeatInfo, Notification, Renewal, Transaction

ENVIRONMENTS: Final[Mapping[str | None, Environment]] = {"Production": "production", "Sandbox": "sandbox"}
MILLIUNITS_MAX: Final = 10**15
"""Beyond this no sum is money."""

# developer.apple.com/documentation/appstoreserverapi/type
_KINDS: Final[Mapping[str | None, ProductKind]] = {
    "Auto-Renewable Subscription": "subscription",
    "Non-Consumable": "non_consumable",
    "Consumable": "consumable",
    "Non-Renewing Subscription": "non_renewing",
}
_LASTING: Final = frozenset({"subscription", "non_consumable", "non_renewing"})
"""What a withdrawn consent can end. Coins are none of it, and there is no end to how often they are bought."""

_Model = TypeVar("_Model", bound=BaseModel)


def opened(model: type[_Model], says: Mapping[str, Any] | None, name: str) -> _Model | Quarantined:
    """Read an object of the notification; one that has another shape waits for a person, with the field's name."""
    if says is None:
        return Quarantined("unexpected_shape", f"{name}: missing")
    try:
        return model.model_validate(says)
    except ValidationError as error:
        return Quarantined("unexpected_shape", _where(error, name))


def _where(error: ValidationError, name: str) -> str:
    """Name the fields and what is wrong with them, and nothing of what they hold."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join((name, *map(str, each['loc'])))}: {each['type']}" for each in found[:5])


def environment_of(notification: Notification) -> Environment | None:
    """Translate the store's name; None for one that Apple has not told us of."""
    apps = notification.payload.apps
    return ENVIRONMENTS.get(apps[0].store) if apps else None


def say(
    notification: Notification,
    transaction: Transaction,
    kind: EntryKind,
    *,
    refund: RefundFacts | None = None,
    reason: str | None = None,
) -> Said:
    """Say one thing of the transaction at the time Apple signed it, with everything that it tells of the purchase.

    `signedDate` orders what is said of one transaction; Apple's retries and its notification history keep it.
    """
    return Said(
        kind=kind,
        occurred_at_ms=notification.payload.signed_date,
        subject=subject(transaction),
        environment=environment_of(notification),
        facts=_facts(transaction, ends_at_ms(notification, transaction)),
        refund=refund,
        reason=reason,
    )


def subject(transaction: Transaction) -> Subject:
    """Name the purchase, its lineage and, of what lasts, the store account's other purchases."""
    original, account = transaction.original_transaction_id, transaction.app_transaction_id
    return Subject(
        purchase_id=transaction.transaction_id,
        lineage=(f"original:{original}",) if original else (),
        kin=(kin_of(account),) if account and _KINDS.get(transaction.type) in _LASTING else (),
    )


def kin_of(app_transaction_id: str) -> str:
    """Name everything that one Apple Account bought in the app.

    Apple: one `appTransactionID` per Apple Account and app, the same after refund and repurchase, and another one for
    each member of a family (StoreKit, `AppTransaction.appTransactionID`).
    """
    return f"app_transaction:{app_transaction_id}"


def ends_at_ms(notification: Notification, transaction: Transaction) -> int | None:
    """Tell when the transaction ends: at its date, or with the grace period of the renewal that failed.

    A notification about an older period carries the renewal of the newest one. That is what `renewalDate` tells: it is
    the end of the newest period, so a grace period counts where it is this one's end.
    """
    renewal = opened(Renewal, notification.renewal, "signedRenewalInfo")
    ends, grace = transaction.expires_date, None
    if isinstance(renewal, Renewal) and ends is not None and renewal.renewal_date == ends:
        grace = renewal.grace_period_expires_date
    return ends if grace is None or ends is None else max(ends, grace)


def _facts(transaction: Transaction, expires_at_ms: int | None) -> PurchaseFacts:
    amount, currency = paid(transaction)
    return PurchaseFacts(
        product_id=transaction.product_id,
        kind=_KINDS.get(transaction.type),
        user_id=transaction.app_account_token or None,
        quantity=transaction.quantity,
        amount=amount,
        currency=currency,
        purchased_at_ms=transaction.purchase_date,
        expires_at_ms=expires_at_ms,
    )


def paid(transaction: Transaction) -> tuple[int | None, str | None]:
    """Tell what was paid in minor units. Apple: `price` is "the total amount of the transaction for the quantity".

    Except for seats, where it is the average of one, and the price tiers tell the total; and a family member's copy
    has none at all.
    """
    if transaction.currency is None or money.exponent(transaction.currency) is None:
        return None, None
    currency = transaction.currency.lower()
    millis = transaction.price if transaction.multi_seat_info is None else _price_of_seats(transaction)
    return None if millis is None else money.minor_units(millis, currency), currency


def _price_of_seats(transaction: Transaction) -> int | None:
    """Add up the price tiers, if they are about as many seats as were bought.

    Apple: "To calculate a total from the tiers, multiply the price of each tier by its quantity, and then add the
    results" (TransactionMultiSeatInfo).
    """
    info = opened(MultiSeatInfo, transaction.multi_seat_info, "multiSeatInfo")
    tiers = (info.price_tiers or ()) if isinstance(info, MultiSeatInfo) else ()
    total = sum(tier.price * tier.quantity for tier in tiers)
    whole = bool(tiers) and sum(tier.quantity for tier in tiers) == transaction.quantity
    return total if whole and total < MILLIUNITS_MAX else None
