"""Speak as Stripe: snapshot events of API version 2026-10-28.endive, signed with the app's endpoint secret.

One-time sales are told by `charge.succeeded`, whose metadata names user and product; subscriptions by
`invoice.paid`, which embeds its payment and the subscription's metadata. Shapes: https://docs.stripe.com/api.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.platforms import Stripe
from worker.simulator.sale import Sale, Shot
from worker.simulator.stripe_objects import StripeObjects, id_of

API_VERSION = "2026-10-28.endive"
TOLERANCE_SECONDS = 300


def create(directory: Path, *, app: str, public_url: str) -> dict[str, Any]:
    """Make an endpoint secret, and return the app's `[apps.….stripe]` section; nothing needs a file."""
    del directory, app, public_url
    return {"webhook_secrets": [f"whsec_{secrets.token_hex(16)}"], "livemode": False}


def told(sale: Sale) -> None:
    """Say nothing: the metadata of every sale names user and product already."""


def sign(body: bytes, *, secret: str, now: float, scheme: str = "v1") -> str:
    """Write the `Stripe-Signature` of a body.

    Written apart from `handlers/stripe.py` on purpose: an error there must not be repeated here.
    """
    mac = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    mac.update(str(int(now)).encode())
    mac.update(b".")
    mac.update(body)
    return f"t={int(now)},{scheme}={mac.hexdigest()}"


