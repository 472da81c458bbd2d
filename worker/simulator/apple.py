"""Speak as the App Store: every notification genuinely signed by a chain of the demo's own making.

Shapes and field names are those of "responseBodyV2DecodedPayload" and "JWSTransactionDecodedPayload" in Apple's
documentation. Only the root is not Apple's, which is why it has to be configured to be believed.
"""

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from config.platforms import Apple
from config.products import ProductKind
from handlers import money
from worker.simulator import apple_pki as pki
from worker.simulator.sale import Sale, Shot, backend_word

ROOT: Final = "apple-root"
INTERMEDIATE: Final = "apple-intermediate"
LEAF: Final = "apple-leaf"

_LONG_AGO: Final = datetime(2016, 4, 30, tzinfo=UTC)
_ACTIVE, _EXPIRED, _IN_RETRY, _IN_GRACE, _REVOKED = 1, 2, 3, 4, 5
"""`status`, of auto-renewable subscriptions only."""
_GRACE_MS: Final = 16 * 24 * 3600 * 1000


def create(directory: Path, *, app: str, public_url: str) -> dict[str, Any]:
    """Make a chain of trust in `directory`, and the configuration section that believes it.

    The root's key is thrown away as soon as it has signed: nothing more is ever issued below it.
    """
    del public_url  # Apple signs no address
    root = pki.make_root()
    intermediate = pki.make_intermediate(root)
    leaf = pki.make_leaf(intermediate)
    for name, holder in ((ROOT, root), (INTERMEDIATE, intermediate), (LEAF, leaf)):
        (directory / f"{name}.pem").write_bytes(holder.certificate.public_bytes(Encoding.PEM))
    for name, holder in ((INTERMEDIATE, intermediate), (LEAF, leaf)):
        _write_private(directory / f"{name}.key", holder.key)
    return {
        "bundle_id": f"com.example.{app}",
        "app_apple_id": 1234567890,
        "environments": ["Production", "Sandbox"],
        "root_certificates": [str((directory / f"{ROOT}.pem").absolute())],
    }


def told(sale: Sale) -> Mapping[str, Any] | None:
    """Tell what the app's backend adds: nothing, if the user fits into `appAccountToken`, which holds a UUID.

    A family member's copy carries no token, whoever they are.
    """
    if _account_token(sale.user_id) and not sale.family:
        return None
    return backend_word(sale, platform="apple", original_purchase_id=sale.original_purchase_id)


