"""The life of a purchase, money aside: who may hold it back, end it, move its end, and what begins it again."""

from itertools import product
from typing import Any

import pytest

from handlers.life import LIFE, REFUSED, follow_life
from schemas.base import Access
from schemas.entry import EntryKind
from tests.handlers.entries import GOOGLE, MONTHLY, SUBSCRIPTION, acme, bought, day, entry, money, settle, told

K = EntryKind


def test_held_back_and_paid_after_all():
    """On hold nobody has access; the payment that comes in gives it back."""
    held = (bought(0), entry(K.SUSPENDED, 30, reason="on_hold"))

    story = settle(*held)
    assert ("suspended", "on_hold", "platform_suspended") == (
        story.status(),
        story.only.access_reason,
        story.only.rule,
    )
    assert "active" == settle(*held, entry(K.RENEWED, 33)).status()


def test_a_pause_ends_without_a_payment():
    """Paused and resumed: access is back, as nothing had ended."""
    assert "active" == settle(bought(0), entry(K.SUSPENDED, 30, reason="paused"), entry(K.RESUMED, 60)).status()


def test_going_on_begins_nothing():
    """What ended stays ended, and what was paid back stays revoked, when a subscription merely goes on."""
    ended = settle(bought(0), entry(K.EXPIRED, 30), entry(K.RESUMED, 31))
    revoked = settle(bought(0), entry(K.SUSPENDED, 20), money(K.REFUND_SUCCEEDED, 25), entry(K.RESUMED, 31))

    assert ("expired", "revoked") == (ended.status(), revoked.status())


def test_holding_back_what_has_ended():
    """A hold that is told of after the end leaves it ended, for the platform's own reason."""
    story = settle(bought(0), entry(K.EXPIRED, 30, reason="voluntary"), entry(K.SUSPENDED, 31, reason="on_hold"))

    assert ("expired", "voluntary") == (story.status(), story.only.access_reason)


