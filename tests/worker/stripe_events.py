"""What Stripe posts of one sale, as plain JSON."""

from collections.abc import Mapping
from typing import Any

from tests.handlers.entries import ANNUAL
from tests.handlers.stripe_story import CHARGE, DISPUTE, INVOICE_PAYMENT, OLD_INVOICE, REFUND

Told = tuple[str, Mapping[str, Any]]


def charge(sale: str, **more: Any) -> dict[str, Any]:
    """The charge of a sale to the user of that name."""
    metadata = {"user_id": f"user-{sale}", "product_id": ANNUAL}
    return {
        **CHARGE,
        "id": f"ch_{sale}",
        "payment_intent": f"pi_{sale}",
        "customer": None,
        "metadata": metadata,
        **more,
    }


def refund(sale: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """One of its refunds."""
    return {**REFUND, "id": f"re_{sale}_{number}", "charge": f"ch_{sale}", "payment_intent": f"pi_{sale}", **more}


def dispute(sale: str, status: str) -> dict[str, Any]:
    """Its dispute."""
    return {**DISPUTE, "id": f"du_{sale}", "charge": f"ch_{sale}", "payment_intent": f"pi_{sale}", "status": status}


def invoice(sale: str, subscription: str, **more: Any) -> dict[str, Any]:
    """Its invoice, which names neither charge nor payment intent."""
    bare: dict[str, Any] = {**OLD_INVOICE, "charge": None, "payment_intent": None, "customer": None}
    metadata = {"user_id": f"user-{sale}", "product_id": ANNUAL}
    lines = {**bare["lines"], "data": [{**bare["lines"]["data"][0], "metadata": {}}]}
    named = {"id": f"in_{sale}", "subscription": subscription, "metadata": metadata, "lines": lines}
    return {**bare, **named, **more}


def invoice_payment(sale: str) -> dict[str, Any]:
    """What ties its invoice to its payment intent."""
    payment = {"type": "payment_intent", "payment_intent": f"pi_{sale}"}
    return {**INVOICE_PAYMENT, "id": f"inpay_{sale}", "invoice": f"in_{sale}", "payment": payment}


def a_refunded_subscription(sale: str) -> tuple[Told, ...]:
    """Charge, invoice, what ties the two together, and the refund of it all."""
    return (
        ("charge.succeeded", charge(sale)),
        ("invoice.paid", invoice(sale, f"sub_{sale}")),
        ("invoice_payment.paid", invoice_payment(sale)),
        ("refund.created", refund(sale)),
    )
