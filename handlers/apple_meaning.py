"""What an App Store notification says of a purchase: one table of types, and the few rules behind it.

A purchase is one transaction, never a subscription: `originalTransactionId` is what its renewals share. Refunding an
old period names that period's `transactionId`, and says nothing against the one that runs now.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal

from pydantic import ValidationError

from config.products import ProductKind
from handlers import money
from schemas.base import Environment
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, RefundScope, Said, Subject
from schemas.meaning import Ignored, Meaning, Normalized, Quarantined
from schemas.platforms.apple import Notification, Transaction

ENVIRONMENTS: Final[Mapping[str | None, Environment]] = {"Production": "production", "Sandbox": "sandbox"}

UPGRADED: Final = "upgraded"
"""A new plan begins now, and Apple pays back the rest of the old one: that one ends."""
_ANY: Final = "*"
"""Whatever the subtype, including those that Apple has not invented yet: it only says why or how."""

Effect = EntryKind | Ignored | Quarantined | Literal["upgraded"]
Teller = Callable[[Notification, Transaction, EntryKind], Normalized]

# developer.apple.com/documentation/appstoreservernotifications/notificationtype, and …/subtype beside it.
# A type that takes something away lists its subtypes: a new one waits for a person. MIGRATE is the name in
# Apple's changelog (2025-03-24), MIGRATION the one in Apple's libraries; both are accepted.
MEANING: Final[Mapping[str, Mapping[str, Effect]]] = {
    "SUBSCRIBED": {_ANY: EntryKind.PURCHASED},
    "ONE_TIME_CHARGE": {_ANY: EntryKind.PURCHASED},
    "DID_RENEW": {_ANY: EntryKind.RENEWED},
    "RENEWAL_EXTENDED": {_ANY: EntryKind.RENEWED},  # the same transaction, with a later expiresDate
    "EXPIRED": {_ANY: EntryKind.EXPIRED},
    "GRACE_PERIOD_EXPIRED": {_ANY: EntryKind.EXPIRED},
    "OFFER_REDEEMED": {
        "UPGRADE": UPGRADED,
        "DOWNGRADE": Ignored("plan_changes_at_renewal"),
        _ANY: EntryKind.PURCHASED,
    },
    "DID_CHANGE_RENEWAL_PREF": {
        "UPGRADE": UPGRADED,
        "DOWNGRADE": Ignored("plan_changes_at_renewal"),
        _ANY: Ignored("renewal_preference"),
    },
    "REFUND": {
        "": EntryKind.REFUND_SUCCEEDED,
        "SEATS": Ignored("seats_refunded"),  # some seats of many: the purchaser keeps the purchase
    },
    "REFUND_REVERSED": {"": EntryKind.REFUND_REVERSED},
    "REVOKE": {"": EntryKind.REVOKED},
    "UNCLAIM_SEATS": {_ANY: Quarantined("seats_unclaimed")},  # names seats that only the app's backend knows
    "TEST": {_ANY: Ignored("test")},
    "REFUND_DECLINED": {_ANY: Ignored("refund_declined")},
    "CONSUMPTION_REQUEST": {_ANY: Ignored("consumption_request")},  # a question about a refund, not a refund
    "DID_CHANGE_RENEWAL_STATUS": {_ANY: Ignored("renewal_status")},
    "DID_FAIL_TO_RENEW": {
        "GRACE_PERIOD": Ignored("billing_grace_period"),
        _ANY: Ignored("billing_retry"),
    },
    "PRICE_INCREASE": {_ANY: Ignored("price_increase")},
    "PRICE_CHANGE": {_ANY: Ignored("price_change")},
    "RENEWAL_EXTENSION": {_ANY: Ignored("renewal_extension")},
    "METADATA_UPDATE": {_ANY: Ignored("metadata_update")},
    "MIGRATION": {_ANY: Ignored("migration")},
    "MIGRATE": {_ANY: Ignored("migration")},
    "EXTERNAL_PURCHASE_TOKEN": {_ANY: Ignored("external_purchase_token")},
    "RESCIND_CONSENT": {_ANY: Ignored("consent_rescinded")},  # of a minor's guardian, to the app as a whole
}

# developer.apple.com/documentation/appstoreserverapi/type
_KINDS: Final[Mapping[str | None, ProductKind]] = {
    "Auto-Renewable Subscription": "subscription",
    "Non-Consumable": "non_consumable",
    "Consumable": "consumable",
    "Non-Renewing Subscription": "non_renewing",
}
# developer.apple.com/documentation/appstoreserverapi/revocationreason
_REASONS: Final[Mapping[int | None, str]] = {0: "other", 1: "app_issue"}
_REFUNDS: Final = frozenset({None, "REFUND_FULL", "REFUND_PRORATED"})
"""What `revocationType` may say of a refund. Notifications before 2025-12-10 have no such field."""


def meaning_of(notification: Notification) -> Normalized:
    """Look the notification up in the table, and say of its transaction what stands there. Total."""
    payload = notification.payload
    if payload.version is not None and not payload.version.startswith("2."):
        return Quarantined("unknown_version", payload.version[:20])
    by_subtype = MEANING.get(payload.notification_type)
    if by_subtype is None:
        return Quarantined("unknown_type", payload.notification_type)
    effect = by_subtype.get(payload.subtype or "", by_subtype.get(_ANY))
    if effect is None:
        return Quarantined("unknown_subtype", f"{payload.notification_type} {payload.subtype}")
    if isinstance(effect, Ignored | Quarantined):
        return effect
    return _tell(notification, effect)


def _tell(notification: Notification, effect: EntryKind | Literal["upgraded"]) -> Normalized:
    if notification.transaction is None:
        return Quarantined("unexpected_shape", "signedTransactionInfo: missing")
    try:
        transaction = Transaction.model_validate(notification.transaction)
    except ValidationError as error:
        return Quarantined("unexpected_shape", _where(error))
    if effect == UPGRADED:
        return _upgraded(notification, transaction)
    kind = EntryKind(effect)
    return _TELLERS[kind](notification, transaction, kind)


def _where(error: ValidationError) -> str:
    """Name the fields and what is wrong with them, and nothing of what they hold."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['type']}" for each in found[:5])