def test_a_grace_period_moves_the_end():
    """The period ran out on day 30, the grace period lasts to day 46: the lapse of the earlier date is void."""
    first = bought(0, expires_at_ms=day(30))
    lapsed = entry(K.LAPSED, 30, expires_at_ms=day(30))
    grace = entry(K.RESCHEDULED, 29.5, expires_at_ms=day(46))

    story = settle(first, lapsed, grace)
    assert (Access.ACTIVE, day(46) // 1000) == (story.only.access, story.only.expires_at)
    assert "expired" == settle(first, grace, entry(K.LAPSED, 46, expires_at_ms=day(46))).status()


def test_when_it_was_changed_does_not_tell_whether_a_void_lapse_was_noted():
    """The date passed before the grace period became known, or after: what is shown is the same."""
    # The void lapse counted as the last thing that happened, so the same story told faster showed another time.
    first, grace = bought(0, expires_at_ms=day(30)), entry(K.RESCHEDULED, 29.5, expires_at_ms=day(46))
    noted = settle(first, entry(K.LAPSED, 30, expires_at_ms=day(30)), grace)

    assert noted.purchases == settle(first, grace).purchases
    refunded = money(K.REFUND_SUCCEEDED, 20)
    late = settle(first, entry(K.LAPSED, 30, expires_at_ms=day(30)), refunded)
    assert late.purchases == settle(first, refunded).purchases


def test_a_grace_period_without_a_date():
    """Google says "grace" and no date: the old end no longer counts, and none is made up."""
    first = bought(0, "GPA.1", product_id=MONTHLY, expires_at_ms=day(30), **GOOGLE)
    grace = entry(K.RESCHEDULED, 30, None, **GOOGLE)

    story = settle(first, grace, entry(K.LAPSED, 30, "GPA.1", expires_at_ms=day(30), **GOOGLE))
    assert ("active", None) == (story.status(), story.only.expires_at)


def test_a_moved_end_resurrects_nothing():
    """What its platform ended stays ended, however far its date is moved."""
    assert (
        "expired" == settle(bought(0), entry(K.EXPIRED, 30), entry(K.RESCHEDULED, 31, expires_at_ms=day(400))).status()
    )


def test_a_lineage_on_hold_concerns_every_period():
    """A subscription on hold gives nothing by an earlier period whose end nobody told."""
    periods = (bought(0, "GPA.1", **GOOGLE), bought(30, "GPA.1..0", **GOOGLE))
    hold = entry(K.SUSPENDED, 60, None, reason="on_hold", **GOOGLE)

    assert "suspended" == settle(*periods, hold).status()
    assert "active" == settle(*periods, hold, entry(K.RENEWED, 61, None, **GOOGLE)).status()


def test_a_warning_changes_nothing():
    """A fraud warning is for people to see: no event, no change."""
    story = settle(bought(0), entry(K.SIGNALED, 3, reason="early_fraud_warning:unauthorized_use_of_card"))

    assert ["entitlement.granted"] == [event.type for event in story.events]


@pytest.mark.parametrize(("access", "kind"), list(product([None, *Access], EntryKind)))
def test_every_pair_is_decided(access, kind):
    """Whatever was said of a life and whatever is said next, it is followed or refused by name."""
    assert kind in LIFE
    assert (access, kind) not in REFUSED or LIFE[kind] is not None


@pytest.mark.parametrize(("access", "kind"), REFUSED)
def test_a_refused_word_leaves_the_one_before(access, kind):
    """What is refused changes nothing, and has a name."""
    says = {Access.ACTIVE: K.PURCHASED, Access.EXPIRED: K.EXPIRED}
    before = [entry(says[access], 1)] if access else []

    assert REFUSED[access, kind]
    assert follow_life(before) == follow_life([*before, entry(kind, 2)])


def test_only_the_newest_period_may_be_renewed_late():
    """The platform may renew the period that runs; one that is followed by another ends at its date."""
    # January outlived its date for a day, and a refund of February left Ann access by it.
    plan: dict[str, Any] = {"kind": "subscription", "lineage": SUBSCRIPTION, "product_id": MONTHLY}
    january = bought(0, "ch_january", expires_at_ms=day(30), **plan)
    february = bought(30, "ch_february", expires_at_ms=day(60), **plan)

    alone, story = settle(january), settle(january, february)
    assert day(31) // 1000 == alone.only.lapses_at
    assert {"ch_january": day(30) // 1000, "ch_february": day(61) // 1000} == {
        name: p.lapses_at for name, p in story.purchases.items()
    }


def test_no_patience_with_what_is_not_renewed():
    """A date that the app told, and that of what is no subscription, is kept to the second."""
    own = settle(told(0, kind="subscription", expires_at_ms=day(30)))
    season = settle(bought(0, kind="non_renewing", expires_at_ms=day(90)))
    strict = settle(bought(0, kind="subscription", expires_at_ms=day(30)), app=acme(late_renewal_hours=0))

    assert [day(30) // 1000, day(90) // 1000, day(30) // 1000] == [s.only.lapses_at for s in (own, season, strict)]


def test_more_time_is_given_to_the_subscription_and_not_to_its_last_period():
    """January got a grace period and February was paid: when February is refunded, January's grace gives nothing."""
    plan: dict[str, Any] = {"kind": "subscription", "lineage": SUBSCRIPTION, "product_id": MONTHLY}
    january = bought(0, "ch_january", expires_at_ms=day(30), **plan)
    grace = entry(K.RESCHEDULED, 30, "ch_january", lineage=SUBSCRIPTION, expires_at_ms=day(400))
    past_due = entry(K.RESCHEDULED, 30, None, lineage=SUBSCRIPTION)
    february = bought(33, "ch_february", expires_at_ms=day(500), **plan)
    refund = money(K.REFUND_SUCCEEDED, 34, purchase="ch_february")

    for late in (grace, past_due):
        assert "active" == settle(january, late, february).status()
        assert day(30) // 1000 == settle(january, late, february, refund).purchases["ch_january"].expires_at
