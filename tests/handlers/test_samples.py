"""Samples are what a subscriber really gets, but for what tells that they are samples."""

import re
from typing import Any

import pytest

from handlers import announce
from handlers.samples import CUSTOMER, SAMPLE_AT_MS, sample
from schemas.events import EVENT_TYPES

pytestmark = pytest.mark.unit

_ID = re.compile(r"evt_sample_[a-z_]+")


def test_every_type_that_is_told_is_listed():
    """The list of types is exactly what the house can announce."""
    entitlements = {f"entitlement.{change}" for change in announce.ENTITLEMENT_CHANGES.values()}
    money = {*announce.REFUND_EVENTS.values(), announce.REFUND_DECLINED, *announce.CHARGEBACK_EVENTS.values()}

    assert entitlements | money | set(announce.BALANCE_EVENTS) == set(EVENT_TYPES)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_sample_is_a_whole_event_of_its_type(event_type: str):
    """Each type has a sample that its own shape accepts, with a customer, an end in its status, and a rule."""
    event = sample(event_type)

    read = EVENT_TYPES[event_type].shape.model_validate_json(event.model_dump_json())
    assert event.model_dump() == read.model_dump()
    about: Any = event.data.entitlement or event.data.refund
    assert event_type == event.type
    assert about.status in (EVENT_TYPES[event_type].statuses or (about.status,))
    assert "2026-11-22T11:54:48.205Z" == event.timestamp
    assert None not in (event.sequence, event.data.purchase, event.data.cause.rule)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_sample_is_recognized(event_type: str):
    """Whoever gets a sample sees it by its id, its customer and its notification; and it is no production."""
    event = sample(event_type)

    assert _ID.fullmatch(event.id)
    assert event.customer is not None
    assert (CUSTOMER, "ntf_sample", "sandbox") == (
        event.customer.user_id,
        event.data.cause.notification,
        event.environment,
    )


def test_units_that_are_restored_are_told_of_a_purchase_that_stands():
    """The refund of the coins failed: the event shows the purchase as it is now, paid for, and not as it was before."""
    # It showed the purchase as revoked by the refund, and named the rule that had revoked it.
    event = sample("balance.restored")

    assert event.data.purchase is not None
    shown = event.data.purchase
    assert ("active", "bought", 0, 0) == (shown.access, shown.rule, shown.amount_refunded, shown.units_clawed_back)
    assert "bought" == event.data.cause.rule


def test_samples_are_the_same_whenever_they_are_asked_for():
    """Nothing in a sample depends on when or where it is made, so documents can show it."""
    assert [sample(each) for each in EVENT_TYPES] == [sample(each) for each in EVENT_TYPES]
    assert len(EVENT_TYPES) == len({sample(each).id for each in EVENT_TYPES})


def test_a_sample_for_somebody():
    """The app, the environment, the time and the id are those that are asked for, all through."""
    event = sample(
        "refund.succeeded", app="demo", environment="production", mark="4711", at_ms=SAMPLE_AT_MS + 86_400_000
    )

    refund, purchase = event.data.refund, event.data.purchase
    assert refund is not None
    assert purchase is not None
    assert {("demo", "production")} == {(each.app, each.environment) for each in (event, refund, purchase)}
    assert ("evt_sample_refund_succeeded_4711", "2026-11-23T11:54:48.205Z") == (event.id, event.timestamp)
    assert SAMPLE_AT_MS // 1000 - 2 * 86_400 == refund.created_at


def test_what_is_no_type_has_no_sample():
    """A type that is never told has no sample."""
    with pytest.raises(KeyError):
        sample("refund.granted")
