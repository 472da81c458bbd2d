"""What Amazon Appstore posts: a Real-Time Notification inside the envelope of an SNS message.

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
    related_receipts: dict[str, Any] | None = Field(default=None, alias="relatedReceipts", repr=False)
    timestamp_ms: int | None = Field(default=None, alias="timestamp", ge=0, lt=10**13)
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
