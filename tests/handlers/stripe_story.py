"""Ada's annual plan for 120 euros, bought in February and refunded after nine months, as Stripe tells it.

The shapes are those of the API versions that changed them.
"""

import json
from collections.abc import Mapping
from typing import Any

from config.platforms import Stripe
from handlers.stripe import PLATFORM
from schemas.entry import Said
from schemas.meaning import Lookup, Meaning

SETTINGS = Stripe(webhook_secrets=("whsec_unused",), livemode=True)
BOUGHT = 1_770_000_000
REFUNDED = BOUGHT + 9 * 30 * 86_400
ENDS = BOUGHT + 365 * 86_400
LOOKUP = Lookup("invoice_payments", "pi_3Annual")
METADATA = {"user_id": "ada", "product_id": "com.acme.pro.yearly"}

CHARGE: dict[str, Any] = {
    "id": "ch_3Annual",
    "object": "charge",
    "amount": 12000,
    "amount_captured": 12000,
    "amount_refunded": 0,
    "captured": True,
    "created": BOUGHT,
    "currency": "eur",
    "customer": "cus_Ada",
    "disputed": False,
    "metadata": METADATA,
    "paid": True,
    "payment_intent": "pi_3Annual",
    "refunded": False,
    "status": "succeeded",
}
REFUND: dict[str, Any] = {
    "id": "re_3Annual",
    "object": "refund",
    "amount": 12000,
    "charge": "ch_3Annual",
    "created": REFUNDED,
    "currency": "eur",
    "destination_details": {
        "card": {
            "reference": "74627884",
            "reference_status": "available",
            "reference_type": "acquirer_reference_number",
            "type": "refund",
        },
        "type": "card",
    },
    "metadata": {},
    "payment_intent": "pi_3Annual",
    "reason": "requested_by_customer",
    "receipt_number": "1234-5678",
    "status": "succeeded",
}
DISPUTE: dict[str, Any] = {
    "id": "du_1Annual",
    "object": "dispute",
    "amount": 12000,
    "charge": "ch_3Annual",
    "created": REFUNDED,
    "currency": "eur",
    "payment_intent": "pi_3Annual",
    "reason": "fraudulent",
    "status": "needs_response",
}
SESSION: dict[str, Any] = {
    "id": "cs_live_annual",
    "object": "checkout.session",
    "amount_total": 12000,
    "client_reference_id": "ada",
    "created": BOUGHT,
    "currency": "eur",
    "customer": "cus_Ada",
    "invoice": None,
    "metadata": {"product_id": "com.acme.pro.yearly"},
    "mode": "payment",
    "payment_intent": "pi_3Annual",
    "payment_status": "paid",
    "subscription": None,
}
BASIL_LINE: dict[str, Any] = {
    "id": "il_1Annual",
    "object": "line_item",
    "amount": 12000,
    "metadata": {},
    "period": {"start": BOUGHT, "end": ENDS},
    "pricing": {
        "type": "price_details",
        "price_details": {"price": "price_Year", "product": "prod_Pro"},
    },
    "quantity": 1,
}
BASIL_INVOICE: dict[str, Any] = {
    "id": "in_1Annual",
    "object": "invoice",
    "amount_paid": 12000,
    "billing_reason": "subscription_create",
    "created": BOUGHT - 3,
    "currency": "eur",
    "customer": "cus_Ada",
    "lines": {"object": "list", "data": [BASIL_LINE], "has_more": False},
    "metadata": {},
    "parent": {
        "type": "subscription_details",
        "quote_details": None,
        "subscription_details": {"metadata": METADATA, "subscription": "sub_Ada"},
    },
    "status": "paid",
    "status_transitions": {"paid_at": BOUGHT},
}
OLD_INVOICE: dict[str, Any] = {
    "id": "in_1Annual",
    "object": "invoice",
    "amount_paid": 12000,
    "charge": "ch_3Annual",
    "created": BOUGHT - 3,
    "currency": "eur",
    "customer": "cus_Ada",
    "lines": {
        "object": "list",
        "data": [
            {
                "id": "il_1Annual",
                "object": "line_item",
                "amount": 12000,
                "metadata": {"user_id": "ada"},
                "period": {"start": BOUGHT, "end": ENDS},
                "plan": {"id": "plan_Year", "product": "prod_Pro"},
                "price": {"id": "price_Year", "product": "prod_Pro"},
                "quantity": 1,
            }
        ],
        "has_more": False,
    },
    "metadata": {},
    "payment_intent": "pi_3Annual",
    "subscription": "sub_Ada",
    "subscription_details": {"metadata": {}},
}
INVOICE_PAYMENT: dict[str, Any] = {
    "id": "inpay_1Annual",
    "object": "invoice_payment",
    "amount_paid": 12000,
    "invoice": "in_1Annual",
    "is_default": True,
    "payment": {"type": "payment_intent", "payment_intent": "pi_3Annual"},
    "status": "paid",
}
SUBSCRIPTION: dict[str, Any] = {
    "id": "sub_Ada",
    "object": "subscription",
    "canceled_at": REFUNDED,
    "cancellation_details": {"comment": None, "feedback": None, "reason": "payment_disputed"},
    "ended_at": ENDS,
    "status": "canceled",
}
WARNING: dict[str, Any] = {
    "id": "issfr_1Annual",
    "object": "radar.early_fraud_warning",
    "actionable": True,
    "charge": "ch_3Annual",
    "created": REFUNDED,
    "fraud_type": "made_with_stolen_card",
    "livemode": True,
    "payment_intent": "pi_3Annual",
}
REVIEW: dict[str, Any] = {
    "id": "prv_1Annual",
    "object": "review",
    "charge": "ch_3Annual",
    "closed_reason": "refunded_as_fraud",
    "created": BOUGHT,
    "open": False,
    "opened_reason": "rule",
    "payment_intent": "pi_3Annual",
    "reason": "refunded_as_fraud",
}
CANCELED_PAYMENT: dict[str, Any] = {
    "id": "pi_3Annual",
    "object": "payment_intent",
    "amount": 12000,
    "amount_capturable": 0,
    "amount_received": 0,
    "cancellation_reason": "requested_by_customer",
    "currency": "eur",
    "latest_charge": "ch_3Annual",
    "status": "canceled",
}
CREDIT_NOTE: dict[str, Any] = {
    "id": "cn_1Annual",
    "object": "credit_note",
    "amount": 12000,
    "currency": "eur",
    "customer": "cus_Ada",
    "invoice": "in_1Annual",
    "refunds": [{"amount_refunded": 12000, "refund": "re_3Annual", "type": "refund"}],
    "status": "issued",
    "type": "post_payment",
}
GENUINE: Mapping[str, dict[str, Any]] = {
    "refund.created": REFUND,
    "charge.refunded": {**CHARGE, "amount_refunded": 12000, "refunded": True},
    "charge.succeeded": CHARGE,
    "charge.dispute.created": DISPUTE,
    "checkout.session.completed": SESSION,
    "invoice.paid": BASIL_INVOICE,
    "invoice.payment_succeeded": OLD_INVOICE,
    "invoice_payment.paid": INVOICE_PAYMENT,
    "customer.subscription.deleted": SUBSCRIPTION,
    "customer.subscription.updated": {**SUBSCRIPTION, "status": "unpaid", "ended_at": None},
    "radar.early_fraud_warning.created": WARNING,
    "review.closed": REVIEW,
    "charge.expired": {**CHARGE, "captured": False},
    "payment_intent.canceled": CANCELED_PAYMENT,
    "credit_note.created": CREDIT_NOTE,
}
CREATED = REFUNDED + 2


def event_of(kind: str, subject: Any, **more: Any) -> Any:
    """Read an event as `verify` would, after it has found the signature good."""
    event = {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": CREATED,
        "data": {"object": subject},
        "livemode": True,
        "type": kind,
        **more,
    }
    return PLATFORM.read(json.dumps(event).encode(), {})


def meaning(kind: str, subject: Any, facts: Mapping[Lookup, Any] | None = None, **more: Any) -> Any:
    """Say what an event means."""
    return PLATFORM.normalize(event_of(kind, subject, **more), facts or {}, settings=SETTINGS)


def only(answer: Any) -> Said:
    """Return the one thing that was said."""
    assert isinstance(answer, Meaning)
    (said,) = answer.said
    return said
