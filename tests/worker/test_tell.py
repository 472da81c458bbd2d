"""What an app backend tells of a purchase, and what platforms said of it before.

Real: everything behind the API: ledger, processing, outbox on SQLite. Double: queue and clock.
"""

from typing import Any

import pytest

from schemas.base import Access
from schemas.entry import EntryKind
from schemas.resources import Purchase, PurchaseTold
from tests.handlers.entries import ANNUAL, MONTHLY, NOW_MS, acme, bought, money
from tests.handlers.stripe_story import CHARGE, REFUND
from tests.worker.desk import Desk, arrival
from worker.audit import check_fold
from worker.commit import Bookkeeper
from worker.inbox import Inbox
from worker.process import process
from worker.store import tables
from worker.store.engine import StoreUnavailable
from worker.tell import tell


def say(at: Desk, purchase_id: str = "ch_3Annual", **said: object) -> tuple[Purchase, bool]:
    """Tell of Ada's annual plan."""
    told = {"app": "acme", "platform": "stripe", "environment": "production", "product_id": ANNUAL, "user_id": "ada"}
    return tell(at.runtime, PurchaseTold.model_validate({**told, "purchase_id": purchase_id, **said}))


async def stripe(at: Desk, number: int, kind: str, subject: dict[str, Any]) -> None:
    """Stripe tells, and it is processed."""
    accepted = await Inbox(at.store, at.queue).accept(arrival(number, kind, subject))
    process(at.runtime, [accepted.id])


def write(at: Desk, *entries: Any) -> None:
    """Enter these into the ledger, as processing does."""
    with at.store.write() as connection:
        keeper = Bookkeeper(connection, entries, now_ms=NOW_MS)
        for entry in entries:
            keeper.tell([entry], acme())
        keeper.write()


def test_telling_twice_is_telling_once(at: Desk):
    """The first call makes the purchase and grants; the same call again answers the same and adds nothing."""
    first, new = say(at)
    again, anew = say(at)

    assert (True, False) == (new, anew)
    assert (first, 1, 1) == (again, len(at.events()), len(at.rows(tables.entries)))
    assert 1 == at.runtime.metrics.registry.get_sample_value(
        "clawback_entitlement_changes_total", {"type": "entitlement.granted"}
    )


def test_a_later_call_fills_in_what_was_unknown(at: Desk):
    """What the first call left out the second adds; what it said stays."""
    say(at, purchased_at=NOW_MS // 1000)
    told, new = say(at, product_id=MONTHLY, amount=9900, currency="usd", purchased_at=NOW_MS // 1000 + 1)

    assert (False, ANNUAL, 9900, "usd") == (new, told.product_id, told.amount, told.currency)


async def test_a_refund_before_its_purchase_takes_effect_at_once(at: Desk):
    """The refund was kept whole; when the app tells of the purchase it is revoked within that very call, and hinted."""
    await stripe(at, 1, "refund.created", REFUND)
    assert {} == at.statuses()
    told, new = say(at)

    assert (True, Access.REVOKED, "full_refund=revoke") == (new, told.access, told.rule)
    assert {"ada": "revoked"} == at.statuses()
    assert ["refund.succeeded", "entitlement.revoked"] == [event.type for event in at.events()]
    assert () == check_fold(at.runtime).differing


async def test_known_from_the_platform_is_known(at: Desk):
    """A purchase that the platform told of is known, 200; one of which only a refund was seen is new, 201."""
    await stripe(at, 1, "charge.succeeded", {**CHARGE, "metadata": {}, "customer": None})
    assert not say(at)[1]
    assert {"ada": "active"} == at.statuses()

    await stripe(at, 2, "refund.created", {**REFUND, "id": "re_2", "charge": "ch_2", "payment_intent": "pi_2"})
    assert say(at, "ch_2")[1]


@pytest.mark.parametrize("name", ["ch_3Annual", "pi_3Annual"])
async def test_stripe_ids_lead_to_one_purchase(at: Desk, name):
    """An app may name a payment by charge or payment intent, before or after Stripe says that they are one."""
    before, _ = say(at, name, user_id="ada")
    await stripe(at, 1, "charge.succeeded", CHARGE)
    after, new = say(at, name, user_id="ada", quantity=1)

    assert name == before.purchase_id
    assert ("ch_3Annual", False, 1) == (after.purchase_id, new, len(at.rows(tables.purchases)))


def test_an_invoice_leads_to_its_charge(at: Desk):
    """The invoice id is a name of the purchase like any other."""
    write(at, bought(0, "ch_1", aliases=["invoice:in_1"]))

    assert "ch_1" == say(at, "in_1")[0].purchase_id


def test_a_purchase_of_two_charges_is_found_by_either(at: Desk):
    """Two charges paid one invoice: they are one purchase, and the app may name either of them."""
    # Telling of the one whose id is not the smaller was answered with an error, although it was stored.
    write(at, bought(0, "ch_a", aliases=["invoice:in_1"]), bought(0, "ch_b", aliases=["invoice:in_1"]))

    assert ("ch_a", False) == (say(at, "ch_b")[0].purchase_id, say(at, "ch_b")[1])


def test_a_google_token_links_its_orders(at: Desk):
    """The token is what the orders of one subscription share: what is said of it is said of them."""
    google: dict[str, Any] = {"platform": "google", "environment": "production"}
    say(at, "GPA.1", purchase_token="tok", **google)
    told, _ = say(at, "GPA.1..0", purchase_token="tok", original_purchase_id="GPA.1", **google)

    assert 1 == len({row["lineage"] for row in at.rows(tables.purchases)})
    assert "GPA.1" == told.original_purchase_id


def test_merging_two_lineages_moves_everything_that_is_stored(at: Desk):
    """When the app links two purchases that each had a refund, both stay whole under one lineage."""
    for name in ("1", "2"):
        write(at, bought(0, f"ch_{name}"), money_of(name))
    say(at, "ch_1", original_purchase_id="sub_1")
    say(at, "ch_2", original_purchase_id="sub_1")

    for table in (tables.refs, tables.entries, tables.purchases, tables.refunds):
        assert 1 == len({row["lineage"] for row in at.rows(table)})
    assert (2, 2) == (len(at.rows(tables.purchases)), len(at.rows(tables.refunds)))
    assert () == check_fold(at.runtime).differing


def money_of(name: str) -> Any:
    """A full refund of one of two purchases."""
    return money(EntryKind.REFUND_SUCCEEDED, 60, name=f"re_{name}", purchase=f"ch_{name}")


def test_what_cannot_be_stored_was_not_told(at: Desk):
    """Where the database is away nothing has happened, and the same call works later."""
    tables_away = (("entries", "elsewhere"), ("alembic_version", "another"))  # as while a restore is under way
    with at.store.write() as connection:
        for name, other in tables_away:
            connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {other}")
    with pytest.raises(StoreUnavailable):
        say(at)
    with at.store.write() as connection:
        for name, other in tables_away:
            connection.exec_driver_sql(f"ALTER TABLE {other} RENAME TO {name}")

    assert [] == at.rows(tables.refs)
    assert say(at)[1]
