"""What Apple says in an App Store server notification, version 2, by its own names.

Apple: App Store Server Notifications, `responseBodyV2DecodedPayload`, `data`, `summary`, `appData`,
`externalPurchaseToken`, `unclaimInfo`, `JWSTransactionDecodedPayload`, `JWSRenewalInfoDecodedPayload`. Names are
snake_case here and camelCase there. Apple's enums grow several times a year, so none of them is closed here.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from schemas.base import Foreign

Millis = Annotated[int, Field(ge=0, lt=10**15)]
"""A point in time, Unix milliseconds. Integers only: floats are Xcode's, and Xcode signs nothing that we trust."""
Milliunits = Annotated[int, Field(ge=0, lt=10**15)]
"""Thousandths of the currency's unit (Apple: `price`, `refundAmount`, `tierPrice`)."""
Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Camel(Foreign):
    model_config = ConfigDict(alias_generator=to_camel)


class Envelope(_Camel):
    """The POST body (`responseBodyV2`): one compact JWS."""

    signed_payload: str


class AppIds(_Camel):
    """Which app, in which environment: the part that every kind of payload shares."""

    bundle_id: str | None = None
    app_apple_id: int | None = None
    environment: str | None = None

    @property
    def store(self) -> str | None:
        """Tell the environment in Apple's word: `Production` or `Sandbox`."""
        return self.environment


class Data(AppIds):
    """What a notification about a transaction carries. Its signed parts are JWS of their own."""

    signed_transaction_info: str | None = None
    signed_renewal_info: str | None = None
    consumption_request_reason: str | None = Field(default=None, max_length=255)
    """Why the customer wants the money back (CONSUMPTION_REQUEST)."""


class ExternalPurchaseToken(AppIds):
    """What a notification about Apple's External Purchase API carries."""

    external_purchase_id: str | None = None

    @property
    def store(self) -> str | None:
        """Tell the environment by the id's prefix: this payload names none (`externalPurchaseId`)."""
        return "Sandbox" if (self.external_purchase_id or "").startswith("SANDBOX") else "Production"


class AppData(AppIds):
    """What a notification about the app itself carries (RESCIND_CONSENT)."""

    signed_app_transaction_info: str | None = None


class UnclaimInfo(AppIds):
    """Which seats of a group the App Store took back (UNCLAIM_SEATS, `unclaimInfo`), and perhaps of which app.

    Apple's page of it lists the seats; whether it names the app is not sure. What names none is refused.
    """

    unclaim_seat_ids: Any = None

    @property
    def names_an_app(self) -> bool:
        """Tell whether it says of which app."""
        return self.bundle_id is not None or self.app_apple_id is not None


class Payload(_Camel):
    """`responseBodyV2DecodedPayload`: what the outer JWS signs."""

    notification_type: Name
    subtype: str | None = Field(default=None, max_length=255)
    notification_uuid: Name = Field(alias="notificationUUID")
    version: str | None = None
    signed_date: Millis
    data: Data | None = None
    summary: AppIds | None = None
    external_purchase_token: ExternalPurchaseToken | None = None
    app_data: AppData | None = None
    unclaim_info: UnclaimInfo | None = None

    @property
    def apps(self) -> tuple[AppIds, ...]:
        """List every object that names an app. Apple sends exactly one; each that is there has to agree."""
        seats = self.unclaim_info if self.unclaim_info and self.unclaim_info.names_an_app else None
        named = (self.data, self.summary, self.external_purchase_token, self.app_data, seats)
        return tuple(ids for ids in named if ids is not None)


class Notification(Foreign):
    """A notification with its nested JWS opened.

    What is nested stays as Apple wrote it until its meaning is asked for: that we do not understand a new shape is
    no reason to refuse it at the door.
    """

    payload: Payload
    transaction: dict[str, Any] | None = Field(default=None, repr=False)
    renewal: dict[str, Any] | None = Field(default=None, repr=False)
    app_transaction: dict[str, Any] | None = Field(default=None, repr=False)


class Transaction(_Camel):
    """`JWSTransactionDecodedPayload`, as far as it concerns money and access."""

    transaction_id: Name
    original_transaction_id: Name | None = None
    product_id: Name | None = None
    type: str | None = None
    in_app_ownership_type: str | None = None
    """`PURCHASED`, `FAMILY_SHARED`, `ASSIGNED`, …"""
    app_transaction_id: Name | None = Field(default=None, repr=False)
    """What every purchase of one Apple Account in this app has in common, free of who that is."""
    app_account_token: str | None = Field(default=None, max_length=255, repr=False)
    quantity: int | None = Field(default=None, ge=0, lt=10**9)
    purchase_date: Millis | None = None
    expires_date: Millis | None = None
    is_upgraded: bool | None = None
    price: Milliunits | None = None
    """For the whole `quantity`; of seats, the average of one (Apple: `price`)."""
    currency: str | None = Field(default=None, max_length=8)
    revocation_date: Millis | None = None
    revocation_reason: int | None = None
    revocation_type: str | None = Field(default=None, max_length=255)
    revocation_percentage: int | None = Field(default=None, ge=0, le=100_000)
    """Thousandths of a percent of the whole transaction."""
    multi_seat_info: dict[str, Any] | None = Field(default=None, repr=False)
    advanced_commerce_info: dict[str, Any] | None = Field(default=None, repr=False)


class Renewal(_Camel):
    """`JWSRenewalInfoDecodedPayload`, as far as it says when a subscription ends."""

    original_transaction_id: Name | None = None
    grace_period_expires_date: Millis | None = None
    renewal_date: Millis | None = None
    """When the newest period ends (Apple: `renewalDate`)."""


class AppTransaction(_Camel):
    """`JWSAppTransactionDecodedPayload`: whose download of the app it is."""

    app_transaction_id: Name | None = Field(default=None, repr=False)


class Seats(_Camel):
    """The seats of `unclaimInfo`."""

    unclaim_seat_ids: list[Name] = Field(min_length=1)


class PriceTier(_Camel):
    """`MultiSeatPriceTier`: so many seats at one price."""

    price: Milliunits
    quantity: int = Field(ge=0, lt=10**9)


class MultiSeatInfo(_Camel):
    """`TransactionMultiSeatInfo`: what the seats of one transaction cost, and how many were refunded."""

    price_tiers: list[PriceTier] | None = None
    revoked_seat_quantity: int | None = Field(default=None, ge=0, lt=10**9)


class ItemRefund(_Camel):
    """`advancedCommerceRefund`: one refund of one item."""

    refund_amount: Milliunits | None = None
    refund_date: Millis | None = None
    refund_reason: str | None = Field(default=None, max_length=255)
    refund_type: str | None = Field(default=None, max_length=255)


class Item(_Camel):
    """`advancedCommerceTransactionItem`: one of the things that a transaction sold."""

    refunds: list[ItemRefund] | None = None
    revocation_date: Millis | None = None


class AdvancedCommerceInfo(_Camel):
    """`advancedCommerceTransactionInfo`: the items of a purchase through Apple's Advanced Commerce API."""

    items: list[Item] | None = None
