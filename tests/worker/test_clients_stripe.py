"""How Stripe is asked, against a server on this machine."""

from urllib.parse import parse_qs, urlsplit

import pytest

from config.platforms import Stripe
from schemas.meaning import Lookup, Missing
from tests.worker.platform_api import Api, serving
from worker.clients.stripe import StripeClient
from worker.fetch import HttpFetch

KEY = "rk_live_of_the_annual_plan"
PAYMENT = Lookup("invoice_payments", "pi_annual&expand[]=data.charge")
PAYMENTS = {
    "object": "list",
    "data": [{"object": "invoice_payment", "invoice": {"id": "in_annual"}}],
    "has_more": False,
}


@pytest.fixture(name="api")
async def _api():
    async with serving() as api:
        api.answer = PAYMENTS
        yield api


@pytest.fixture(name="client")
async def _client(api: Api):
    async with HttpFetch() as fetch:
        yield StripeClient(Stripe(api_key=KEY, api=f"{api.url}/"), fetch, clock=lambda: 1_794_000_000.0)


async def test_the_invoice_of_a_payment_is_asked_for(client: StripeClient, api: Api):
    """One filter, one expansion, a version whose shapes we know, and a key that can add no parameter of its own."""
    answer = await client.ask(PAYMENT)
    url = urlsplit(api.asked[0].path)

    assert ("answered", PAYMENTS) == (answer.outcome, answer.fact)
    assert "/v1/invoice_payments" == url.path
    assert {
        "payment[type]": ["payment_intent"],
        "payment[payment_intent]": ["pi_annual&expand[]=data.charge"],
        "expand[]": ["data.invoice"],
    } == parse_qs(url.query)
    assert (f"Bearer {KEY}", "2025-05-28.basil") == (
        api.asked[0].headers["Authorization"],
        api.asked[0].headers["Stripe-Version"],
    )


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(401, "refused"), (403, "refused"), (404, "missing"), (400, "rejected"), (429, "throttled"), (500, "failed")],
)
async def test_each_status_means_one_thing(client: StripeClient, api: Api, status, outcome):
    """A key that is not accepted needs an operator, a payment that is not there is an answer, the rest may pass."""
    api.status = status
    answer = await client.ask(PAYMENT)

    assert (outcome, Missing(404) if status == 404 else None) == (answer.outcome, answer.fact)


@pytest.mark.parametrize(
    ("header", "seconds"), [("120", 120.0), ("Fri, 06 Nov 2026 21:22:00 GMT", 120.0), ("soon", None)]
)
async def test_a_wait_that_is_asked_for_is_read(client: StripeClient, api: Api, header, seconds):
    """Retry-After is seconds or a date; what is neither says nothing."""
    api.status, api.headers = 429, {"Retry-After": header}

    assert seconds == (await client.ask(PAYMENT)).retry_after_seconds


def test_the_key_is_in_no_repr():
    """What a log would show of the section holds no key."""
    assert KEY not in repr(Stripe(api_key=KEY))
