"""What an App Store notification says of a purchase: one table of types, and the few rules behind it.

Each row names the one transaction that the notification carries, never the subscription: refunding an old period names
that period's `transactionId`, and says nothing against the one that runs now, whatever `data.status` says.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from handlers.apple_refunds import refund_of, seats_of
from handlers.apple_transactions import ends_at_ms, environment_of, kin_of, opened, say
from schemas.entry import EntryKind, RefundFacts, Said, Subject
from schemas.meaning import Ignored, Meaning, Normalized, Quarantined
from schemas.platforms.apple import AppTransaction, Notification, Payload, Renewal, Seats, Transaction

K = EntryKind


class Told(StrEnum):
    """What says more, or other, than its kind of entry does by itself."""

    UPGRADED = "upgraded"
    """A new plan begins now, and Apple pays back the rest of the old one: that one ends."""
    GRACE_BEGUN = "grace_period"
    """The renewal failed, and Apple asks to go on serving for a while."""
    SEATS_REFUNDED = "seats_refunded"
    """Some seats of many went back: the purchaser keeps the purchase."""
    SEATS_UNCLAIMED = "unclaim_seats"
    """Seats that the app's backend had claimed for members are taken back, by their ids."""


_ANY: Final = "*"
"""Whatever the subtype, including those that Apple has not invented yet: it only says why or how."""

Effect = EntryKind | Told | Ignored


def _whatever(effect: Effect, *subtypes: str) -> Mapping[str, Effect]:
    """Let the known subtypes, none, and those to come have one effect."""
    return dict.fromkeys((*subtypes, _ANY), effect)


# developer.apple.com/documentation/appstoreservernotifications/notificationtype, and …/subtype beside it.
# A type that takes something away lists its subtypes, and a new one waits for a person. MIGRATE is the name in Apple's
# changelog (2025-03-24), MIGRATION the one in Apple's libraries; both are accepted.
MEANING: Final[Mapping[str, Mapping[str, Effect]]] = {
    "SUBSCRIBED": _whatever(K.PURCHASED, "INITIAL_BUY", "RESUBSCRIBE"),
    "ONE_TIME_CHARGE": _whatever(K.PURCHASED),
    "DID_RENEW": _whatever(K.RENEWED, "BILLING_RECOVERY"),
    "RENEWAL_EXTENDED": _whatever(K.RESCHEDULED),  # the same transaction, with a later date that nobody paid for
    "DID_FAIL_TO_RENEW": {
        "GRACE_PERIOD": Told.GRACE_BEGUN,
        _ANY: Ignored("billing_retry"),  # "you can stop providing": its date and `late_renewal_hours` end it
    },
    "EXPIRED": _whatever(K.EXPIRED, "VOLUNTARY", "BILLING_RETRY", "PRICE_INCREASE", "PRODUCT_NOT_FOR_SALE"),
    "GRACE_PERIOD_EXPIRED": _whatever(K.EXPIRED),
    "OFFER_REDEEMED": {
        "UPGRADE": Told.UPGRADED,
        "DOWNGRADE": Ignored("plan_changes_at_renewal"),
        _ANY: K.PURCHASED,
    },
    "DID_CHANGE_RENEWAL_PREF": {
        "UPGRADE": Told.UPGRADED,
        "DOWNGRADE": Ignored("plan_changes_at_renewal"),
        _ANY: Ignored("renewal_preference"),
    },
    "CONSUMPTION_REQUEST": _whatever(K.REFUND_REQUESTED),
    "REFUND_DECLINED": _whatever(K.REFUND_DECLINED),
    "REFUND": {"": K.REFUND_SUCCEEDED, "SEATS": Told.SEATS_REFUNDED},
    "REFUND_REVERSED": {"": K.REFUND_REVERSED},
    "REVOKE": {"": K.MEMBER_REMOVED},
    "UNCLAIM_SEATS": {"": Told.SEATS_UNCLAIMED},
    "RESCIND_CONSENT": {"": K.CONSENT_RESCINDED},
    "DID_CHANGE_RENEWAL_STATUS": _whatever(Ignored("renewal_status"), "AUTO_RENEW_ENABLED", "AUTO_RENEW_DISABLED"),
    "PRICE_INCREASE": _whatever(Ignored("price_increase"), "PENDING", "ACCEPTED"),
    "PRICE_CHANGE": _whatever(Ignored("price_change")),
    "METADATA_UPDATE": _whatever(Ignored("metadata_update")),
    "MIGRATION": _whatever(Ignored("migration")),
    "MIGRATE": _whatever(Ignored("migration")),
    "RENEWAL_EXTENSION": _whatever(
        Ignored("renewal_extension"), "SUMMARY", "FAILURE"
    ),  # of many: each has its own word
    "EXTERNAL_PURCHASE_TOKEN": _whatever(
        Ignored("external_purchase_token"), "CREATED", "ACTIVE_TOKEN_REMINDER", "UNREPORTED"
    ),
    "TEST": _whatever(Ignored("test")),
}

