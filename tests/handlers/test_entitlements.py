"""What a user may use: the union over purchases."""

import pytest

from handlers.entitlements import access_at, standing
from schemas.base import Access
from schemas.resources import Purchase

NOW = 1_800_000_000


def owned(name: str, access: Access, **said: object) -> Purchase:
    """One of Ann's purchases that give pro."""
    return Purchase.model_validate(
        {
            "id": name,
            "app": "acme",
            "platform": "stripe",
            "environment": "production",
            "purchase_id": name,
            "user_id": "ann",
            "entitlements": ("pro",),
            "access": access,
            "updated_at": 1,
            "lapses_at": said.get("expires_at"),
            **said,
        }
    )


@pytest.mark.parametrize(
    ("accesses", "status"),
    [
        ((Access.ACTIVE, Access.REVOKED, Access.EXPIRED, Access.SUSPENDED), "active"),
        ((Access.SUSPENDED, Access.REVOKED, Access.EXPIRED), "suspended"),
        ((Access.EXPIRED, Access.REVOKED), "revoked"),
        ((Access.REVOKED, Access.EXPIRED), "expired"),
        ((Access.UNKNOWN, Access.ACTIVE), "active"),
    ],
)
def test_the_best_purchase_counts_and_else_the_newest(accesses, status):
    """Any that gives access gives it; without one, a suspended; of several that ended at once the newest tells how."""
    bought = [owned(f"pur_{at}", access, purchased_at=at) for at, access in enumerate(accesses)]
    stands = standing(bought, "pro", now=NOW)

    assert stands is not None
    assert (status, status == "active") == (stands.status, stands.active)


def test_nothing_is_said_of_what_nobody_bought():
    """Purchases of other things, and purchases that nobody told of, give no entitlement at all."""
    assert standing([], "pro", now=NOW) is None
    assert standing([owned("pur_1", Access.ACTIVE)], "offline", now=NOW) is None
    assert standing([owned("pur_1", Access.UNKNOWN)], "pro", now=NOW) is None
    assert standing([owned("pur_1", Access.ACTIVE, user_id=None)], "pro", now=NOW) is None


def test_an_end_that_passed_counts():
    """Access ends at its date to the second; what was revoked stays revoked."""
    runs = owned("pur_1", Access.ACTIVE, expires_at=NOW)

    assert (Access.ACTIVE, Access.EXPIRED) == (access_at(runs, NOW - 0.5), access_at(runs, NOW))
    assert Access.REVOKED is access_at(owned("pur_1", Access.REVOKED, expires_at=1), NOW)
    assert Access.EXPIRED is access_at(owned("pur_1", Access.SUSPENDED, expires_at=1), NOW)


def test_the_one_that_ended_last_tells_how():
    """The newer plan was refunded in May, the older ran out in December: she lost access because it ran out."""
    # It was told as revoked, of a purchase that had merely expired, by a refund of half a year before.
    refunded = owned("pur_2", Access.REVOKED, purchased_at=100, updated_at=150, expires_at=900)
    ran_out = owned("pur_1", Access.EXPIRED, purchased_at=50, updated_at=365, expires_at=365)

    stands = standing([refunded, ran_out], "pro", now=NOW)
    assert stands is not None
    assert ("expired", ("pur_2", "pur_1")) == (stands.status, stands.purchases)


def test_money_back_for_a_period_that_was_over():
    """March is over; that January is refunded in April does not make the end of March a revocation."""
    january = owned("pur_1", Access.REVOKED, purchased_at=1, updated_at=100, expires_at=31)
    march = owned("pur_3", Access.EXPIRED, purchased_at=60, updated_at=90, expires_at=90)

    stands = standing([january, march], "pro", now=NOW)
    assert stands is not None
    assert "expired" == stands.status


def test_patience_with_a_renewal():
    """A period that may be renewed late gives access past its date, until its patience ends."""
    late = owned("pur_1", Access.ACTIVE, expires_at=NOW - 60, lapses_at=NOW)

    assert (Access.ACTIVE, Access.EXPIRED) == (access_at(late, NOW - 1), access_at(late, NOW))


def test_access_lasts_as_long_as_its_longest_purchase():
    """The end shown is the last of those that give access; one without an end outlasts them all."""
    two = [owned("pur_1", Access.ACTIVE, expires_at=NOW + 9), owned("pur_2", Access.ACTIVE, expires_at=NOW + 5)]
    endless = owned("pur_3", Access.ACTIVE)
    short, long = standing(two, "pro", now=NOW), standing([*two, endless], "pro", now=NOW)

    assert short is not None
    assert long is not None
    assert (NOW + 9, None) == (short.expires_at, long.expires_at)


def test_the_reason_is_that_of_the_purchase_that_decides():
    """Why it is not active is told in the platform's words where it gave any; an active one needs no reason."""
    revoked = owned("pur_1", Access.REVOKED, access_reason="fraudulent", purchased_at=5)
    stands = standing([revoked, owned("pur_2", Access.EXPIRED, purchased_at=1)], "pro", now=NOW)
    active = standing([owned("pur_1", Access.ACTIVE, access_reason="refund")], "pro", now=NOW)
    lapsed = standing([owned("pur_1", Access.ACTIVE, expires_at=1)], "pro", now=NOW)

    assert stands is not None
    assert active is not None
    assert lapsed is not None
    assert ("fraudulent", ("pur_1", "pur_2")) == (stands.reason, stands.purchases)
    assert (None, "expired") == (active.reason, lapsed.reason)