def shot_of(kind: str, body: bytes, signature: str | None) -> Shot:
    """Post a body with the headers that Stripe sends along."""
    headers = {
        "content-type": "application/json; charset=utf-8",
        "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }
    return Shot(kind, body, headers if signature is None else {**headers, "stripe-signature": signature})


class StripeSimulator(StripeObjects):
    """Stripe, for one endpoint whose secret `create` made.

    Args:
        directory: unused; every simulator is made the same way.
        settings: the app's section.
    """

    def __init__(self, directory: Path, settings: Stripe) -> None:
        del directory
        super().__init__(settings)
        self._secret = settings.webhook_secrets[0]

    def purchase(self, sale: Sale, now: float) -> Shot:
        """Say that it was bought."""
        if sale.subscription:
            return self.event("invoice.paid", self.invoice(sale), now)
        return self.event("charge.succeeded", self.charge(sale), now)

    def renew(self, sale: Sale, now: float) -> Shot:
        """Say that `sale`, a later period, was paid: the same event as for the first."""
        return self.purchase(sale, now)

    def refund(self, sale: Sale, now: float) -> Shot:
        """Say that all its money went back."""
        return self.event("refund.created", self.refund_object(sale, now), now)

    def undo_refund(self, sale: Sale, now: float) -> Shot | None:
        """Say that the customer's bank sent the money back: that very refund failed."""
        failed = {
            "status": "failed",
            "failure_reason": "expired_or_canceled_card",
            "failure_balance_transaction": id_of("txn", "failed", sale.purchase_id),
        }
        return self.event("refund.failed", {**self.refund_object(sale, now), **failed}, now)

    def fail_disputed_refund(self, sale: Sale, now: float) -> Shot:
        """Say that the refund failed because the bank has taken the money already: the dispute itself comes later."""
        failed = {"status": "failed", "failure_reason": "charge_for_pending_refund_disputed"}
        return self.event("refund.failed", {**self.refund_object(sale, now), **failed}, now)

    def refund_half(self, sale: Sale, now: float) -> Shot:
        """Say that half of its money went back."""
        half = self.refund_object(sale, now, part="first", amount=sale.amount // 2)
        return self.event("refund.created", half, now)

    def refund_other_half(self, sale: Sale, now: float) -> Shot:
        """Say that the rest went back too, by a refund of its own."""
        rest = self.refund_object(sale, now, part="second", amount=sale.amount - sale.amount // 2)
        return self.event("refund.created", rest, now)

    def refund_twice_the_price(self, sale: Sale, now: float) -> Shot:
        """Say what cannot be: more went back than was paid."""
        twice = self.refund_object(sale, now, part="twice", amount=2 * sale.amount)
        return self.event("refund.created", twice, now)

    def total_half(self, sale: Sale, now: float) -> Shot:
        """Say how much went back so far in all: half."""
        return self.event("charge.refunded", self.refunded_charge(sale, sale.amount // 2), now)

    def total_all(self, sale: Sale, now: float) -> Shot:
        """Say how much went back so far in all: everything."""
        return self.event("charge.refunded", self.refunded_charge(sale, sale.amount), now)

    def open_dispute(self, sale: Sale, now: float) -> Shot:
        """Say that the customer's bank claims the money."""
        return self.event("charge.dispute.created", self.dispute(sale, "needs_response", now), now)

    def withdraw_funds(self, sale: Sale, now: float) -> Shot:
        """Say that the money of a dispute was taken."""
        return self.event("charge.dispute.funds_withdrawn", self.dispute(sale, "needs_response", now), now)

    def win_dispute(self, sale: Sale, now: float) -> Shot:
        """Say that the bank believed the evidence."""
        return self.event("charge.dispute.closed", self.dispute(sale, "won", now), now)

    def reinstate_funds(self, sale: Sale, now: float) -> Shot:
        """Say that the money of a won dispute is back."""
        return self.event("charge.dispute.funds_reinstated", self.dispute(sale, "won", now), now)

    def lose_dispute(self, sale: Sale, now: float) -> Shot:
        """Say that the money of a dispute is gone for good."""
        return self.event("charge.dispute.closed", self.dispute(sale, "lost", now), now)

    def open_inquiry(self, sale: Sale, now: float) -> Shot:
        """Say that the customer's bank only asks."""
        return self.event("charge.dispute.created", self.dispute(sale, "warning_needs_response", now), now)

    def close_inquiry(self, sale: Sale, now: float) -> Shot:
        """Say that the question was answered, and no claim followed."""
        return self.event("charge.dispute.closed", self.dispute(sale, "warning_closed", now), now)

    def warn_of_fraud(self, sale: Sale, now: float) -> Shot:
        """Say that the card's issuer suspects fraud."""
        return self.event("radar.early_fraud_warning.created", self.fraud_warning(sale, now), now)

    def upgrade(self, sale: Sale, now: float) -> Shot:
        """Say that a better plan was paid, less what was left of the old one: an invoice of the change."""
        return self.purchase(sale, now)

    def hold(self, sale: Sale, now: float) -> Shot:
        """Say that a renewal stays unpaid, and that Stripe has given up trying."""
        return self._changed(sale, now, "unpaid", before="past_due")

    def recover(self, sale: Sale, now: float) -> Shot:
        """Say that the invoice of a renewal was paid after all."""
        return self.purchase(sale, now)

    def resume(self, sale: Sale, now: float) -> Shot:
        """Say that the subscription goes on."""
        return self._changed(sale, now, "active", before="unpaid")

    def expire(self, sale: Sale, now: float) -> Shot | None:
        """Say that the subscription ended; what was bought once never does."""
        if not sale.subscription:
            return None
        return self.event("customer.subscription.deleted", self.subscription(sale, now), now)

    def reseal(self, shot: Shot, now: float) -> Shot:
        """Sign it anew: Stripe signs each delivery with its own time."""
        return shot_of(shot.type, shot.body, sign(shot.body, secret=self._secret, now=now))

    def forge(self, shot: Shot, now: float) -> tuple[tuple[str, Shot], ...]:
        """Make named forgeries of a good notification, each of which must be refused."""
        tampered = shot.body.replace(b'"amount": ', b'"amount": 9', 1).replace(b"\n", b"\n\n", 1)
        flag, other = (f'"livemode": {json.dumps(mode)}'.encode() for mode in (self._livemode, not self._livemode))
        other_mode = shot.body.replace(flag, other)
        stranger = f"whsec_{secrets.token_hex(16)}"
        # Far enough ahead to be still in the future when it arrives, however slowly.
        late, early = now - TOLERANCE_SECONDS - 1, now + TOLERANCE_SECONDS + 60
        forged: Mapping[str, tuple[bytes, str | None]] = {
            "no_signature": (shot.body, None),
            "strangers_secret": (shot.body, sign(shot.body, secret=stranger, now=now)),
            "amount_tampered": (tampered, shot.headers["stripe-signature"]),
            "signed_too_long_ago": (shot.body, sign(shot.body, secret=self._secret, now=late)),
            "signed_in_the_future": (shot.body, sign(shot.body, secret=self._secret, now=early)),
            "only_scheme_v0": (shot.body, sign(shot.body, secret=self._secret, now=now, scheme="v0")),
            "other_livemode": (other_mode, sign(other_mode, secret=self._secret, now=now)),
        }
        return tuple((name, shot_of(shot.type, body, header)) for name, (body, header) in forged.items())

    def event(self, kind: str, subject: Mapping[str, Any], now: float, **more: Any) -> Shot:
        """Say any event about any object; `more` adds to or replaces fields of the event."""
        event = {
            "id": f"evt_{secrets.token_hex(12)}",
            "object": "event",
            "api_version": API_VERSION,
            "created": int(now),
            "data": {"object": dict(subject)},
            "livemode": self._livemode,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
            **more,
        }
        body = json.dumps(event, indent=2, ensure_ascii=False).encode()
        return shot_of(kind, body, sign(body, secret=self._secret, now=now))

    def _changed(self, sale: Sale, now: float, status: str, *, before: str) -> Shot:
        subscription = self.subscription(sale, now, status=status)
        data = {"object": subscription, "previous_attributes": {"status": before}}
        return self.event("customer.subscription.updated", subscription, now, data=data)