# developer.apple.com/documentation/appstoreserverapi/inappownershiptype
_PURCHASER: Final = "PURCHASED"


def meaning_of(notification: Notification) -> Normalized:
    """Look the notification up in the table, and say what stands there. Total."""
    effect = _effect_of(notification.payload)
    if isinstance(effect, Ignored | Quarantined):
        return effect
    if effect in _OF_NO_TRANSACTION:
        return _OF_NO_TRANSACTION[effect](notification)
    transaction = opened(Transaction, notification.transaction, "signedTransactionInfo")
    return transaction if isinstance(transaction, Quarantined) else _OF_A_TRANSACTION[effect](notification, transaction)


def _effect_of(payload: Payload) -> Effect | Quarantined:
    type_, subtype = payload.notification_type, payload.subtype or ""
    if payload.version is not None and not payload.version.startswith("2."):
        return Quarantined("unknown_version", payload.version[:20])
    if type_ not in MEANING:
        return Quarantined("unknown_type", type_)
    effect = MEANING[type_].get(subtype, MEANING[type_].get(_ANY))
    return Quarantined("unknown_subtype", f"{type_} {subtype}") if effect is None else effect


# --- What gives access, and for how long


def _purchased(notification: Notification, transaction: Transaction, kind: EntryKind = K.PURCHASED) -> Normalized:
    """Give access, unless the transaction itself says that it no longer does."""
    if transaction.revocation_date is not None:
        return Quarantined("granted_yet_revoked")
    if transaction.is_upgraded:
        return Meaning((say(notification, transaction, K.EXPIRED, reason=Told.UPGRADED),))
    return Meaning((say(notification, transaction, kind),))


def _renewed(notification: Notification, transaction: Transaction) -> Normalized:
    return _purchased(notification, transaction, K.RENEWED)


def _upgraded(notification: Notification, transaction: Transaction) -> Normalized:
    """End everything that the lineage bought before, and begin the new plan.

    Apple: "The upgrade goes into effect immediately, starting a new billing period, and the user receives a prorated
    refund for the unused portion of the previous period" (notificationType, DID_CHANGE_RENEWAL_PREF). That is no refund
    anyone asked for. Left alone, the old plan would give access again as soon as the new one is refunded.
    """
    granted = _purchased(notification, transaction)
    if not isinstance(granted, Meaning) or transaction.is_upgraded or not granted.said[0].subject.lineage:
        return granted
    began_ms = transaction.purchase_date or notification.payload.signed_date
    ended = Said(
        kind=K.EXPIRED,
        occurred_at_ms=began_ms - 1,
        subject=Subject(lineage=granted.said[0].subject.lineage),
        environment=granted.said[0].environment,
        reason=Told.UPGRADED,
    )
    return Meaning((ended, *granted.said))


def _extended(notification: Notification, transaction: Transaction) -> Normalized:
    """Move the end to the date that the transaction has now."""
    if transaction.expires_date is None:
        return Quarantined("extension_without_date")
    return _rescheduled(notification, transaction, ends_at_ms(notification, transaction))


def _grace_begun(notification: Notification, transaction: Transaction) -> Normalized:
    """Move the end to that of the grace period, and never to before what was paid for.

    Apple: "If the subtype is GRACE_PERIOD, continue to provide service through the grace period" (notificationType).
    Without its date the old one no longer counts and nothing takes its place: Apple ends a grace period with a word of
    its own, DID_RENEW or GRACE_PERIOD_EXPIRED, and a paying customer would be shut out by a date that Apple overruled.
    """
    if notification.renewal is None:
        return _rescheduled(notification, transaction, None)
    renewal = opened(Renewal, notification.renewal, "signedRenewalInfo")
    if isinstance(renewal, Quarantined):
        return renewal
    if renewal.original_transaction_id not in (None, transaction.original_transaction_id):
        return Quarantined("renewal_of_another_subscription")
    grace = renewal.grace_period_expires_date
    return _rescheduled(notification, transaction, None if grace is None else max(grace, transaction.expires_date or 0))


def _rescheduled(notification: Notification, transaction: Transaction, until_ms: int | None) -> Normalized:
    """Say when it ends now; `None` says that the old date no longer counts."""
    payload = notification.payload
    said = say(notification, transaction, K.RESCHEDULED, reason=(payload.subtype or payload.notification_type).lower())
    return Meaning((said.model_copy(update={"facts": said.facts.model_copy(update={"expires_at_ms": until_ms})}),))


def _expired(notification: Notification, transaction: Transaction) -> Normalized:
    """End access, with Apple's word for the reason: the subtype, or else the type."""
    word = notification.payload.subtype or notification.payload.notification_type
    return Meaning((say(notification, transaction, K.EXPIRED, reason=word.lower()),))


