"""What a change is called when subscribers are told of it."""

from itertools import product
from typing import get_args

import pytest

from handlers.announce import (
    CHARGEBACK_EVENTS,
    ENTITLEMENT_CHANGES,
    REFUND_EVENTS,
    entitlement_change,
    event_type,
    purchase_behind,
    refund_changes,
)
from schemas.resources import Entitlement, EntitlementStatus, Purchase, Refund, RefundStatus

STATUSES: tuple[EntitlementStatus, ...] = get_args(EntitlementStatus)


def held(
    status: EntitlementStatus, expires_at: int | None = None, purchases: tuple[str, ...] = ("pur_1",)
) -> Entitlement:
    """Ann's access to pro, in this state."""
    return Entitlement(
        app="acme",
        environment="production",
        user_id="ann",
        key="pro",
        active=status == "active",
        status=status,
        expires_at=expires_at,
        purchases=purchases,
        updated_at=0,
    )


def went(name: str, status: RefundStatus, amount: int | None = 500, at: int = 0, **said: object) -> Refund:
    """Money of Ann's annual plan, on its way back."""
    return Refund.model_validate(
        {
            "id": name,
            "app": "acme",
            "platform": "stripe",
            "environment": "production",
            "platform_refund_id": name,
            "charge_id": "pur_1",
            "status": status,
            "amount": amount,
            "created_at": at,
            "updated_at": at,
            **said,
        }
    )


def told(before: list[Refund], after: list[Refund]) -> list[tuple[str, str]]:
    """Name what is announced between two records."""
    return [(type_, refund.id) for type_, refund in refund_changes(before, after)]


@pytest.mark.parametrize(("before", "after"), [*product((None, *STATUSES), STATUSES)])
def test_every_change_of_status_has_a_name(before, after):
    """Whatever an entitlement was and is now: a change is told by name, and no change is not told."""
    change = entitlement_change(held(before) if before else None, held(after))

    assert ENTITLEMENT_CHANGES.get((before, after)) == change
    assert (before == after) == (change is None)


def test_a_later_end_is_a_renewal():
    """Access that lasts longer than before is told; an end that stayed, came closer or became known is not."""
    assert "renewed" == entitlement_change(held("active", 100), held("active", 200))
    assert "renewed" == entitlement_change(held("active", 100), held("active", None))
    assert entitlement_change(held("active", 200), held("active", 100)) is None
    assert entitlement_change(held("active", None), held("active", 100)) is None
    assert entitlement_change(held("revoked", 100), held("revoked", 200)) is None


def test_bought_anew_is_granted_and_not_given_back():
    """After a revocation a new purchase grants; only the very purchase that was taken is reinstated."""
    # A new one without a date of purchase is sorted last, and was taken for the old one come back.
    anew, undated = held("active", purchases=("pur_2", "pur_1")), held("active", purchases=("pur_1", "pur_2"))
    assert "granted" == entitlement_change(held("revoked"), undated)

    assert "granted" == entitlement_change(held("revoked"), anew)
    assert "granted" == entitlement_change(held("expired"), anew)
    assert "reinstated" == entitlement_change(held("revoked"), held("active"))
    assert "expired" == entitlement_change(held("revoked"), held("expired", purchases=("pur_2",)))


def test_each_new_state_of_a_refund_is_told_once():
    """New, moved on, unchanged: the first two are events, in the order in which they happened."""
    before = [went("re_1", "pending"), went("re_2", "succeeded")]
    after = [went("re_3", "pending", at=9), went("re_1", "succeeded", at=5), went("re_2", "succeeded")]

    assert [("refund.succeeded", "re_1"), ("refund.pending", "re_3")] == told(before, after)


def test_a_name_for_money_that_was_announced_is_no_news():
    """A sum that was told shrinks as names explain it: no name is announced again, whole or in part."""
    total = went("total", "succeeded", 1000)

    assert [] == told([total], [went("re_1", "succeeded", 1000)])
    assert [] == told([total], [went("re_1", "succeeded", 300), went("total", "succeeded", 700)])
    assert [("refund.succeeded", "re_1")] == told([total], [went("re_1", "succeeded", 1200)])
    assert [("refund.failed", "re_1")] == told([total], [went("re_1", "failed", 1000)])


def test_more_under_the_same_name_is_told():
    """A refund that grew, or became whole, is told again; one of which more became known is not."""
    half = went("re_1", "succeeded", 500, scope="partial")

    assert [("refund.succeeded", "re_1")] == told([half], [went("re_1", "succeeded", 1000, scope="partial")])
    assert [("refund.succeeded", "re_1")] == told([half], [went("re_1", "succeeded", 500, scope="full")])
    assert [] == told([went("re_1", "succeeded", None)], [went("re_1", "succeeded", 500)])
    assert [] == told([went("re_1", "succeeded")], [went("re_1", "succeeded", scope="full")])
    assert [] == told([went("re_1", "pending", 500)], [went("re_1", "pending", 1000)])


def test_a_chargeback_has_words_of_its_own():
    """Opened, won, lost; and no word for what a bank's case cannot be."""
    assert {
        status: f"chargeback.{word}"
        for status, word in (("pending", "opened"), ("succeeded", "lost"), ("reversed", "won"))
    } == {**CHARGEBACK_EVENTS}
    assert event_type(went("dp_1", "failed", type="chargeback")) is None
    assert [] == told([], [went("dp_1", "canceled", type="chargeback")])


def test_every_state_of_a_refund_has_an_event():
    """No refund changes in silence."""
    assert set(get_args(RefundStatus)) == REFUND_EVENTS.keys()
    assert "refund.requested" == event_type(went("re_1", "to_issue"))


def test_a_declined_request_is_no_canceled_refund():
    """Both are on record as canceled; only the one that was asked for and refused is told as declined."""
    assert "refund.declined" == event_type(went("re_1", "canceled", failed_reason="declined"))
    assert "refund.canceled" == event_type(went("re_1", "canceled", failed_reason="merchant_request"))
    assert "refund.failed" == event_type(went("re_1", "failed", failed_reason="declined"))


def test_money_that_contradicts_the_price_is_not_told():
    """Nobody hears of a sum that cannot be true; once it can, it is news."""
    doubtful = went("re_1", "succeeded", 1500, contradiction="1500 of 1000 usd")

    assert [] == told([], [doubtful])
    assert [("refund.succeeded", "re_1")] == told([doubtful], [went("re_1", "succeeded", 1500)])


def test_more_pieces_under_the_same_name_are_told():
    """A second seat or piece that went back under the first one's name is news."""
    one = went("1000", "succeeded", None, quantity=1, scope="quantity")

    assert [("refund.succeeded", "1000")] == told(
        [one], [went("1000", "succeeded", None, quantity=2, scope="quantity")]
    )
    assert [] == told([one], [one])


def test_an_event_shows_the_purchase_that_changed():
    """Of the purchases behind an entitlement the newest among these is shown; none if none of them is."""

    def purchase(name: str, *keys: str) -> Purchase:
        return Purchase(
            id=name, app="acme", platform="stripe", environment="production", purchase_id=name, entitlements=keys
        )

    stands = held("active", purchases=("pur_3", "pur_2", "pur_1"))
    first, second, other = purchase("pur_1", "pro"), purchase("pur_2", "pro"), purchase("pur_3", "coins")

    assert second == purchase_behind(stands, [first, second, other])
    assert purchase_behind(stands, [other]) is None
