"""Ask Stripe which invoice a payment intent paid: since 2025-03-31 no charge and no payment intent names it."""

from collections.abc import Callable
from typing import Final

from yarl import URL

from config.platforms import Stripe
from schemas.meaning import Lookup
from worker.clients.answers import Answer, Fetches, address, judge

VERSION: Final = "2025-05-28.basil"
"""The version whose shapes are asked for, whatever the account's own is: the first with several payments for one
invoice (https://docs.stripe.com/changelog/basil/2025-05-28/partial-payments)."""

PATHS: Final = {"invoice_payments": "/v1/invoice_payments"}


class StripeClient:
    """Ask with a secret or restricted key.

    Args:
        section: the app's configuration.
        fetch: how to get a document.
        clock: Unix seconds.
    """

    def __init__(self, section: Stripe, fetch: Fetches, *, clock: Callable[[], float]) -> None:
        self._section = section
        self._fetch = fetch
        self._clock = clock

    async def ask(self, lookup: Lookup) -> Answer:
        """Ask once."""
        headers = {"Authorization": f"Bearer {self._section.api_key}", "Stripe-Version": VERSION}
        fetched = await self._fetch(self._url(lookup), headers=headers)
        return judge(fetched, now=self._clock())

    def _url(self, lookup: Lookup) -> URL:
        """Write the filter and expansion of https://docs.stripe.com/api/invoice-payment/list."""
        return address(self._section.api, PATHS[lookup.kind]).with_query(
            {
                "payment[type]": "payment_intent",
                "payment[payment_intent]": lookup.key,
                "expand[]": "data.invoice",
            }
        )
