"""Say what a Real-time Developer Notification tells of purchases, by what the Play Developer API adds to it.

A notification says only that something changed. The answers name products, people, orders and dates; what happened,
the notification alone decides, since an answer describes another moment. So a subscription on hold is suspended and a
voided order is refunded, even while `subscriptionsv2` still reads ACTIVE.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from handlers.play_orders import Order, learn_order
from handlers.play_purchases import Learned, learn_product, learn_subscription
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Said, Subject
from schemas.meaning import Facts, Lookup
from schemas.platforms.google import (
    OneTimeProductNotification,
    PendingRefundReviewNotification,
    SubscriptionNotification,
    VoidedPurchaseNotification,
)

__all__ = ["Event", "Means", "Moment", "asked", "held", "lookups", "moved", "paid", "voided"]

K = EntryKind

Lasting = SubscriptionNotification | OneTimeProductNotification
Event = Lasting | VoidedPurchaseNotification | PendingRefundReviewNotification

_FULL_REFUND = 1
_ONE_TIME_PRODUCT = 2
_CHARGEBACK = 7
_REVIEW_REASON_MAX = 999
"""The one documented number is 7. What is beyond every plausible enum is no reason to repeat."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One notification, read, with what look-ups answered."""

    event: Event
    at_ms: int
    facts: Facts

    @property
    def owner(self) -> Learned:
        """What is known of the purchase token."""
        lookup = lookups(self.event)[0]
        answer = self.facts.get(lookup)
        return learn_product(answer) if lookup.kind == "productsv2" else learn_subscription(answer, at_ms=self.at_ms)

    def order(self, order_id: str) -> Order:
        """What is known of an order."""
        return learn_order(self.facts.get(Lookup("orders", order_id)), order_id=order_id)


@dataclass(frozen=True, slots=True)
class Means:
    """What a type means.

    Attributes:
        says: makes what is said of it; nothing, where the answers leave nothing to say.
        reason: why access ends or rests.
        certain: facts that must be learned, or nothing is said.
    """

    kind: EntryKind
    says: Callable[["Means", Moment], tuple[Said, ...]]
    reason: str | None = None
    certain: tuple[str, ...] = ()


def lookups(event: Event) -> tuple[Lookup, ...]:
    """Name the look-up that tells whose purchase this is, then what else there is to ask."""
    if isinstance(event, SubscriptionNotification):
        return (Lookup("subscriptionsv2", event.purchase_token),)
    if isinstance(event, OneTimeProductNotification):
        return (Lookup("productsv2", event.purchase_token),)
    if isinstance(event, PendingRefundReviewNotification):
        return (Lookup("orders", event.order_id),)
    once = event.product_type == _ONE_TIME_PRODUCT or (event.product_type is None and event.refund_type != _FULL_REFUND)
    owner = "productsv2" if once else "subscriptionsv2"
    return (Lookup(owner, event.purchase_token), Lookup("orders", event.order_id))


def paid(means: Means, moment: Moment) -> tuple[Said, ...]:
    """Say that it was paid for: the one order if an answer names that, else whatever the token names.

    If the answer comes late, its order may be one that was bought since. That one was paid for too, and its own
    notification, told later, corrects the time.
    """
    owner, event = moment.owner, cast("Lasting", moment.event)
    since = owner.started_at_ms if isinstance(event, OneTimeProductNotification) else None
    bought_ms = (since or moment.at_ms) if owner.order_id else None
    facts = _bought(event, owner.facts).model_copy(update={"purchased_at_ms": bought_ms, "quantity_left": None})
    return (_of_token(means, moment, owner, facts, order_id=owner.order_id), *_replaced(means, moment, owner, facts))


def moved(means: Means, moment: Moment) -> tuple[Said, ...]:
    """Say that it ends at another time than was paid for; without an answer, that the old date no longer counts."""
    owner = moment.owner
    if any(getattr(owner.facts, name) is None for name in means.certain):
        return ()
    facts = _bought(cast("Lasting", moment.event), owner.facts)
    return (_of_token(means, moment, owner, facts, order_id=owner.order_id), *_replaced(means, moment, owner, facts))


def held(means: Means, moment: Moment) -> tuple[Said, ...]:
    """Say that everything bought so far with this token ended, or rests.

    Never of one order: that of an answer may be one that was bought since.
    """
    return (_of_token(means, moment, moment.owner, moment.owner.person, order_id=None),)


