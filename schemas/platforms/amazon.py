"""What Amazon Appstore posts: a Real-Time Notification inside the envelope of an SNS message; and what it answers.

Only what the signature covers, or is needed to check it, is declared. `MessageAttributes`, `UnsubscribeURL`
and all headers are unsigned, so they have no field here and nothing can be decided from them.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from schemas.base import Foreign

Visible = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,1024}$")]
"""Printable ASCII without spaces."""
OneLine = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,4096}$")]
"""Text without line breaks: only `Message`, which is signed first, may hold some (see `handlers/sns.py`)."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
"""Documented are at most 200 characters; an empty one names nothing."""
Millis = Annotated[int, Field(ge=0, lt=10**13)]
"""Unix milliseconds."""


class SnsMessage(Foreign):
    """What all three types have in common.

    docs.aws.amazon.com/sns/latest/dg/http-notification-json.html
    """

    message_id: Visible = Field(alias="MessageId")
    """Stays the same over all deliveries of one message, http-header.html says."""
    topic_arn: Visible = Field(alias="TopicArn")
    message: str = Field(alias="Message", repr=False)
    timestamp: Visible = Field(alias="Timestamp")
    signature_version: str = Field(alias="SignatureVersion")
    signature: str = Field(alias="Signature", repr=False)
    signing_cert_url: str = Field(alias="SigningCertURL")


class SnsNotification(SnsMessage):
    """Something was published on the topic."""

    type: Literal["Notification"] = Field(alias="Type")
    subject: OneLine | None = Field(default=None, alias="Subject")
    """None: the key is absent, and not part of what was signed."""


class SnsConfirmation(SnsMessage):
    """This endpoint was added to, or removed from, the topic's subscriptions.

    docs.aws.amazon.com/sns/latest/dg/http-subscription-confirmation-json.html
    """

    type: Literal["SubscriptionConfirmation", "UnsubscribeConfirmation"] = Field(alias="Type")
    token: Visible = Field(alias="Token", repr=False)
    subscribe_url: OneLine = Field(alias="SubscribeURL", repr=False)


class AppstoreNotification(Foreign):
    """The JSON inside `Message`.

    developer.amazon.com/docs/in-app-purchasing/real-time-notifications.html. It names no product, price,
    quantity or reason. What a type that we have not met might leave out is optional.
    """

    notification_type: str = Field(alias="notificationType", min_length=1, max_length=256)
    app_package_name: str = Field(alias="appPackageName", min_length=1, max_length=256)
    app_user_id: Id | None = Field(default=None, alias="appUserId", repr=False)
    """Amazon's id of the customer within this app, which its SDK gives the app; not one the app made up."""
    receipt_id: Id | None = Field(default=None, alias="receiptId", repr=False)
    """One for the whole life of a subscription: renewals keep it."""
    related_receipts: Any = Field(default=None, alias="relatedReceipts", repr=False)
    """A map; where it is empty, iap-rvs-for-tiered-subs.html calls it an array."""
    timestamp_ms: Millis | None = Field(default=None, alias="timestamp")
    beta_product_transaction: bool | None = Field(default=None, alias="betaProductTransaction")
    """True: made in Live App Testing."""


class AmazonPayload(Foreign):
    """One POST, read.

    Attributes:
        notification: what `Message` says; None in confirmations, and where `flaw` says why not.
        flaw: a snake_case name, or nothing.
    """

    sns: SnsNotification | SnsConfirmation
    sent_at_ms: int
    """The envelope's `Timestamp`, Unix milliseconds."""
    notification: AppstoreNotification | None = None
    flaw: str = ""


class AppstoreReceipt(Foreign):
    """What the Receipt Verification Service says of a receipt, as it is when asked.

    developer.amazon.com/docs/in-app-purchasing/iap-rvs-for-android-apps.html, and iap-rvs-for-tiered-subs.html for
    `cancelReason`. It names no price, no renewal and no user.
    """

    product_id: Id | None = Field(default=None, alias="productId")
    """Of a subscription: the parent SKU, which cannot be bought itself."""
    term_sku: Id | None = Field(default=None, alias="termSku")
    """Of a subscription: the SKU that was bought, one per term."""
    product_type: str | None = Field(default=None, alias="productType")
    purchase_date_ms: Millis | None = Field(default=None, alias="purchaseDate")
    """Of a subscription: when it was first bought, however often it was renewed."""
    renewal_date_ms: Millis | None = Field(default=None, alias="renewalDate")
    """When it has to be paid for again; null with auto-renewal off."""
    cancel_date_ms: Millis | None = Field(default=None, alias="cancelDate")
    """When it ended. With auto-renewal off, when it will: where `renewalDate` would be, so perhaps in the future."""
    cancel_reason: int | None = Field(default=None, alias="cancelReason")
    grace_period_end_date_ms: Millis | None = Field(default=None, alias="gracePeriodEndDate")
    quantity: int | None = Field(default=None, ge=0, le=1_000_000)
