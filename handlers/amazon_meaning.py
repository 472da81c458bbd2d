"""What a Real-Time Notification says of its receipt: one table of types, and the few rules behind it.

A notification says that something changed; how the receipt stands now, the Receipt Verification Service tells
(`handlers/receipts.py`). Without its answer the notification's own word counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from config.products import ProductKind
from handlers.receipts import Ending, Learned, learn, lookups
from schemas.base import Environment
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Said, Subject
from schemas.meaning import Facts, Ignored, Lookup, Meaning, Normalized, Quarantined
from schemas.platforms.amazon import AppstoreNotification

K = EntryKind


@dataclass(frozen=True, slots=True)
class Word:
    """What a notification type says of its receipt, if nothing else is known.

    Attributes:
        kind: the entry.
        product: what kind of product has such notifications.
    """

    kind: EntryKind
    product: ProductKind


# developer.amazon.com/docs/in-app-purchasing/real-time-notifications.html, "notificationType". An open set.
#
# SUBSCRIPTION_CANCELLED is the end of access, not the wish to renew no more (AUTO_RENEWAL_OFF). Whether
# money went back nobody says, so no refund is claimed. What was bought once is cancelled by returning what was
# paid for it, in full: a refund. OUT_OF_GRACE_PERIOD is sent when the customer mended the payment; where that
# never happens, SUBSCRIPTION_CANCELLED comes instead.
MEANING: Final[Mapping[str, Word]] = {
    "SUBSCRIPTION_PURCHASED": Word(K.PURCHASED, "subscription"),
    "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID": Word(K.RENEWED, "subscription"),
    "SUBSCRIPTION_RENEWED": Word(K.RENEWED, "subscription"),
    "SUBSCRIPTION_AUTO_RENEWAL_OFF": Word(K.SIGNALED, "subscription"),
    "SUBSCRIPTION_SCHEDULED_TO_END": Word(K.SIGNALED, "subscription"),
    "SUBSCRIPTION_IN_GRACE_PERIOD": Word(K.RESCHEDULED, "subscription"),
    "SUBSCRIPTION_OUT_OF_GRACE_PERIOD": Word(K.RENEWED, "subscription"),
    "SUBSCRIPTION_MODIFIED_IMMEDIATE": Word(K.PURCHASED, "subscription"),
    "SUBSCRIPTION_CANCELLED": Word(K.REVOKED, "subscription"),
    "SUBSCRIPTION_EXPIRED": Word(K.EXPIRED, "subscription"),
    "CONSUMABLE_PURCHASED": Word(K.PURCHASED, "consumable"),
    "CONSUMABLE_CANCELLED": Word(K.REFUND_SUCCEEDED, "consumable"),
    "ENTITLEMENT_PURCHASED": Word(K.PURCHASED, "non_consumable"),
    "ENTITLEMENT_CANCELLED": Word(K.REFUND_SUCCEEDED, "non_consumable"),
}

# Known, and nothing about the receipt as it is: the wish to renew after all ends nothing and pays nothing, and a
# deferred change keeps the receipt and its date until SUBSCRIPTION_RENEWED.
IGNORED: Final[Mapping[str, str]] = {
    "SUBSCRIPTION_AUTO_RENEWAL_ON": "auto_renewal_on",
    "SUBSCRIPTION_MODIFIED_DEFERRED": "modified_deferred",
}

_REPLACED: Final = Ending(K.EXPIRED, "replaced")
_INVALID: Final = Ending(K.REVOKED, "receipt_no_longer_valid")


@dataclass(frozen=True, slots=True)
class Told:
    """A notification that says something of a receipt, with everything known of it."""

    said: AppstoreNotification
    word: Word
    receipt_id: str
    at_ms: int
    environment: Environment | None
    learned: Learned

    @property
    def reason(self) -> str:
        """Give the type without its family: `auto_renewal_off`."""
        return self.said.notification_type.partition("_")[2].lower()


def needs_of(said: AppstoreNotification | None) -> tuple[Lookup, ...]:
    """Ask about the receipt of everything that says something of it."""
    return lookups(said) if said is not None and said.notification_type in MEANING else ()


def meaning_of(said: AppstoreNotification, facts: Facts, *, at_ms: int, environment: Environment | None) -> Normalized:
    """Look up what the notification's type says, and what is known of its receipt. Total."""
    if reason := IGNORED.get(said.notification_type):
        return Ignored(reason)
    word = MEANING.get(said.notification_type)
    if word is None:
        return Quarantined("unknown_type", said.notification_type)
    if not said.receipt_id:
        return Quarantined("unexpected_shape", said.notification_type)
    learned = learn(needs_of(said), facts)
    told = Told(said, word, said.receipt_id, at_ms, environment, learned)
    entries = _SPECIAL.get(said.notification_type, _TELLERS[word.kind])(told)
    if not entries:
        return Quarantined("unexpected_shape", said.notification_type)
    return Meaning(entries, unlearned=_unlearned(told, facts))


def _unlearned(told: Told, facts: Facts) -> tuple[Lookup, ...]:
    """List what to ask again: what has no answer, and an answer that has not heard of the cancellation yet."""
    learned = told.learned
    if told.word.kind in (K.REVOKED, K.REFUND_SUCCEEDED) and not (learned.cancelled or learned.invalid):
        asked = needs_of(told.said)
        return learned.wanted or tuple(lookup for lookup in asked if isinstance(facts.get(lookup), Mapping))
    return learned.wanted


