"""The objects that Stripe's events are about, made of sales. Shapes: https://docs.stripe.com/api."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from config.platforms import Stripe
from worker.simulator.sale import Sale

UNUSED: Final = 750
"""What a month that was left for another plan is worth on the day it is left, in minor units."""


class StripeObjects:
    """Make charges, invoices, refunds, disputes and subscriptions of an account.

    Args:
        settings: the app's section.
    """

    def __init__(self, settings: Stripe) -> None:
        self._livemode = settings.livemode
        self._user_key = settings.user_id_metadata
        self._product_key = settings.product_id_metadata

    def charge(self, sale: Sale) -> dict[str, Any]:
        """Make the charge of a one-time sale."""
        return {
            "id": sale.purchase_id,
            "object": "charge",
            "amount": sale.amount,
            "amount_captured": sale.amount,
            "amount_refunded": 0,
            "application": None,
            "balance_transaction": id_of("txn", sale.purchase_id),
            "billing_details": {"address": {"country": "DE"}, "email": None, "name": None, "phone": None},
            "captured": True,
            "created": sale.purchased_at_ms // 1000,
            "currency": sale.currency.lower(),
            "customer": id_of("cus", sale.user_id),
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
            "payment_intent": id_of("pi", sale.purchase_id),
            "payment_method": id_of("pm", sale.user_id),
            "payment_method_details": {"card": {"brand": "visa", "last4": "4242"}, "type": "card"},
            "receipt_number": None,
            "refunded": False,
            "review": None,
            "status": "succeeded",
        }

    def refunded_charge(self, sale: Sale, amount_refunded: int) -> dict[str, Any]:
        """Make a charge of which so much went back in all; since 2022-11-15 it names no refund."""
        return {
            **self.charge(sale),
            "amount_refunded": amount_refunded,
            "refunded": amount_refunded >= sale.amount,
        }

    def invoice(self, sale: Sale) -> dict[str, Any]:
        """Make the paid invoice of one period of a subscription, or of the change to a better plan."""
        invoice = id_of("in", sale.purchase_id)
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
            "billing_reason": _billing_reason(sale),
            "collection_method": "charge_automatically",
            "created": paid_at,
            "currency": sale.currency.lower(),
            "customer": id_of("cus", sale.user_id),
            "lines": {
                "object": "list",
                "data": self._lines(sale, details),
                "has_more": False,
                "total_count": 2 if sale.replaces else 1,
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

    def refund_object(self, sale: Sale, now: float, *, part: str = "", amount: int | None = None) -> dict[str, Any]:
        """Make the refund of what a sale took, or of a part; the same part of the same sale is the same refund."""
        return {
            "id": id_of("re", sale.purchase_id, part) if part else id_of("re", sale.purchase_id),
            "object": "refund",
            "amount": sale.amount if amount is None else amount,
            "balance_transaction": id_of("txn", "refund", sale.purchase_id, part),
            "charge": sale.purchase_id,
            "created": int(now),
            "currency": sale.currency.lower(),
            "destination_details": {
                "card": {"reference": None, "reference_status": "pending", "type": "refund"},
                "type": "card",
            },
            "metadata": {},
            "payment_intent": None if sale.subscription else id_of("pi", sale.purchase_id),
            "pending_reason": None,
            "reason": "requested_by_customer",
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        }

    def dispute(self, sale: Sale, status: str, now: float) -> dict[str, Any]:
        """Make the dispute of a sale in a status; a sale has one."""
        return {
            "id": id_of("du", sale.purchase_id),
            "object": "dispute",
            "amount": sale.amount,
            "balance_transactions": [],
            "charge": sale.purchase_id,
            "created": int(now),
            "currency": sale.currency.lower(),
            "evidence_details": {
                "due_by": int(now) + 7 * 86_400,
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
            },
            "is_charge_refundable": status.startswith("warning"),
            "livemode": self._livemode,
            "metadata": {},
            "network_reason_code": "10.4",
            "payment_intent": None if sale.subscription else id_of("pi", sale.purchase_id),
            "payment_method_details": {
                "card": {
                    "brand": "visa",
                    "case_type": "inquiry" if status.startswith("warning") else "chargeback",
                    "network_reason_code": "10.4",
                },
                "type": "card",
            },
            "reason": "fraudulent",
            "status": status,
        }

    def fraud_warning(self, sale: Sale, now: float) -> dict[str, Any]:
        """Make an early fraud warning of a sale: no money has moved, and no dispute is there yet."""
        return {
            "id": id_of("issfr", sale.purchase_id),
            "object": "radar.early_fraud_warning",
            "actionable": True,
            "charge": sale.purchase_id,
            "created": int(now),
            "fraud_type": "misc",
            "livemode": self._livemode,
            "payment_intent": None if sale.subscription else id_of("pi", sale.purchase_id),
        }

    def subscription(self, sale: Sale, now: float, *, status: str = "canceled") -> dict[str, Any]:
        """Make the subscription of a sale: ended now, or in another status."""
        ended = int(now) if status == "canceled" else None
        why = "cancellation_requested" if status == "canceled" else None
        return {
            "id": sale.original_purchase_id,
            "object": "subscription",
            "cancel_at_period_end": False,
            "canceled_at": ended,
            "cancellation_details": {"comment": None, "feedback": None, "reason": why},
            "collection_method": "charge_automatically",
            "created": sale.purchased_at_ms // 1000,
            "currency": sale.currency.lower(),
            "customer": id_of("cus", sale.user_id),
            "ended_at": ended,
            "livemode": self._livemode,
            "metadata": self._metadata(sale),
            "start_date": sale.purchased_at_ms // 1000,
            "status": status,
        }

    def _metadata(self, sale: Sale) -> dict[str, str]:
        return {self._user_key: sale.user_id, self._product_key: sale.product_id}

    def _lines(self, sale: Sale, details: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Make the line of a period; a better plan costs more, less what is left of the old one (a proration)."""
        line = self._line(sale, details)
        if not sale.replaces:
            return [line]
        credit = {
            **line,
            "id": id_of("il", "unused", sale.purchase_id),
            "amount": -UNUSED,
            "description": "Unused time",
            "parent": {
                "subscription_item_details": {"proration": True, "subscription": details["subscription"]},
                "type": "subscription_item_details",
            },
            "period": {**line["period"], "end": line["period"]["start"] + 25 * 86_400},
        }
        return [credit, {**line, "amount": sale.amount + UNUSED}]

    def _line(self, sale: Sale, details: Mapping[str, Any]) -> dict[str, Any]:
        start = sale.purchased_at_ms // 1000
        end = start + 30 * 86_400 if sale.expires_at_ms is None else sale.expires_at_ms // 1000
        price = {"price": id_of("price", sale.product_id), "product": id_of("prod", sale.product_id)}
        parent = {"proration": False, "subscription": details["subscription"]}
        return {
            "id": id_of("il", sale.purchase_id),
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
            "id": id_of("inpay", sale.purchase_id),
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


def _billing_reason(sale: Sale) -> str:
    if sale.replaces:
        return "subscription_update"
    return "subscription_cycle" if sale.period else "subscription_create"


def id_of(prefix: str, *parts: str) -> str:
    """Make an id in Stripe's style that follows from what it belongs to."""
    return f"{prefix}_{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:24]}"
