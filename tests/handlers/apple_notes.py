"""What App Store notifications say, asked without signatures: what those are worth is test_apple.py's business.

The story throughout: an annual plan of 49.99 dollars, bought in December, refunded after nine months.
"""

from typing import Any

from handlers.apple import PLATFORM
from schemas.entry import RefundFacts, Said
from schemas.meaning import Meaning, Normalized
from schemas.platforms.apple import Notification, Payload
from tests.handlers import apple_chains as chains
from tests.handlers.apple_chains import SETTINGS, SIGNED_AT

AT_MS = SIGNED_AT * 1000
DAY_MS = 86_400_000
BOUGHT_MS = AT_MS - 270 * DAY_MS
EXPIRES_MS = AT_MS + 95 * DAY_MS
GRACE_MS = EXPIRES_MS + 16 * DAY_MS

TRANSACTION, ORIGINAL, ACCOUNT = "2000000900000001", "2000000900000000", "704346128176834612"
WITHOUT_REVOCATION: dict[str, Any] = {"revocationDate": None, "revocationReason": None}


def meaning(
    type_: str,
    transaction: dict[str, Any] | None,
    *,
    renewal: dict[str, Any] | None = None,
    app_transaction: dict[str, Any] | None = None,
    **payload: Any,
) -> Normalized:
    """Say what a notification means."""
    notification = Notification(
        payload=Payload.model_validate(chains.payload(type_, **payload)),
        transaction=transaction,
        renewal=renewal,
        app_transaction=app_transaction,
    )
    return PLATFORM.normalize(notification, {}, settings=SETTINGS)


def said(type_: str, subtype: str | None = None, **transaction: Any) -> Said:
    """Give the one thing that a notification says."""
    return only(meaning(type_, chains.transaction(**transaction), subtype=subtype))


def only(answer: Normalized) -> Said:
    """Give the one thing that was said."""
    assert isinstance(answer, Meaning), answer
    (one,) = answer.said
    return one


def bought(type_: str, subtype: str | None = None, **transaction: Any) -> Said:
    """Give the one thing that a notification without any revocation says."""
    return said(type_, subtype, **{**WITHOUT_REVOCATION, **transaction})


def refunded(subtype: str | None = None, **transaction: Any) -> RefundFacts:
    """Give what a REFUND says of the refund."""
    refund = said("REFUND", subtype, **transaction).refund
    assert refund is not None
    return refund
