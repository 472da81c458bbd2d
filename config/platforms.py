"""What each platform must prove to be believed, per app.

A section that is absent, or whose secret is empty, turns its endpoint off: nothing is ever verified
against an empty key.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from config.section import Section


class Apple(Section):
    """App Store Server Notifications V2."""

    bundle_id: str = ""
    app_apple_id: int = 0
    """The app's number in the store; checked on production notifications, so required for them."""
    environments: tuple[Literal["Production", "Sandbox"], ...] = ("Production", "Sandbox")
    root_certificates: tuple[Path, ...] = ()
    """PEM or DER files trusted beside the pinned Apple Root CA - G3."""
    max_age_seconds: int = Field(default=0, ge=0)
    """Refuse what was signed longer ago; 0: no limit, since Apple retries for about a week."""

    @property
    def enabled(self) -> bool:
        """Tell whether notifications can be checked against anything."""
        return bool(self.bundle_id)

    @property
    def looks_up(self) -> bool:
        """Tell whether Apple must be asked: never, its notifications say everything themselves."""
        return False


class Google(Section):
    """Google Play Real-time Developer Notifications, pushed by Pub/Sub."""

    package_name: str = ""
    audience: str = ""
    service_account_email: str = ""
    subscriptions: tuple[str, ...] = ()
    """`projects/…/subscriptions/…` names that may push here; empty: any that proves the audience and account."""
    jwks: str = "https://www.googleapis.com/oauth2/v3/certs"
    """Address or path of the signer's key set."""
    service_account_key: str = ""
    """Path of the JSON key of the account that asks the Play Developer API; empty: it is not asked."""
    api: str = "https://androidpublisher.googleapis.com"

    @property
    def enabled(self) -> bool:
        """Tell whether a push can be tied to this app: both audience and account are mandatory."""
        return bool(self.package_name and self.audience and self.service_account_email)

    @property
    def looks_up(self) -> bool:
        """Tell whether the API may be asked."""
        return bool(self.service_account_key)


class Stripe(Section):
    """Stripe webhook endpoint with snapshot events."""

    webhook_secrets: tuple[str, ...] = Field(default=(), repr=False)
    livemode: bool = True
    user_id_metadata: str = "user_id"
    product_id_metadata: str = "product_id"
    connected_accounts: tuple[str, ...] = ()
    """Accounts (`acct_…`) whose events count too; whoever is listed may name any of your users and products."""
    api_key: str = Field(default="", repr=False)
    """A restricted key that may read invoices; empty: the API is not asked."""
    api: str = "https://api.stripe.com"

    @property
    def enabled(self) -> bool:
        """Tell whether there is a secret to check signatures with."""
        return any(self.webhook_secrets)

    @property
    def looks_up(self) -> bool:
        """Tell whether the API may be asked."""
        return bool(self.api_key)


class Amazon(Section):
    """Amazon Appstore Real-Time Notifications over SNS."""

    package_name: str = ""
    topic_arns: tuple[str, ...] = ()
    certificates: dict[str, Path] = Field(default_factory=dict)
    """SigningCertURL → PEM file, preloaded for closed networks."""
    max_age_seconds: int = Field(default=4500, ge=0)
    """Refuse what SNS signed longer ago; it stops retrying after an hour. 0: no limit."""
    auto_confirm: bool = False
    """Visit a verified SubscribeURL on its strict host instead of showing it to the operator."""
    shared_secret: str = Field(default="", repr=False)
    """The developer's secret for the Receipt Verification Service; empty: it is not asked."""
    api: str = "https://appstore-sdk.amazon.com"

    @property
    def enabled(self) -> bool:
        """Tell whether any topic is allowed: SNS signatures alone prove no sender."""
        return bool(self.package_name and any(self.topic_arns))

    @property
    def looks_up(self) -> bool:
        """Tell whether the service may be asked."""
        return bool(self.shared_secret)
