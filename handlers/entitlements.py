"""What a user may use: the union over all purchases that give it, on whatever platform."""

from collections.abc import Iterable, Sequence
from typing import Final

from schemas.base import Access, trusted
from schemas.resources import Entitlement, EntitlementStatus, Purchase

_entitlement = trusted(Entitlement)

_GIVING: Final[tuple[tuple[Access, EntitlementStatus], ...]] = (
    (Access.ACTIVE, "active"),
    (Access.SUSPENDED, "suspended"),
)
"""Which access of any purchase decides what all of them give, the better one first."""


def standing(purchases: Iterable[Purchase], key: str, *, now: float) -> Entitlement | None:
    """Tell how one entitlement stands; None: no purchase that is known gives it.

    Active while any purchase gives access; else suspended while any is; else as the one that ended last.

    Args:
        purchases: of one user, app and environment.
        key: the entitlement's key.
        now: Unix seconds; an expiry that passed before any platform said so counts.
    """
    giving = [p for p in purchases if key in p.entitlements and p.access is not Access.UNKNOWN]
    if not giving or (user_id := giving[0].user_id) is None:
        return None
    if len(giving) > 1:
        giving.sort(key=lambda p: (p.purchased_at or 0, p.id), reverse=True)
    status, deciding = _status(giving, now)
    return _entitlement(
        app=giving[0].app,
        environment=giving[0].environment,
        user_id=user_id,
        key=key,
        active=status == "active",
        status=status,
        reason=None if status == "active" else deciding[0].access_reason or status,
        expires_at=_latest([p.expires_at for p in deciding]),
        purchases=tuple([p.id for p in giving]),
        updated_at=max([p.updated_at for p in giving]),
    )


def access_at(purchase: Purchase, now: float) -> Access:
    """Tell what a purchase gives at this moment, before its lapse has become an entry."""
    passed = purchase.lapses_at is not None and purchase.lapses_at <= now
    if passed and purchase.access in (Access.ACTIVE, Access.SUSPENDED):
        return Access.EXPIRED
    return purchase.access


def _status(giving: list[Purchase], now: float) -> tuple[EntitlementStatus, list[Purchase]]:
    gives = [access_at(purchase, now) for purchase in giving]
    for wanted, status in _GIVING:
        if wanted in gives:
            return status, [purchase for purchase, access in zip(giving, gives, strict=True) if access is wanted]
    last = max(giving, key=_ended_at)
    return ("revoked" if last.access is Access.REVOKED else "expired"), [last]


def _ended_at(purchase: Purchase) -> tuple[int, int, str]:
    """Tell when access to it ended, at the latest: with its date, however late money went back after that."""
    date = purchase.updated_at if purchase.expires_at is None else min(purchase.expires_at, purchase.updated_at)
    return date, purchase.purchased_at or 0, purchase.id


def _latest(ends: Sequence[int | None]) -> int | None:
    """Find the last of several ends; one without an end outlasts them all."""
    return None if None in ends else max([end for end in ends if end is not None])
