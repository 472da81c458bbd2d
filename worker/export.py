"""Export refunds and events: what they are as rows of a table, and as documents."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from schemas.resources import Refund
from worker.spreadsheets import Columns, Item, Kind
from worker.store import exports
from worker.store.engine import Store
from worker.store.exports import Span

_NOT_IN_TABLES = frozenset({"object", "charge"})
_KINDS: Final[dict[str, Kind]] = {"amount": "integer", "quantity": "integer", "offline": "boolean"}

REFUND_COLUMNS: Final[Columns] = {
    name: "moment" if name.endswith("_at") else _KINDS.get(name, "text")
    for name in Refund.model_fields
    if name not in _NOT_IN_TABLES
}
EVENT_COLUMNS: Final[Columns] = {
    "id": "text",
    "type": "text",
    "timestamp": "moment",
    "app": "text",
    "environment": "text",
    "user_id": "text",
    "sequence": "integer",
    "entitlement": "text",
    "entitlement_status": "text",
    "entitlement_active": "boolean",
    "entitlement_expires_at": "moment",
    "purchase_id": "text",
    "product_id": "text",
    "refund_id": "text",
    "refund_status": "text",
    "amount": "integer",
    "currency": "text",
    "units": "integer",
    "platform": "text",
    "notification": "text",
    "cause_type": "text",
    "rule": "text",
}

Stretch = tuple[int, list[Item]]
"""How far it is now, and what is to be written."""


def count(store: Store, what: str, span: Span) -> int:
    """Tell how far the work goes: refunds that are wanted, or places of the feed to look at."""
    with store.read() as connection:
        if what == "refunds":
            return exports.count_refunds(connection, span)
        begin, end = exports.feed_bounds(connection, span)
        return end - begin


def refunds(store: Store, span: Span) -> Iterator[Stretch]:
    """Read refunds, oldest first."""
    for found in exports.read_refunds(store, span):
        yield len(found), [_refund(each) for each in found]


def events(store: Store, span: Span) -> Iterator[Stretch]:
    """Read events, in the order of the feed; a platform's are those that it caused."""
    with store.read() as connection:
        bounds = exports.feed_bounds(connection, span)
    for done, documents in exports.read_events(store, span, bounds):
        told = ((document, json.loads(document)) for document in documents)
        yield done, [_event(text, event) for text, event in told if span.platform in (None, _cause(event)["platform"])]


def _refund(refund: Refund) -> Item:
    cells = refund.model_dump(mode="json", exclude=set(_NOT_IN_TABLES))
    moments = [name for name, kind in REFUND_COLUMNS.items() if kind == "moment" and cells[name] is not None]
    return Item(refund.model_dump_json(exclude={"charge"}), {**cells, **{name: cells[name] * 1000 for name in moments}})


def _event(document: str, event: dict[str, Any]) -> Item:
    data, cause = event["data"], _cause(event)
    entitlement, refund, purchase, balance = (
        data.get(name) or {} for name in ("entitlement", "refund", "purchase", "balance")
    )
    ends_at = entitlement.get("expires_at")
    cells = {
        **{name: event[name] for name in ("id", "type", "app", "environment", "sequence")},
        "timestamp": _milliseconds(event["timestamp"]),
        "user_id": (event["customer"] or {}).get("user_id"),
        "entitlement": entitlement.get("key"),
        "entitlement_status": entitlement.get("status"),
        "entitlement_active": entitlement.get("active"),
        "entitlement_expires_at": None if ends_at is None else ends_at * 1000,
        "purchase_id": purchase.get("id"),
        "product_id": purchase.get("product_id") or balance.get("product_id"),
        "refund_id": refund.get("id"),
        "refund_status": refund.get("status"),
        "amount": refund.get("amount"),
        "currency": refund.get("currency"),
        "units": balance.get("units"),
        "platform": cause["platform"],
        "notification": cause.get("notification"),
        "cause_type": cause["type"],
        "rule": cause["rule"],
    }
    return Item(document, cells)


def _cause(event: dict[str, Any]) -> dict[str, Any]:
    cause: dict[str, Any] = event["data"]["cause"]
    return cause


def _milliseconds(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)
