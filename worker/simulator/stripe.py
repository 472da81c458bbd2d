"""Speak as Stripe: snapshot events of API version 2026-10-28.endive, signed with the app's endpoint secret.

One-time sales are told by `charge.succeeded`, whose metadata names user and product; subscriptions by
`invoice.paid`, which embeds its payment and the subscription's metadata. Shapes: https://docs.stripe.com/api.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.platforms import Stripe
from worker.simulator.sale import Sale, Shot

API_VERSION = "2026-10-28.endive"
TOLERANCE_SECONDS = 300


def create(directory: Path, *, app: str, public_url: str) -> dict[str, Any]:
    """Make an endpoint secret, and return the app's `[apps.….stripe]` section; nothing needs a file."""
    del directory, app, public_url
    return {"webhook_secrets": [f"whsec_{secrets.token_hex(16)}"], "livemode": False}


def told(sale: Sale) -> None:
    """Say nothing: the metadata of every sale names user and product already."""


def sign(body: bytes, *, secret: str, now: float, scheme: str = "v1") -> str:
    """Write the `Stripe-Signature` of a body.

    Written apart from `handlers/stripe.py` on purpose: an error there must not be repeated here.
    """
    mac = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    mac.update(str(int(now)).encode())
    mac.update(b".")
    mac.update(body)
    return f"t={int(now)},{scheme}={mac.hexdigest()}"