class AppleSimulator:
    """Post as the App Store would, for one app."""

    def __init__(self, directory: Path, settings: Apple) -> None:
        self._settings = settings
        self._root = _certificate(directory, ROOT)
        self._intermediate = _holder(directory, INTERMEDIATE)
        self._chain = pki.Chain(_holder(directory, LEAF), (self._intermediate.certificate, self._root))

    def purchase(self, sale: Sale, now: float) -> Shot:
        """Say that it was bought: SUBSCRIBED, or ONE_TIME_CHARGE."""
        if not sale.subscription:
            return self._shot("ONE_TIME_CHARGE", sale, now)
        return self._shot("SUBSCRIBED", sale, now, subtype="INITIAL_BUY")

    def renew(self, sale: Sale, now: float) -> Shot:
        """Say that a later period was paid: DID_RENEW."""
        return self._shot("DID_RENEW", sale, now)

    def refund(self, sale: Sale, now: float) -> Shot:
        """Say that all its money went back: REFUND."""
        # An old period can be refunded while the subscription lives on, as `status` then says.
        live = sale.expires_at_ms is not None and sale.expires_at_ms <= _ms(now)
        revocation = _revocation(now, "REFUND_FULL", 100_000)
        return self._shot("REFUND", sale, now, more=revocation, status=_ACTIVE if live else _REVOKED)

    def refund_unused_time(self, sale: Sale, now: float) -> Shot:
        """Say that half of the money went back, for the half of the period that is left: REFUND, prorated."""
        return self._shot("REFUND", sale, now, more=_revocation(now, "REFUND_PRORATED", 50_000), status=_REVOKED)

    def refund_one_unit(self, sale: Sale, now: float) -> Shot:
        """Say that one of several went back: the share is that of the whole quantity, 33333 of one in three."""
        share = _revocation(now, "REFUND_PRORATED", 100_000 // sale.quantity)
        return self._shot("REFUND", sale, now, more=share)

    def refund_seats(self, sale: Sale, now: float) -> Shot:
        """Say that two seats went back: no `revocationDate`, since the purchaser keeps the purchase."""
        seats = {"multiSeatInfo": {"invitationManagement": "APPLE", "revokedSeatQuantity": 2}}
        return self._shot("REFUND", sale, now, subtype="SEATS", more=seats)

    def request_refund(self, sale: Sale, now: float) -> Shot:
        """Ask what the customer made of it, who wants the money back: CONSUMPTION_REQUEST."""
        reason = {"consumptionRequestReason": "UNINTENDED_PURCHASE"}
        return self._shot("CONSUMPTION_REQUEST", sale, now, beside=reason)

    def decline_refund(self, sale: Sale, now: float) -> Shot:
        """Say that the customer does not get the money back: REFUND_DECLINED."""
        return self._shot("REFUND_DECLINED", sale, now)

    def remove_member(self, sale: Sale, now: float) -> Shot:
        """Say that a family member no longer shares: REVOKE, about that member's own transaction."""
        revocation = _revocation(now, "FAMILY_REVOKE", 100_000) | {"revocationReason": 0}
        return self._shot("REVOKE", sale, now, more=revocation, status=_REVOKED)

    def upgrade(self, sale: Sale, now: float) -> Shot:
        """Say that a better plan begins at once: DID_CHANGE_RENEWAL_PREF with the new plan's first transaction."""
        return self._shot("DID_CHANGE_RENEWAL_PREF", sale, now, subtype="UPGRADE")

    def fail_payment(self, sale: Sale, now: float) -> Shot:
        """Say that the renewal was not paid, and that a grace period of sixteen days began: DID_FAIL_TO_RENEW."""
        grace = {"isInBillingRetryPeriod": True, "gracePeriodExpiresDate": (sale.expires_at_ms or 0) + _GRACE_MS}
        return self._shot("DID_FAIL_TO_RENEW", sale, now, subtype="GRACE_PERIOD", status=_IN_GRACE, renewal=grace)

    def hold(self, sale: Sale, now: float) -> Shot:
        """Say that the renewal was not paid, and that nothing is granted meanwhile: DID_FAIL_TO_RENEW."""
        retry = {"isInBillingRetryPeriod": True}
        return self._shot("DID_FAIL_TO_RENEW", sale, now, status=_IN_RETRY, renewal=retry)

    def recover(self, sale: Sale, now: float) -> Shot:
        """Say that a renewal was paid after all: DID_RENEW."""
        return self._shot("DID_RENEW", sale, now, subtype="BILLING_RECOVERY")

    def undo_refund(self, sale: Sale, now: float) -> Shot | None:
        """Say that the refund was reversed: REFUND_REVERSED, its transaction without any revocation."""
        return self._shot("REFUND_REVERSED", sale, now)

    def expire(self, sale: Sale, now: float) -> Shot | None:
        """Say that a subscription ended by itself: EXPIRED. What was bought once never does."""
        if not sale.subscription:
            return None
        return self._shot("EXPIRED", sale, now, subtype="VOLUNTARY", status=_EXPIRED)

    def reseal(self, shot: Shot, now: float) -> Shot:  # noqa: ARG002 - the protocol's shape
        """Give it as it was: Apple signs a notification once, and repeats it for days."""
        return shot

    def test(self, now: float) -> Shot:
        """Say nothing, as App Store Connect's "Request a Test Notification" does."""
        return self._post("TEST", self._payload("TEST", now, self._app()))

    def forge(self, shot: Shot, now: float) -> tuple[tuple[str, Shot], ...]:
        """Make forgeries of a good notification, from the crude to the careful."""
        good = json.loads(shot.body)["signedPayload"]
        payload = pki.open_unverified(good)
        foreign = pki.make_chain().sent_with(self._intermediate.certificate, self._root)
        own_chain = pki.make_chain()
        appended = own_chain.sent_with(own_chain.others[0], self._root)
        expired = replace(self._chain, leaf=pki.make_leaf(self._intermediate, ends=_LONG_AGO))
        return tuple(
            (name, replace(shot, body=_body(token)))
            for name, token in (
                ("tampered_payload", _tampered(good, payload)),
                ("foreign_leaf_under_the_trusted_intermediate", pki.sign_as(foreign, payload)),
                ("foreign_chain_with_the_trusted_root_appended", pki.sign_as(appended, payload)),
                ("algorithm_none", pki.sign_not_at_all(self._chain, payload)),
                ("algorithm_hs256_with_the_public_key", pki.sign_with_public_key(self._chain, payload)),
                ("expired_leaf", pki.sign_as(expired, payload)),
                ("signed_in_the_future", self._sign({**payload, "signedDate": _ms(now + 3600)})),
                ("another_app", self._sign(_for_another_app(payload))),
                ("nested_transaction_signed_by_a_stranger", self._sign(_with_nested(payload, own_chain))),
            )
        )

    def _shot(
        self,
        type_: str,
        sale: Sale,
        now: float,
        *,
        subtype: str | None = None,
        status: int = _ACTIVE,
        more: Mapping[str, Any] = MappingProxyType({}),
        renewal: Mapping[str, Any] = MappingProxyType({}),
        beside: Mapping[str, Any] = MappingProxyType({}),
    ) -> Shot:
        """Sign a notification about a transaction.

        Args:
            type_: the `notificationType`.
            sale: what it is about.
            now: Unix seconds.
            subtype: the `subtype`.
            status: of a subscription.
            more: fields of the transaction.
            renewal: fields of the renewal information.
            beside: fields of `data`.
        """
        transaction = {**self._transaction(sale, now), **more}
        data = {**self._app(), "signedTransactionInfo": self._sign(transaction), **beside}
        if sale.subscription:
            renewing = type_ != "EXPIRED" and "revocationDate" not in more
            data["signedRenewalInfo"] = self._sign({**self._renewal(sale, now, renewing=renewing), **renewal})
            data["status"] = status
        payload = self._payload(type_, now, data)
        return self._post(type_, payload if subtype is None else {**payload, "subtype": subtype})

    def _payload(self, type_: str, now: float, data: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "notificationType": type_,
            "notificationUUID": str(uuid.uuid4()),
            "data": data,
            "version": "2.0",
            "signedDate": _ms(now),
        }

    def _app(self) -> dict[str, Any]:
        return {
            "appAppleId": self._settings.app_apple_id,
            "bundleId": self._settings.bundle_id,
            "bundleVersion": "42",
            "environment": self._environment,
        }

    def _transaction(self, sale: Sale, now: float) -> dict[str, Any]:
        length_ms = (sale.expires_at_ms or sale.purchased_at_ms) - sale.purchased_at_ms
        said = {
            "transactionId": sale.purchase_id,
            "originalTransactionId": sale.original_purchase_id,
            "bundleId": self._settings.bundle_id,
            "productId": sale.product_id,
            "purchaseDate": sale.purchased_at_ms,
            "originalPurchaseDate": sale.purchased_at_ms - sale.period * length_ms,
            "quantity": sale.quantity,
            "type": _TYPES[sale.kind],
            "inAppOwnershipType": "FAMILY_SHARED" if sale.family else "PURCHASED",
            "signedDate": _ms(now),
            "environment": self._environment,
            "transactionReason": "RENEWAL" if sale.period else "PURCHASE",
            "storefront": "USA",
            "storefrontId": "143441",
        }
        if sale.expires_at_ms is not None:
            said |= {"expiresDate": sale.expires_at_ms, "subscriptionGroupIdentifier": "21000001"}
        if sale.family:  # who shares was never asked for an account, and paid nothing
            return said
        said |= {"price": _milliunits(sale) // (sale.quantity if sale.seats else 1), "currency": sale.currency.upper()}
        if sale.seats:
            said["multiSeatInfo"] = {"invitationManagement": "APPLE"}
        if token := _account_token(sale.user_id):
            said["appAccountToken"] = token
        return said

    def _renewal(self, sale: Sale, now: float, *, renewing: bool) -> dict[str, Any]:
        return {
            "originalTransactionId": sale.original_purchase_id,
            "autoRenewProductId": sale.product_id,
            "productId": sale.product_id,
            "autoRenewStatus": int(renewing),
            "signedDate": _ms(now),
            "environment": self._environment,
            "renewalDate": sale.expires_at_ms,
            "renewalPrice": _milliunits(sale),
            "currency": sale.currency.upper(),
            **({} if renewing else {"expirationIntent": 1}),
        }

    @property
    def _environment(self) -> str:
        return self._settings.environments[0]

    def _sign(self, payload: Mapping[str, Any]) -> str:
        return pki.sign_as(self._chain, payload)

    def _post(self, type_: str, payload: Mapping[str, Any]) -> Shot:
        return Shot(type_, _body(self._sign(payload)), {"content-type": "application/json"})


_TYPES: Final[Mapping[ProductKind, str]] = {
    "subscription": "Auto-Renewable Subscription",
    "non_consumable": "Non-Consumable",
    "consumable": "Consumable",
    "non_renewing": "Non-Renewing Subscription",
}


def _account_token(user_id: str) -> str | None:
    """Give the user's id back if it is a UUID in its usual spelling: Apple carries nothing else."""
    try:
        usual = str(uuid.UUID(user_id)) == user_id.lower()
    except ValueError:
        return None
    return user_id if usual else None


def _revocation(now: float, kind: str, share_millis: int) -> dict[str, Any]:
    return {
        "revocationDate": _ms(now),
        "revocationReason": 1,
        "revocationType": kind,
        "revocationPercentage": share_millis,
    }


def _milliunits(sale: Sale) -> int:
    places = money.exponent(sale.currency)
    minor_per_unit: int = 10 ** (2 if places is None else places)
    return sale.amount * 1000 // minor_per_unit


def _ms(now: float) -> int:
    return int(now * 1000)


def _body(token: str) -> bytes:
    return json.dumps({"signedPayload": token}, separators=(",", ":")).encode()


def _tampered(good: str, payload: Mapping[str, Any]) -> str:
    """Say something else under the signature of what was said."""
    head, _, signature = good.split(".")
    other = pki.segment({**payload, "notificationUUID": str(uuid.uuid4())})
    return f"{head}.{other}.{signature}"


def _for_another_app(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {**payload, "data": {**payload["data"], "bundleId": "com.example.another"}}


def _with_nested(payload: Mapping[str, Any], stranger: pki.Chain) -> dict[str, Any]:
    """Put a transaction that a stranger signed into an envelope that the store signed."""
    data = dict(payload["data"])
    nested = data.get("signedTransactionInfo")
    inner = pki.open_unverified(nested) if nested else {"signedDate": payload["signedDate"]}
    return {**payload, "data": {**data, "signedTransactionInfo": pki.sign_as(stranger, inner)}}


def _write_private(path: Path, key: EllipticCurvePrivateKey) -> None:
    """Write a key that only its owner can read, from the first byte on."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)


def _certificate(directory: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())


def _holder(directory: Path, name: str) -> pki.Holder:
    key = load_pem_private_key((directory / f"{name}.key").read_bytes(), password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError(f"{name}.key is no elliptic-curve key")
    return pki.Holder(_certificate(directory, name), key)