def _granted(notification: Notification, transaction: Transaction, kind: EntryKind) -> Normalized:
    """Give access, unless the transaction itself says that it no longer does."""
    if transaction.revocation_date is not None:
        return Quarantined("granted_yet_revoked")
    if transaction.is_upgraded:
        return Meaning((_say(notification, transaction, EntryKind.EXPIRED, reason=UPGRADED),))
    return Meaning((_say(notification, transaction, kind),))


def _upgraded(notification: Notification, transaction: Transaction) -> Normalized:
    """End everything that the lineage bought before, and begin the new plan.

    Apple: "The upgrade goes into effect immediately, starting a new billing period, and the user receives a prorated
    refund for the unused portion of the previous period" (notificationType, DID_CHANGE_RENEWAL_PREF). Left alone, the
    old plan would give access again as soon as the new one is refunded.
    """
    granted = _granted(notification, transaction, EntryKind.PURCHASED)
    subject = _subject(transaction)
    if not isinstance(granted, Meaning) or transaction.is_upgraded or not subject.lineage:
        return granted
    began_ms = transaction.purchase_date or notification.payload.signed_date
    ended = Said(
        kind=EntryKind.EXPIRED,
        occurred_at_ms=began_ms - 1,
        subject=Subject(lineage=subject.lineage),
        environment=granted.said[0].environment,
        reason=UPGRADED,
    )
    return Meaning((ended, *granted.said))


def _ended(notification: Notification, transaction: Transaction, kind: EntryKind) -> Normalized:
    """End access, with Apple's word for the reason: its subtype, or what kind of revocation it was."""
    payload = notification.payload
    word = transaction.revocation_type if kind is EntryKind.REVOKED else payload.subtype
    return Meaning((_say(notification, transaction, kind, reason=(word or payload.notification_type).lower()),))


def _refunded(notification: Notification, transaction: Transaction, kind: EntryKind) -> Normalized:
    """Record a refund, if the transaction says how much of it there was.

    Apple leaves out `revocationDate` where only seats went back, and `revocationType` for purchases through its
    Advanced Commerce API, which refunds item by item: both would revoke far too much.
    """
    if transaction.revocation_date is None:
        return Quarantined("refund_without_revocation_date")
    if transaction.revocation_type not in _REFUNDS:
        return Quarantined("unknown_revocation_type", transaction.revocation_type or "")
    if transaction.advanced_commerce_info is not None and transaction.revocation_percentage is None:
        return Quarantined("advanced_commerce_refund")
    return Meaning((_say(notification, transaction, kind, refund=_refund(transaction)),))


