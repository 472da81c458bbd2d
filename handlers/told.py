"""Turn what an app backend says of a purchase into a ledger entry, under the same names a platform would use."""

from typing import Final

from handlers import ids
from schemas.base import PlatformName
from schemas.entry import Entry, EntryKind, PurchaseFacts, Source, Subject
from schemas.resources import PurchaseTold

_LINEAGE: Final[dict[PlatformName, str]] = {
    "apple": "original",
    "google": "original",
    "stripe": "subscription",
    "amazon": "original",
}
"""What a platform calls the id that renewals share."""

_STRIPE_ALIASES: Final = {"pi_": "payment_intent", "in_": "invoice", "cs_": "checkout_session"}
"""Stripe ids that name a purchase before its charge is known (https://docs.stripe.com/api/charges). What else an app
may name is the charge itself: `ch_…`, or `py_…` where it was not paid by card."""

_STRIPE_SUBSCRIPTION: Final = "sub_"
"""Names every payment of a subscription at once: what is told of it describes them all, and is none of them."""


def entry_of(told: PurchaseTold, *, now_ms: int) -> Entry:
    """Make the entry; the same call makes the same entry, so that telling twice adds nothing.

    Args:
        told: the body of `POST /v1/purchases`.
        now_ms: Unix milliseconds, for a call that does not say when it was bought.
    """
    return Entry(
        id=ids.make("ent", "told", told.model_dump_json()),
        kind=EntryKind.TOLD,
        occurred_at_ms=now_ms if told.purchased_at is None else told.purchased_at * 1000,
        subject=_subject(told),
        environment=told.environment,
        app=told.app,
        platform=told.platform,
        source=Source(type="api"),
        facts=PurchaseFacts(
            product_id=told.product_id,
            kind=told.kind,
            user_id=told.user_id,
            user_authority="app",
            quantity=told.quantity,
            amount=told.amount,
            currency=told.currency,
            purchased_at_ms=None if told.purchased_at is None else told.purchased_at * 1000,
            expires_at_ms=None if told.expires_at is None else told.expires_at * 1000,
        ),
    )


def _subject(told: PurchaseTold) -> Subject:
    """Name what is told of: one purchase, by its own id or another; or everything that one id stands for.

    Google's purchase token names the one order of what is bought once, and every order of a subscription
    (https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.subscriptionsv2). Told in the place of an
    order id it is a purchase of its own: of what is bought once, a void of the order finds it under `one_time:…`.
    """
    lineage = []
    if told.original_purchase_id:
        lineage.append(f"{_LINEAGE[told.platform]}:{told.original_purchase_id}")
    if told.purchase_token:
        lineage.append(f"token:{told.purchase_token}")
    if told.platform == "google" and told.purchase_id == told.purchase_token:  # public: both are one backend's words
        return Subject(
            purchase_id=told.purchase_id, aliases=(f"one_time:{told.purchase_token}",), lineage=tuple(lineage)
        )
    if told.platform != "stripe":
        return Subject(purchase_id=told.purchase_id, lineage=tuple(lineage))
    if told.purchase_id.startswith(_STRIPE_SUBSCRIPTION):
        return Subject(lineage=tuple(dict.fromkeys((f"subscription:{told.purchase_id}", *lineage))))
    if alias := _STRIPE_ALIASES.get(told.purchase_id[:3]):
        return Subject(aliases=(f"{alias}:{told.purchase_id}",), lineage=tuple(lineage))
    return Subject(purchase_id=told.purchase_id, lineage=tuple(lineage))
