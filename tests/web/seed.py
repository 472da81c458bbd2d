"""Rows as the stations would have left them, made from resources: the API is tested against the store alone."""

import json
from typing import Any

from handlers import ids
from schemas.base import Access
from schemas.entry import Entry, EntryKind, PurchaseFacts, RefundFacts, Source, Subject
from schemas.resources import Cause, Customer, Entitlement, Event, EventData, Purchase, Refund
from worker.store import tables as t
from worker.store.engine import Store

APP = "acme"
ANNUAL = "com.acme.pro.annual"
NOW = 1_772_323_200
"""2026-03-01T00:00:00Z, when the tests happen."""
DAY = 86_400


def purchase(number: int = 1, **changes: Any) -> Purchase:
    """Make an annual plan, bought nine months before now; the number tells several apart."""
    base = Purchase(
        id=ids.make("pur", number),
        app=APP,
        platform="apple",
        environment="production",
        purchase_id=f"20000{number:08}",
        original_purchase_id="2000000000001",
        product_id=ANNUAL,
        kind="subscription",
        user_id="ada",
        quantity=1,
        amount=4999,
        currency="usd",
        purchased_at=NOW - 270 * DAY + number,
        expires_at=NOW + 95 * DAY,
        access=Access.ACTIVE,
        entitlements=("pro",),
        updated_at=NOW - 270 * DAY + number,
    )
    ends = changes.get("expires_at", base.expires_at)
    return base.model_copy(update={"lapses_at": ends, **changes})


def refund(number: int = 1, *, charge: Purchase | None = None, **changes: Any) -> Refund:
    """Make the refund of an annual plan after nine months."""
    charge = charge or purchase(number)
    base = Refund(
        id=ids.make("re", number),
        app=charge.app,
        platform=charge.platform,
        environment=charge.environment,
        platform_refund_id=charge.purchase_id,
        charge_id=charge.id,
        user_id=charge.user_id,
        amount=charge.amount,
        amount_source="exact",
        currency=charge.currency,
        scope="full",
        status="succeeded",
        reason="customer_request",
        created_at=NOW - DAY + number,
        updated_at=NOW - DAY + number,
    )
    return base.model_copy(update=changes)


def entitlement(key: str = "pro", **changes: Any) -> Entitlement:
    """Make the access that an annual plan gives."""
    base = Entitlement(
        app=APP,
        environment="production",
        user_id="ada",
        key=key,
        active=True,
        status="active",
        expires_at=NOW + 95 * DAY,
        purchases=(purchase().id,),
        updated_at=NOW - 270 * DAY,
    )
    return base.model_copy(update=changes)


def event(number: int = 1, *, type_: str = "entitlement.revoked", **changes: Any) -> Event:
    """Make an event that tells of an access that ended."""
    base = Event(
        id=ids.make("evt", number),
        type=type_,
        timestamp="2026-03-01T00:00:00.000Z",
        app=APP,
        environment="production",
        customer=Customer(user_id="ada"),
        sequence=number,
        data=EventData(
            entitlement=entitlement(active=False, status="revoked", reason="refunded"),
            purchase=purchase(access=Access.REVOKED),
            cause=Cause(
                platform="apple",
                notification_id=f"00000000-0000-4000-8000-{number:012}",
                notification=notification_id(number),
                type="REFUND",
                rule="full_refund",
            ),
        ),
    )
    return base.model_copy(update=changes)


def refunded(number: int = 1) -> Entry:
    """Make what Apple says of a refund."""
    return Entry(
        id=ids.make("ent", number),
        app=APP,
        platform="apple",
        kind=EntryKind.REFUND_SUCCEEDED,
        occurred_at_ms=(NOW - DAY + number) * 1000,
        subject=Subject(purchase_id=purchase(number).purchase_id, lineage=("token:secret-purchase-token",)),
        environment="production",
        facts=PurchaseFacts(product_id=ANNUAL),
        refund=RefundFacts(platform_refund_id=purchase(number).purchase_id, scope="full", amount=4999),
        source=Source(notification=notification_id(number), notification_id="apple's", type="REFUND"),
    )


def notification_id(number: int) -> str:
    """Name the notification of that number."""
    return ids.make("ntf", number)


def insert_notification(store: Store, number: int = 1, **changes: Any) -> str:
    """Insert a processed notification, and return our id of it."""
    row = {
        "id": notification_id(number),
        "app": APP,
        "platform": "apple",
        "environment": "production",
        "scope": "",
        "notification_id": f"00000000-0000-4000-8000-{number:012}",
        "type": "REFUND",
        "subtype": "",
        "occurred_at_ms": (NOW - DAY) * 1000,
        "received_at_ms": (NOW - DAY) * 1000 + number,
        "body": b'{"signedPayload":"..."}',
        "headers": "{}",
        "status": "processed",
        "attempts": 1,
        "stations": json.dumps({"stored": 3.5}),
    }
    with store.write() as connection:
        connection.execute(t.notifications.insert(), [row | changes])
    return str((row | changes)["id"])


def insert(store: Store, *things: Purchase | Refund | Entitlement | Event | Entry, lineage: str = "lin_ada") -> None:
    """Insert things into the tables they belong to."""
    with store.write() as connection:
        for thing in things:
            match thing:
                case Purchase():
                    extra = {"lineage": lineage, "sort_at": thing.purchased_at or thing.updated_at}
                    connection.execute(t.purchases.insert(), [_columns(thing) | extra])
                case Refund():
                    connection.execute(t.refunds.insert(), [_columns(thing) | {"lineage": lineage}])
                case Entitlement():
                    connection.execute(t.entitlements.insert(), [_columns(thing)])
                case Event():
                    connection.execute(t.events.insert(), [_event_row(thing)])
                case Entry():
                    connection.execute(t.entries.insert(), [_entry_row(thing, lineage)])


def _columns(thing: Purchase | Refund | Entitlement) -> dict[str, Any]:
    dumped = thing.model_dump(exclude={"object", "charge"})
    return {name: json.dumps(value) if isinstance(value, tuple) else value for name, value in dumped.items()}


def _event_row(thing: Event) -> dict[str, Any]:
    return {
        "id": thing.id,
        "app": thing.app,
        "environment": thing.environment,
        "type": thing.type,
        "user_id": thing.customer.user_id if thing.customer else None,
        "sequence": thing.sequence,
        "timestamp_ms": NOW * 1000,
        "notification": thing.data.cause.notification,
        "document": thing.model_dump_json(),
    }


def _entry_row(thing: Entry, lineage: str) -> dict[str, Any]:
    return {
        "id": thing.id,
        "lineage": lineage,
        "app": thing.app,
        "platform": thing.platform,
        "kind": thing.kind.value,
        "occurred_at_ms": thing.occurred_at_ms,
        "recorded_at_ms": NOW * 1000,
        "notification": thing.source.notification,
        "document": thing.model_dump_json(exclude_defaults=True),
    }