def shot_of(kind: str, body: bytes, signature: str | None) -> Shot:
    """Post a body with the headers that Stripe sends along."""
    headers = {
        "content-type": "application/json; charset=utf-8",
        "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }
    return Shot(kind, body, headers if signature is None else {**headers, "stripe-signature": signature})


class StripeSimulator:
    """Stripe, for one endpoint whose secret `create` made.

    Args:
        directory: unused; every simulator is made the same way.
        settings: the app's section.
    """

    def __init__(self, directory: Path, settings: Stripe) -> None:
        del directory
        self._secret = settings.webhook_secrets[0]
        self._livemode = settings.livemode
        self._user_key = settings.user_id_metadata
        self._product_key = settings.product_id_metadata

    def purchase(self, sale: Sale, now: float) -> Shot:
        """Say that it was bought."""
        if sale.subscription:
            return self.event("invoice.paid", self.invoice(sale), now)
        return self.event("charge.succeeded", self.charge(sale), now)

    def renew(self, sale: Sale, now: float) -> Shot:
        """Say that `sale`, a later period, was paid: the same event as for the first."""
        return self.purchase(sale, now)

    def refund(self, sale: Sale, now: float) -> Shot:
        """Say that all its money went back."""
        return self.event("refund.created", self.refund_object(sale, now), now)

    def undo_refund(self, sale: Sale, now: float) -> Shot | None:
        """Say that the customer's bank sent the money back: that very refund failed."""
        failed = {
            "status": "failed",
            "failure_reason": "expired_or_canceled_card",
            "failure_balance_transaction": _id("txn", "failed", sale.purchase_id),
        }
        return self.event("refund.failed", {**self.refund_object(sale, now), **failed}, now)

    def expire(self, sale: Sale, now: float) -> Shot | None:
        """Say that the subscription ended; what was bought once never does."""
        if not sale.subscription:
            return None
        return self.event("customer.subscription.deleted", self.subscription(sale, now), now)

    def forge(self, shot: Shot, now: float) -> tuple[tuple[str, Shot], ...]:
        """Make named forgeries of a good notification, each of which must be refused."""
        tampered = shot.body.replace(b'"amount": ', b'"amount": 9', 1).replace(b"\n", b"\n\n", 1)
        flag, other = (f'"livemode": {json.dumps(mode)}'.encode() for mode in (self._livemode, not self._livemode))
        other_mode = shot.body.replace(flag, other)
        stranger = f"whsec_{secrets.token_hex(16)}"
        # Far enough ahead to be still in the future when it arrives, however slowly.
        late, early = now - TOLERANCE_SECONDS - 1, now + TOLERANCE_SECONDS + 60
        forged: Mapping[str, tuple[bytes, str | None]] = {
            "no_signature": (shot.body, None),
            "strangers_secret": (shot.body, sign(shot.body, secret=stranger, now=now)),
            "amount_tampered": (tampered, shot.headers["stripe-signature"]),
            "signed_too_long_ago": (shot.body, sign(shot.body, secret=self._secret, now=late)),
            "signed_in_the_future": (shot.body, sign(shot.body, secret=self._secret, now=early)),
            "only_scheme_v0": (shot.body, sign(shot.body, secret=self._secret, now=now, scheme="v0")),
            "other_livemode": (other_mode, sign(other_mode, secret=self._secret, now=now)),
        }
        return tuple((name, shot_of(shot.type, body, header)) for name, (body, header) in forged.items())

    def event(self, kind: str, subject: Mapping[str, Any], now: float, **more: Any) -> Shot:
        """Say any event about any object; `more` adds to or replaces fields of the event."""
        event = {
            "id": f"evt_{secrets.token_hex(12)}",
            "object": "event",
            "api_version": API_VERSION,
            "created": int(now),
            "data": {"object": dict(subject)},
            "livemode": self._livemode,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
            **more,
        }
        body = json.dumps(event, indent=2, ensure_ascii=False).encode()
        return shot_of(kind, body, sign(body, secret=self._secret, now=now))

    def charge(self, sale: Sale) -> dict[str, Any]:
        """Make the charge of a one-time sale."""
        return {
            "id": sale.purchase_id,
            "object": "charge",
            "amount": sale.amount,
            "amount_captured": sale.amount,
            "amount_refunded": 0,
            "application": None,
            "balance_transaction": _id("txn", sale.purchase_id),
            "billing_details": {"address": {"country": "DE"}, "email": None, "name": None, "phone": None},
            "captured": True,
            "created": sale.purchased_at_ms // 1000,
            "currency": sale.currency.lower(),
            "customer": _id("cus", sale.user_id),
            "description": None,
            "disputed": False,
            "failure_code": None,
            "livemode": self._livemode,
            "metadata": self._metadata(sale),
            "outcome": {
                "network_status": "approved_by_network",
                "risk_level": "normal",
                "type": "authorized",
            },
            "paid": True,
            "payment_intent": _id("pi", sale.purchase_id),
            "payment_method": _id("pm", sale.user_id),
            "payment_method_details": {"card": {"brand": "visa", "last4": "4242"}, "type": "card"},
            "receipt_number": None,
            "refunded": False,
            "review": None,
            "status": "succeeded",
        }

    def invoice(self, sale: Sale) -> dict[str, Any]:
        """Make the paid invoice of one period of a subscription."""
        invoice = _id("in", sale.purchase_id)
        paid_at = sale.purchased_at_ms // 1000
        details = {"metadata": self._metadata(sale), "subscription": sale.original_purchase_id}
        return {
            "id": invoice,
            "object": "invoice",
            "amount_due": sale.amount,
            "amount_overpaid": 0,
            "amount_paid": sale.amount,
            "amount_remaining": 0,
            "attempt_count": 1,
            "attempted": True,
            "billing_reason": "subscription_cycle" if sale.period else "subscription_create",
            "collection_method": "charge_automatically",
            "created": paid_at,
            "currency": sale.currency.lower(),
            "customer": _id("cus", sale.user_id),
            "lines": {
                "object": "list",
                "data": [self._line(sale, details)],
                "has_more": False,
                "total_count": 1,
            },
            "livemode": self._livemode,
            "metadata": {},
            "parent": {
                "quote_details": None,
                "subscription_details": details,
                "type": "subscription_details",
            },
            "payments": {"object": "list", "data": [self._payment(sale, invoice)], "has_more": False},
            "period_end": paid_at,
            "period_start": paid_at,
            "status": "paid",
            "status_transitions": {"finalized_at": paid_at, "paid_at": paid_at, "voided_at": None},
            "subtotal": sale.amount,
            "total": sale.amount,
        }

    def refund_object(self, sale: Sale, now: float) -> dict[str, Any]:
        """Make the refund of everything that a sale took; the same sale always has the same refund."""
        return {
            "id": _id("re", sale.purchase_id),
            "object": "refund",
            "amount": sale.amount,
            "balance_transaction": _id("txn", "refund", sale.purchase_id),
            "charge": sale.purchase_id,
            "created": int(now),
            "currency": sale.currency.lower(),
            "destination_details": {
                "card": {"reference": None, "reference_status": "pending", "type": "refund"},
                "type": "card",
            },
            "metadata": {},
            "payment_intent": None if sale.subscription else _id("pi", sale.purchase_id),
            "pending_reason": None,
            "reason": "requested_by_customer",
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }

    def subscription(self, sale: Sale, now: float) -> dict[str, Any]:
        """Make the subscription of a sale, ended now."""
        return {
            "id": sale.original_purchase_id,
            "object": "subscription",
            "cancel_at_period_end": False,
            "canceled_at": int(now),
            "cancellation_details": {"comment": None, "feedback": None, "reason": "cancellation_requested"},
            "collection_method": "charge_automatically",
            "created": sale.purchased_at_ms // 1000,
            "currency": sale.currency.lower(),
            "customer": _id("cus", sale.user_id),
            "ended_at": int(now),
            "livemode": self._livemode,
            "metadata": self._metadata(sale),
            "start_date": sale.purchased_at_ms // 1000,
            "status": "canceled",
        }

    def _metadata(self, sale: Sale) -> dict[str, str]:
        return {self._user_key: sale.user_id, self._product_key: sale.product_id}

    def _line(self, sale: Sale, details: Mapping[str, Any]) -> dict[str, Any]:
        start = sale.purchased_at_ms // 1000
        end = start + 30 * 86_400 if sale.expires_at_ms is None else sale.expires_at_ms // 1000
        price = {"price": _id("price", sale.product_id), "product": _id("prod", sale.product_id)}
        parent = {"proration": False, "subscription": details["subscription"]}
        return {
            "id": _id("il", sale.purchase_id),
            "object": "line_item",
            "amount": sale.amount,
            "currency": sale.currency.lower(),
            "description": f"{sale.quantity} x {sale.product_id}",
            "metadata": details["metadata"],
            "parent": {"subscription_item_details": parent, "type": "subscription_item_details"},
            "period": {"start": start, "end": end},
            "pricing": {"price_details": price, "type": "price_details"},
            "quantity": sale.quantity,
        }

    def _payment(self, sale: Sale, invoice: str) -> dict[str, Any]:
        """Make an invoice payment. It names a charge only if no payment intent stands before it, as here."""
        return {
            "id": _id("inpay", sale.purchase_id),
            "object": "invoice_payment",
            "amount_paid": sale.amount,
            "amount_requested": sale.amount,
            "created": sale.purchased_at_ms // 1000,
            "currency": sale.currency.lower(),
            "invoice": invoice,
            "is_default": True,
            "livemode": self._livemode,
            "payment": {"charge": sale.purchase_id, "type": "charge"},
            "status": "paid",
        }


def _id(prefix: str, *parts: str) -> str:
    """Make an id in Stripe's style that follows from what it belongs to."""
    return f"{prefix}_{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:24]}"