def voided(means: Means, moment: Moment) -> tuple[Said, ...]:
    """Say that money of one order went back: of one billing period, never of the whole subscription.

    A quantity-based void may repeat within its order, so its time tells it from the next one; the void that takes the
    last unit comes as a full one (…/rtdn-reference#voided-purchase).
    """
    event = cast("VoidedPurchaseNotification", moment.event)
    full = event.refund_type == _FULL_REFUND
    owner, order = moment.owner, moment.order(event.order_id)
    returned = order.refunded_in_full() if full else order.refunded_in_part(moment.at_ms)
    refund = RefundFacts(
        platform_refund_id=event.order_id if full else f"{event.order_id}:{moment.at_ms}",
        type="void",
        scope="full" if full else "quantity",
        amount=returned.amount,
        amount_source=returned.amount_source,
        currency=returned.currency,
        reason=returned.reason,
        created_at_ms=moment.at_ms,
    )
    said = Said(
        kind=means.kind,
        occurred_at_ms=moment.at_ms,
        subject=Subject(purchase_id=event.order_id, aliases=_only_order(event), lineage=_lineage(event.purchase_token)),
        environment=owner.environment,
        facts=_of_order(event.order_id, order, owner),
        refund=refund,
    )
    return (said,)


def asked(means: Means, moment: Moment) -> tuple[Said, ...]:
    """Say that somebody wants the money of one order back. Access stays until a void tells that it went.

    The review is open for 24 hours, and how it ends is not told unless the money goes
    (developer.android.com/google/play/billing/provide-refund-and-chargeback-suggestions).
    """
    event = cast("PendingRefundReviewNotification", moment.event)
    order = moment.order(event.order_id)
    asker = Learned(facts=PurchaseFacts(user_id=event.obfuscated_account_id, user_authority="guess"))
    said = Said(
        kind=means.kind,
        occurred_at_ms=moment.at_ms,
        subject=Subject(purchase_id=event.order_id, lineage=_lineage(order.token) if order.token else ()),
        facts=_of_order(event.order_id, order, asker),
        refund=RefundFacts(
            platform_refund_id=event.order_id,
            type="void",
            reason=_review_reason(event.refund_reason),
            created_at_ms=moment.at_ms,
        ),
    )
    return (said,)


def _of_token(means: Means, moment: Moment, owner: Learned, facts: PurchaseFacts, *, order_id: str | None) -> Said:
    event = cast("Lasting", moment.event)
    return Said(
        kind=means.kind,
        occurred_at_ms=moment.at_ms,
        subject=Subject(purchase_id=order_id, lineage=_lineage(event.purchase_token)),
        environment=owner.environment,
        facts=facts,
        reason=means.reason,
    )


def _replaced(means: Means, moment: Moment, owner: Learned, facts: PurchaseFacts) -> tuple[Said, ...]:
    """Say that what this subscription took the place of has ended: upgraded, downgraded, subscribed to anew.

    "linkedPurchaseToken" of …/purchases.subscriptionsv2: the old token is dead from then on, though nothing was
    refunded. It ends just before the new one begins, which the notification of the purchase dates best. Not while it
    is open which order and product the new one is: nobody loses one plan before having the other. A token that had run
    out (`outOfAppPurchaseContext.expiredPurchaseToken`) needs no second end.
    """
    old, token = owner.replaces, cast("Lasting", moment.event).purchase_token
    if old in (None, token) or owner.order_id is None or facts.product_id is None:
        return ()
    bought = means.kind is K.PURCHASED
    since_ms = moment.at_ms if bought else min(owner.started_at_ms or moment.at_ms, moment.at_ms)
    ended = Said(
        kind=K.EXPIRED,
        occurred_at_ms=max(since_ms - 1, 0),
        subject=Subject(lineage=_lineage(str(old))),
        environment=owner.environment,
        reason="replaced",
    )
    return (ended,)


def _bought(event: Lasting, learned: PurchaseFacts) -> PurchaseFacts:
    """Say what was bought. Whether a one-time product is consumable, only the app's configuration knows."""
    if isinstance(event, SubscriptionNotification):
        product_id = learned.product_id or event.subscription_id
        return learned.model_copy(update={"kind": "subscription", "product_id": product_id})
    return learned.model_copy(update={"product_id": event.sku or learned.product_id})


def _of_order(order_id: str, order: Order, owner: Learned) -> PurchaseFacts:
    """Say what is as true of this order as on its first day.

    What a token's answer says of product and end is that of today's period, except where the token has one order
    only: then it is how many were bought, and are left.
    """
    person = {"user_id": owner.facts.user_id, "user_authority": owner.facts.user_authority}
    known = order.facts.model_copy(update=person)
    if owner.order_id != order_id or owner.facts.kind == "subscription":
        return known
    names = ("product_id", "quantity", "quantity_left")
    return known.model_copy(update={n: value for n in names if (value := getattr(owner.facts, n)) is not None})


def _review_reason(number: int | None) -> str:
    """Name why the money is wanted back: 7 is a chargeback, nothing else is documented."""
    if number is None or not 0 <= number <= _REVIEW_REASON_MAX:
        return "review"
    return "chargeback" if number == _CHARGEBACK else f"review_{number}"


def _only_order(event: VoidedPurchaseNotification) -> tuple[str, ...]:
    """Name an order by its token where it is the only one: an app's backend may know the purchase by that alone."""
    return (f"one_time:{event.purchase_token}",) if event.product_type == _ONE_TIME_PRODUCT else ()


def _lineage(token: str) -> tuple[str, ...]:
    return (f"token:{token}",)