# --- What takes it away


def _requested(notification: Notification, transaction: Transaction) -> Normalized:
    """Open a request for a refund, under the id that the refund will have."""
    data = notification.payload.data
    reason = data.consumption_request_reason.lower() if data and data.consumption_request_reason else None
    refund = RefundFacts(platform_refund_id=transaction.transaction_id, reason=reason)
    return Meaning((say(notification, transaction, K.REFUND_REQUESTED, refund=refund, reason=reason),))


def _declined(notification: Notification, transaction: Transaction) -> Normalized:
    """Close the request: the money stays."""
    refund = RefundFacts(platform_refund_id=transaction.transaction_id)
    return Meaning((say(notification, transaction, K.REFUND_DECLINED, refund=refund),))


def _refunded(notification: Notification, transaction: Transaction) -> Normalized:
    refund = refund_of(transaction)
    if not isinstance(refund, RefundFacts):
        return refund
    return Meaning((say(notification, transaction, K.REFUND_SUCCEEDED, refund=refund),))


def _seats_refunded(notification: Notification, transaction: Transaction) -> Normalized:
    refund = seats_of(transaction)
    if not isinstance(refund, RefundFacts):
        return refund
    return Meaning((say(notification, transaction, K.REFUND_SUCCEEDED, refund=refund),))


def _reversed(notification: Notification, transaction: Transaction) -> Normalized:
    """Undo a refund, if the transaction agrees: Apple then removes its revocation fields."""
    if transaction.revocation_date is not None:
        return Quarantined("reversed_yet_revoked")
    refund = RefundFacts(platform_refund_id=transaction.transaction_id)
    return Meaning((say(notification, transaction, K.REFUND_REVERSED, refund=refund),))


def _removed(notification: Notification, transaction: Transaction) -> Normalized:
    """Take from a member what somebody else pays for: it is the member's own transaction that Apple names.

    Apple: REVOKE is about what "the customer was entitled to through Family Sharing"; the purchaser's own loss comes
    as REFUND. An ownership that is new is shared too; the purchaser's is a contradiction.
    """
    if transaction.in_app_ownership_type == _PURCHASER:
        return Quarantined("member_is_the_purchaser")
    word = transaction.revocation_type or notification.payload.notification_type
    return Meaning((say(notification, transaction, K.MEMBER_REMOVED, reason=word.lower()),))


def _unclaimed(notification: Notification) -> Normalized:
    """Take back each seat under the id by which the app's backend claimed and told it.

    Apple: "Revoke access for the customers you assigned to these seats" (unclaimSeatIds).
    """
    info = notification.payload.unclaim_info
    seats = opened(Seats, None if info is None else {"unclaimSeatIds": info.unclaim_seat_ids}, "unclaimInfo")
    if isinstance(seats, Quarantined):
        return seats
    ids = dict.fromkeys(seats.unclaim_seat_ids)
    return Meaning(
        tuple(_say_of_no_transaction(notification, K.MEMBER_REMOVED, Subject(purchase_id=id_)) for id_ in ids)
    )


def _consent_rescinded(notification: Notification) -> Normalized:
    """Concern everything that lasts of what this Apple Account bought in the app."""
    app = opened(AppTransaction, notification.app_transaction, "signedAppTransactionInfo")
    if isinstance(app, Quarantined):
        return app
    if app.app_transaction_id is None:
        return Quarantined("consent_of_an_unknown_account")
    subject = Subject(kin=(kin_of(app.app_transaction_id),))
    return Meaning((_say_of_no_transaction(notification, K.CONSENT_RESCINDED, subject),))


def _say_of_no_transaction(notification: Notification, kind: EntryKind, subject: Subject) -> Said:
    return Said(
        kind=kind,
        occurred_at_ms=notification.payload.signed_date,
        subject=subject,
        environment=environment_of(notification),
        reason=notification.payload.notification_type.lower(),
    )


_OF_A_TRANSACTION: Final[Mapping[EntryKind | Told, Callable[[Notification, Transaction], Normalized]]] = {
    K.PURCHASED: _purchased,
    K.RENEWED: _renewed,
    Told.UPGRADED: _upgraded,
    K.RESCHEDULED: _extended,
    Told.GRACE_BEGUN: _grace_begun,
    K.EXPIRED: _expired,
    K.REFUND_REQUESTED: _requested,
    K.REFUND_DECLINED: _declined,
    K.REFUND_SUCCEEDED: _refunded,
    Told.SEATS_REFUNDED: _seats_refunded,
    K.REFUND_REVERSED: _reversed,
    K.MEMBER_REMOVED: _removed,
}
_OF_NO_TRANSACTION: Final[Mapping[EntryKind | Told, Callable[[Notification], Normalized]]] = {
    Told.SEATS_UNCLAIMED: _unclaimed,
    K.CONSENT_RESCINDED: _consent_rescinded,
}