def _granted(told: Told) -> tuple[Said, ...]:
    """Say that it was bought or paid for, and up to when; and that it is over, where the answer says so."""
    expires = None if _is_over(told) else _expires_at_ms(told)
    return (_say(told, told.word.kind, expires_at_ms=expires), *_ended(told))


def _scheduled(told: Told) -> tuple[Said, ...]:
    """Say when it ends now: in the grace period later than was paid for, with auto-renewal off when that runs out."""
    if ended := _ended(told):
        return ended
    expires = _expires_at_ms(told)
    kind = told.word.kind if expires is None else K.RESCHEDULED
    return (_say(told, kind, reason=told.reason, expires_at_ms=expires),)


def _cancelled(told: Told) -> tuple[Said, ...]:
    """Say that it ended, as `cancelReason` tells, or that it will: its date may be the end of what was paid for."""
    learned = told.learned
    if learned.cancelled_at_ms is not None and not _is_over(told):
        return (_say(told, K.RESCHEDULED, reason=told.reason, expires_at_ms=learned.cancelled_at_ms),)
    ending = learned.ending or Ending(K.REVOKED, told.said.notification_type)
    return (_say(told, ending.kind, reason=ending.reason, expires_at_ms=learned.cancelled_at_ms),)


def _expired(told: Told) -> tuple[Said, ...]:
    """Say that it ended by itself."""
    ending = told.learned.ending
    reason = ending.reason if ending else told.said.notification_type
    return (_say(told, K.EXPIRED, reason=reason, expires_at_ms=told.learned.cancelled_at_ms),)


def _refunded(told: Told) -> tuple[Said, ...]:
    """Say that what was bought once was returned. A receipt is refunded once, so it names its refund."""
    ending, at_ms = told.learned.ending, told.learned.cancelled_at_ms
    refund = RefundFacts(
        platform_refund_id=told.receipt_id,
        scope="full",
        reason=ending.reason if ending else told.said.notification_type,
        created_at_ms=told.at_ms if at_ms is None else min(at_ms, told.at_ms),
    )
    return (_say(told, K.REFUND_SUCCEEDED, reason=refund.reason, refund=refund),)


def _replaced(told: Told) -> tuple[Said, ...]:
    """End the old receipt and begin the new one: the customer changed to another tier at once.

    The old plan "is canceled with a prorated refund" (iap-rvs-for-tiered-subs.html). That money pays for the new plan:
    nobody lost access by it, so it is no refund here.
    """
    related = told.said.related_receipts
    old = related.get("cancelledReceiptId") if isinstance(related, Mapping) else None
    if not isinstance(old, str) or old in ("", told.receipt_id):
        return ()
    before = replace(told, receipt_id=old, learned=Learned())
    return (_say(before, _REPLACED.kind, reason=_REPLACED.reason), *_granted(told))


_TELLERS: Final[Mapping[EntryKind, Callable[[Told], tuple[Said, ...]]]] = {
    K.PURCHASED: _granted,
    K.RENEWED: _granted,
    K.SIGNALED: _scheduled,
    K.RESCHEDULED: _scheduled,
    K.REVOKED: _cancelled,
    K.EXPIRED: _expired,
    K.REFUND_SUCCEEDED: _refunded,
}
_SPECIAL: Final[Mapping[str, Callable[[Told], tuple[Said, ...]]]] = {"SUBSCRIPTION_MODIFIED_IMMEDIATE": _replaced}


def _is_over(told: Told) -> bool:
    """Tell whether the answer's cancellation had happened by the time of the notification."""
    at_ms = told.learned.cancelled_at_ms
    return told.learned.invalid or (at_ms is not None and at_ms <= told.at_ms)


def _expires_at_ms(told: Told) -> int | None:
    """Find the end that is still to come, as seen from the notification. What is bought once has none."""
    until = told.learned.runs_until_ms
    if told.word.product != "subscription" or until is None or until <= told.at_ms:
        return None
    return until


def _ended(told: Told) -> tuple[Said, ...]:
    """Say what a passed cancellation means to something that was said to be given: of one-time products, a refund."""
    cancelled_at_ms = told.learned.cancelled_at_ms
    if told.word.product != "subscription" and cancelled_at_ms is not None:
        # Nothing that is bought once runs out: a date here is what CONSUMABLE_ and ENTITLEMENT_CANCELLED tell.
        return _refunded(replace(told, at_ms=max(cancelled_at_ms, told.at_ms)))
    if not _is_over(told):
        return ()
    ending = _INVALID if told.learned.invalid else told.learned.ending or Ending(K.EXPIRED, "cancelled")
    return (_say(told, ending.kind, reason=ending.reason, expires_at_ms=cancelled_at_ms),)


def _say(
    told: Told,
    kind: EntryKind,
    *,
    reason: str | None = None,
    expires_at_ms: int | None = None,
    refund: RefundFacts | None = None,
) -> Said:
    """Put one thing said of one receipt into our words."""
    known = told.learned.facts
    bought_ms = told.at_ms if kind is K.PURCHASED else None
    return Said(
        kind=kind,
        occurred_at_ms=told.at_ms,
        subject=Subject(purchase_id=told.receipt_id),
        environment=told.environment,
        facts=PurchaseFacts(
            product_id=known.product_id,
            kind=known.kind or told.word.product,
            user_id=told.said.app_user_id,
            user_authority="guess",  # Amazon's id of the customer; the app may know them by another
            quantity=known.quantity,
            purchased_at_ms=bought_ms if known.purchased_at_ms is None else known.purchased_at_ms,
            expires_at_ms=expires_at_ms,
        ),
        refund=refund,
        reason=reason,
    )
