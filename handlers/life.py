"""Follow the life of a purchase, money aside: bought, renewed, held back, ended by its platform or by its date.

The states are drawn in docs/ledger.md.
"""

from collections.abc import Sequence
from typing import Final

from handlers.causes import Cause
from schemas.base import Access
from schemas.entry import Entry, EntryKind, PurchaseFacts

K = EntryKind
_PASSED: Final = K.LAPSED
LAPSED: Final = "lapsed"
"""The rule where a date passed and no platform said anything."""

LIFE: Final[dict[EntryKind, Access | None]] = {
    # What each kind says about the life of a purchase. None: nothing.
    K.LINKED: None,
    K.TOLD: None,
    K.PURCHASED: Access.ACTIVE,
    K.RENEWED: Access.ACTIVE,
    K.EXPIRED: Access.EXPIRED,
    K.LAPSED: None,  # counts by its date, see `ended`
    K.REVOKED: None,
    K.MEMBER_REMOVED: None,
    K.CONSENT_RESCINDED: None,
    K.SUSPENDED: Access.SUSPENDED,
    K.RESUMED: Access.ACTIVE,
    K.RESCHEDULED: None,
    K.SIGNALED: None,
    K.REFUND_REQUESTED: None,
    K.REFUND_DECLINED: None,
    K.REFUND_PENDING: None,
    K.REFUND_REQUIRES_ACTION: None,
    K.REFUND_SUCCEEDED: None,
    K.REFUND_CANCELED: None,
    K.REFUND_FAILED: None,
    K.REFUND_REVERSED: None,
    K.REFUNDED_TOTAL: None,
    K.INQUIRY_OPENED: None,
    K.INQUIRY_CLOSED: None,
    K.CHARGEBACK_OPENED: None,
    K.CHARGEBACK_WON: None,
    K.CHARGEBACK_LOST: None,
}

REFUSED: Final[dict[tuple[Access | None, EntryKind], str]] = {
    (Access.EXPIRED, K.SUSPENDED): "already_ended",
    # Going on ends a pause and nothing else: only a payment begins something again.
    (Access.EXPIRED, K.RESUMED): "not_suspended",
    (Access.ACTIVE, K.RESUMED): "not_suspended",
    (None, K.RESUMED): "not_suspended",
}
"""Pairs of what was said so far and what is said next that change nothing, by name."""


def follow_life(entries: Sequence[Entry]) -> Entry | None:
    """Find the word that stands on the life of a purchase; None: nothing was said of it.

    Args:
        entries: that bear on one purchase, in platform order.
    """
    access, standing = None, None
    for entry in entries:
        says = LIFE[entry.kind]
        if says is not None and (access, entry.kind) not in REFUSED:
            access, standing = says, entry
    return standing


def ended(entries: Sequence[Entry], standing: Entry | None, paid: PurchaseFacts) -> Cause | None:
    """Tell how it ended, if it did: by the platform's last word on its life, or by its date, while that stands.

    A date that passed counts even where the platform said "bought" later than that: its notification was signed late,
    and left alone the purchase would run out anew in every round of the sweeper.
    """
    if standing is not None and LIFE[standing.kind] is Access.EXPIRED:
        return Cause("keep", "platform_expired", standing.reason or "expired")
    passed = [_seconds(e.facts.expires_at_ms) for e in entries if e.kind is _PASSED]
    return Cause("keep", LAPSED, "expired") if passed and _seconds(paid.expires_at_ms) in passed else None


def held_back(standing: Entry | None) -> Cause | None:
    """Tell why the platform holds access back, if it does."""
    if standing is None or LIFE[standing.kind] is not Access.SUSPENDED:
        return None
    return Cause("suspend", "platform_suspended", standing.reason or "suspended")


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
