"""Make a complete event of any type that nobody lived through: for documents, `/test`, and whoever tries a receiver.

A sample is what the house decides about a short story, so it is made like a real one. It is recognized by its id
(`evt_sample_…`), its customer (`sample_customer`) and the notification that it names (`ntf_sample`).
"""

from typing import Any, Final, NamedTuple

from config.products import Product
from config.settings import App
from handlers.decide import decide
from schemas.base import Environment, PlatformName
from schemas.book import Book
from schemas.entry import Entry, EntryKind, PurchaseFacts, RefundFacts, Source, Subject
from schemas.resources import Event

CUSTOMER: Final = "sample_customer"
SAMPLE_AT_MS: Final = 1_795_348_488_205

_DAY_MS: Final = 24 * 3600 * 1000
_PERIOD_DAYS: Final = 30
_MONTHLY, _COINS = "sample.pro.monthly", "sample.coins.100"
_APP: Final = App(
    products={_MONTHLY: Product(entitlements=("pro",)), _COINS: Product(kind="consumable", units=100)},
)


class _Step(NamedTuple):
    """One thing that a platform says, in its own word, so many days before the event is told."""

    kind: EntryKind
    word: str
    days_before: int = 0


class _Story(NamedTuple):
    """What a platform says of one purchase, until an event of the wanted type follows."""

    steps: tuple[_Step, ...]
    platform: PlatformName = "stripe"
    product: str = _MONTHLY


K = EntryKind
_bought = _Step(K.PURCHASED, "invoice.paid", 9)
_paid_once = _Step(K.PURCHASED, "charge.succeeded", 9)
_subscribed = _Step(K.PURCHASED, "SUBSCRIBED", 9)
_refunded = _Step(K.REFUND_SUCCEEDED, "refund.created", 3)
_asked = _Step(K.REFUND_REQUESTED, "CONSUMPTION_REQUEST", 2)
_pending = _Step(K.REFUND_PENDING, "refund.created", 3)
_disputed = _Step(K.CHARGEBACK_OPENED, "charge.dispute.created", 5)
_failed = _Step(K.REFUND_FAILED, "refund.failed")
_won = _Step(K.CHARGEBACK_WON, "charge.dispute.closed")

_STORIES: Final[dict[str, _Story]] = {
    "entitlement.granted": _Story((_bought,)),
    "entitlement.renewed": _Story((_bought, _Step(K.RENEWED, "invoice.paid"))),
    "entitlement.revoked": _Story((_bought, _refunded)),
    "entitlement.suspended": _Story((_bought, _disputed)),
    "entitlement.reinstated": _Story((_bought, _disputed, _won)),
    "entitlement.expired": _Story((_bought, _Step(K.EXPIRED, "customer.subscription.deleted"))),
    "refund.requested": _Story((_subscribed, _asked), "apple"),
    "refund.pending": _Story((_bought, _pending)),
    "refund.succeeded": _Story((_bought, _refunded)),
    "refund.failed": _Story((_bought, _refunded, _failed)),
    "refund.canceled": _Story((_bought, _pending, _Step(K.REFUND_CANCELED, "refund.updated"))),
    "refund.declined": _Story((_subscribed, _asked, _Step(K.REFUND_DECLINED, "REFUND_DECLINED")), "apple"),
    "refund.reversed": _Story(
        (_subscribed, _Step(K.REFUND_SUCCEEDED, "REFUND", 2), _Step(K.REFUND_REVERSED, "REFUND_REVERSED")), "apple"
    ),
    "chargeback.opened": _Story((_bought, _disputed)),
    "chargeback.won": _Story((_bought, _disputed, _won)),
    "chargeback.lost": _Story((_bought, _disputed, _Step(K.CHARGEBACK_LOST, "charge.dispute.closed"))),
    "balance.clawed_back": _Story((_paid_once, _refunded), product=_COINS),
    "balance.restored": _Story((_paid_once, _refunded, _failed), product=_COINS),
}

