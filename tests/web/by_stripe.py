"""What Stripe says, the whole way: signed, posted, picked up, decided. For tests of what the API then shows."""

import json
from typing import Any

from tests.web import seed
from tests.web.service import SECRET, Service
from worker.process import process
from worker.simulator.stripe import sign

CHARGE: dict[str, Any] = {
    "id": "ch_3Annual",
    "object": "charge",
    "amount": 4999,
    "amount_captured": 4999,
    "amount_refunded": 0,
    "captured": True,
    "created": seed.NOW - 270 * seed.DAY,
    "currency": "usd",
    "metadata": {"product_id": seed.ANNUAL},
    "paid": True,
    "payment_intent": "pi_3Annual",
    "refunded": False,
    "status": "succeeded",
}
"""Somebody's annual plan, bought nine months before now: Stripe does not know whose."""
CHECKOUT: dict[str, Any] = {
    "id": "cs_live_1",
    "object": "checkout.session",
    "amount_total": 4999,
    "created": CHARGE["created"],
    "currency": "usd",
    "metadata": {},
    "mode": "payment",
    "payment_intent": "pi_3Annual",
    "payment_status": "paid",
}
"""The checkout in which it was bought."""
REFUND: dict[str, Any] = {
    "id": "re_3Annual",
    "object": "refund",
    "amount": 4999,
    "charge": "ch_3Annual",
    "created": seed.NOW,
    "currency": "usd",
    "payment_intent": "pi_3Annual",
    "status": "succeeded",
}


async def say(service: Service, type_: str, subject: dict[str, Any], *, at: int = seed.NOW) -> None:
    """Post one of Stripe's events, and process it."""
    body = json.dumps(
        {
            "id": f"evt_{type_}_{subject['id']}_{at}",
            "object": "event",
            "type": type_,
            "api_version": "2026-10-28.endive",
            "created": at,
            "livemode": True,
            "data": {"object": subject},
        }
    ).encode()
    signature = sign(body, secret=SECRET, now=seed.NOW)
    before = len(service.queue.put)
    url = f"/webhooks/stripe/{seed.APP}"
    async with service.http.post(url, data=body, headers={"Stripe-Signature": signature}) as response:
        assert 200 == response.status, await response.text()
    process(service.runtime, service.queue.put[before:])


async def tell(service: Service, purchase_id: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """Tell of Ada's annual plan as the app's backend does; gives status and purchase."""
    told = {
        "app": seed.APP,
        "platform": "stripe",
        "environment": "production",
        "purchase_id": purchase_id,
        "product_id": seed.ANNUAL,
        "user_id": "ada",
        **more,
    }
    async with service.http.post("/v1/purchases", json=told) as response:
        assert response.status in (200, 201), await response.text()
        return response.status, await response.json()