def _reversed(notification: Notification, transaction: Transaction, kind: EntryKind) -> Normalized:
    """Undo a refund, if the transaction agrees: Apple then removes its revocation fields."""
    if transaction.revocation_date is not None:
        return Quarantined("reversed_yet_revoked")
    refund = RefundFacts(platform_refund_id=transaction.transaction_id)
    return Meaning((_say(notification, transaction, kind, refund=refund),))


_TELLERS: Final[Mapping[EntryKind, Teller]] = {
    EntryKind.PURCHASED: _granted,
    EntryKind.RENEWED: _granted,
    EntryKind.EXPIRED: _ended,
    EntryKind.REVOKED: _ended,
    EntryKind.REFUND_SUCCEEDED: _refunded,
    EntryKind.REFUND_REVERSED: _reversed,
}


def _say(
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
        subject=_subject(transaction),
        environment=environment_of(notification),
        facts=_facts(transaction),
        refund=refund,
        reason=reason,
    )


def environment_of(notification: Notification) -> Environment | None:
    """Translate the store's name; None for one that Apple has not told us of."""
    apps = notification.payload.apps
    return ENVIRONMENTS.get(apps[0].store) if apps else None


def _subject(transaction: Transaction) -> Subject:
    original = transaction.original_transaction_id
    return Subject(
        purchase_id=transaction.transaction_id,
        lineage=(f"original:{original}",) if original else (),
    )


def _facts(transaction: Transaction) -> PurchaseFacts:
    amount, currency = _paid(transaction)
    return PurchaseFacts(
        product_id=transaction.product_id,
        kind=_KINDS.get(transaction.type),
        user_id=transaction.app_account_token or None,
        quantity=transaction.quantity,
        amount=amount,
        currency=currency,
        purchased_at_ms=transaction.purchase_date,
        expires_at_ms=transaction.expires_date,
    )


def _paid(transaction: Transaction) -> tuple[int | None, str | None]:
    """Tell what was paid in minor units. Apple: `price` is "the total amount of the transaction for the quantity".

    Except for seats, where it is the average of one; and a family member's copy has none at all.
    """
    if transaction.currency is None or money.exponent(transaction.currency) is None:
        return None, None
    currency = transaction.currency.lower()
    if transaction.price is None or transaction.multi_seat_info is not None:
        return None, currency
    return money.minor_units(transaction.price, currency), currency


def _refund(transaction: Transaction) -> RefundFacts:
    """Describe a refund. Apple tells its share and never its amount, so the amount is an estimate.

    A transaction is refunded under its own id: Apple names no refunds, and a second partial refund raises the share.
    """
    scope, share_millis = _share(transaction)
    paid, currency = _paid(transaction)
    amount = None if paid is None or share_millis is None else money.share_of(paid, share_millis)
    return RefundFacts(
        platform_refund_id=transaction.transaction_id,
        scope=scope,
        amount=amount,
        amount_source="unknown" if amount is None else "estimated",
        currency=currency,
        share_millis=share_millis,
        quantity=_units(transaction.quantity, share_millis),
        reason=_REASONS.get(transaction.revocation_reason),
        created_at_ms=transaction.revocation_date,
    )


def _share(transaction: Transaction) -> tuple[RefundScope, int | None]:
    """Tell how much went back, in words and in thousandths of a percent.

    Until 2025-12-10 Apple said neither; one unit was then refunded whole, and of several nobody can know how many.
    """
    share, several = transaction.revocation_percentage, (transaction.quantity or 1) > 1
    prorated = transaction.revocation_type == "REFUND_PRORATED"
    if share is None and prorated:
        return "prorated", None
    if share is None and several and transaction.revocation_type is None:
        return "unknown", None
    if share is None or share == 100_000:
        return "full", 100_000
    if several and _units(transaction.quantity, share) is not None:
        return "quantity", share
    return ("prorated" if prorated else "partial"), share


def _units(quantity: int | None, share_millis: int | None) -> int | None:
    """Tell how many units of several went back, where the share is that of whole units: 33333 is one of three."""
    if quantity is None or share_millis is None:
        return None
    units = money.share_of(quantity, share_millis)
    return units if units and abs(units * 100_000 - share_millis * quantity) <= quantity else None