_SUBJECTS: Final[dict[PlatformName, Subject]] = {
    "stripe": Subject(purchase_id="ch_sample", aliases=("invoice:in_sample", "payment_intent:pi_sample")),
    "apple": Subject(purchase_id="2000000123456789", lineage=("original:2000000123456000",)),
}
_NOTIFICATIONS: Final[dict[PlatformName, str]] = {
    "stripe": "evt_1Sample",
    "apple": "002e14d5-51f5-4503-b5a8-c3a1af68eb20",
}


def sample(
    event_type: str,
    *,
    app: str = "acme",
    environment: Environment = "sandbox",
    mark: str = "",
    at_ms: int = SAMPLE_AT_MS,
) -> Event:
    """Make an event of a type: the same one whenever the same is asked for.

    Args:
        event_type: one of `schemas.events.EVENT_TYPES`; anything else is a KeyError.
        app: whose it is.
        environment: not production, unless somebody wants it to be.
        mark: letters, digits and `_` that make the id another one, for whoever sends more than one: receivers drop an
            id that they had.
        at_ms: when it is told, Unix milliseconds. Everything in it happened shortly before.
    """
    story, book, told = _STORIES[event_type], Book(), []
    for step in story.steps:
        said = _entry(step, story, app, environment, at_ms)
        decision = decide(book, [said], app=_APP, now_ms=at_ms)
        book = decision.book
        told += [event for event in decision.events if event.type == event_type]
    name = "_".join(filter(None, ("evt_sample", event_type.replace(".", "_"), mark)))
    return told[-1].model_copy(update={"id": name})


def _entry(step: _Step, story: _Story, app: str, environment: Environment, at_ms: int) -> Entry:
    """Say one step."""
    occurred_at_ms = at_ms - step.days_before * _DAY_MS
    return Entry(
        id=f"ent_sample_{step.kind}",
        kind=step.kind,
        occurred_at_ms=occurred_at_ms,
        subject=_SUBJECTS[story.platform],
        environment=environment,
        facts=_facts(step, story, at_ms),
        refund=_refund(step, story.platform, occurred_at_ms),
        app=app,
        platform=story.platform,
        source=Source(notification="ntf_sample", notification_id=_NOTIFICATIONS[story.platform], type=step.word),
    )


def _facts(step: _Step, story: _Story, at_ms: int) -> PurchaseFacts:
    """Say what was bought, and that a renewal lasts longer; the other steps say nothing of that."""
    bought_at_ms = at_ms - story.steps[0].days_before * _DAY_MS
    ends: dict[str, Any] = {"expires_at_ms": bought_at_ms + _PERIOD_DAYS * _DAY_MS} if story.product == _MONTHLY else {}
    if step.kind is K.RENEWED:
        return PurchaseFacts(expires_at_ms=bought_at_ms + 2 * _PERIOD_DAYS * _DAY_MS)
    if step.kind is not K.PURCHASED:
        return PurchaseFacts()
    return PurchaseFacts(
        product_id=story.product,
        user_id=CUSTOMER,
        quantity=1,
        amount=999,
        currency="usd",
        purchased_at_ms=bought_at_ms,
        **ends,
    )


def _refund(step: _Step, platform: PlatformName, occurred_at_ms: int) -> RefundFacts | None:
    """Say what of the money went back, where a step is about that. Apple names no sum, and no refunds."""
    if step.kind in (K.PURCHASED, K.RENEWED, K.EXPIRED):
        return None
    disputed = step.kind.startswith("chargeback_")
    if platform == "apple":
        return RefundFacts(platform_refund_id="2000000123456789", scope="full", reason="other")
    return RefundFacts(
        platform_refund_id="dp_sample" if disputed else "re_sample",
        type="chargeback" if disputed else "refund",
        scope="full",
        amount=999,
        amount_source="exact",
        currency="usd",
        reason="fraudulent" if disputed else "requested_by_customer",
        failed_reason="expired_or_canceled_card" if step.kind is K.REFUND_FAILED else None,
        created_at_ms=occurred_at_ms,
    )
