"""What an app's backend says of a purchase, under the names that the platform uses."""

import pytest

from handlers.placing import refs_of
from handlers.told import entry_of
from schemas.entry import EntryKind, Subject
from schemas.resources import PurchaseTold

NOW_MS = 1_780_000_000_000


def told(**said: object) -> PurchaseTold:
    """Tell of Ann's annual plan."""
    return PurchaseTold.model_validate(
        {
            "app": "acme",
            "platform": "stripe",
            "environment": "production",
            "purchase_id": "ch_annual",
            "product_id": "acme.pro.annual",
            "user_id": "ann",
            **said,
        }
    )


@pytest.mark.parametrize(
    ("said", "subject"),
    [
        ({"purchase_id": "ch_1"}, Subject(purchase_id="ch_1")),
        ({"purchase_id": "pi_1"}, Subject(aliases=("payment_intent:pi_1",))),
        ({"purchase_id": "py_1"}, Subject(purchase_id="py_1")),
        ({"purchase_id": "in_1"}, Subject(aliases=("invoice:in_1",))),
        ({"purchase_id": "cs_live_1"}, Subject(aliases=("checkout_session:cs_live_1",))),
        ({"purchase_id": "sub_1"}, Subject(lineage=("subscription:sub_1",))),
        ({"purchase_id": "sub_1", "original_purchase_id": "sub_1"}, Subject(lineage=("subscription:sub_1",))),
        (
            {"purchase_id": "cs_live_1", "original_purchase_id": "sub_1"},
            Subject(aliases=("checkout_session:cs_live_1",), lineage=("subscription:sub_1",)),
        ),
        ({"original_purchase_id": "sub_1"}, Subject(purchase_id="ch_annual", lineage=("subscription:sub_1",))),
        ({"platform": "apple", "purchase_id": "pi_1"}, Subject(purchase_id="pi_1")),
        ({"platform": "apple", "purchase_id": "sub_1"}, Subject(purchase_id="sub_1")),
        (
            {"platform": "apple", "original_purchase_id": "1000"},
            Subject(purchase_id="ch_annual", lineage=("original:1000",)),
        ),
        (
            {"platform": "google", "purchase_id": "GPA.1", "original_purchase_id": "GPA.0", "purchase_token": "tok"},
            Subject(purchase_id="GPA.1", lineage=("original:GPA.0", "token:tok")),
        ),
        (
            {"platform": "google", "purchase_id": "tok", "purchase_token": "tok"},
            Subject(purchase_id="tok", aliases=("one_time:tok",), lineage=("token:tok",)),
        ),
        (
            {"platform": "google", "purchase_id": "tok", "original_purchase_id": "GPA.0", "purchase_token": "tok"},
            Subject(purchase_id="tok", aliases=("one_time:tok",), lineage=("original:GPA.0", "token:tok")),
        ),
        (
            {"platform": "amazon", "purchase_id": "tok", "purchase_token": "tok"},
            Subject(purchase_id="tok", lineage=("token:tok",)),
        ),
        (
            {"platform": "amazon", "original_purchase_id": "r:1"},
            Subject(purchase_id="ch_annual", lineage=("original:r:1",)),
        ),
    ],
)
def test_a_purchase_is_named_as_its_platform_names_it(said, subject):
    """An app may name a Stripe purchase by what it has at hand; every id leads to where the platform's words lie."""
    assert subject == entry_of(told(**said), now_ms=NOW_MS).subject


def test_a_subscription_is_no_purchase():
    """A call that names only a Stripe subscription describes every payment of it, and is none of them itself."""
    assert entry_of(told(purchase_id="sub_1"), now_ms=NOW_MS).whole_lineage
    assert not entry_of(told(purchase_id="cs_live_1"), now_ms=NOW_MS).whole_lineage


def test_the_same_call_makes_the_same_entry():
    """Telling twice adds nothing, whenever the second call is made; telling more is another entry."""
    first, again = entry_of(told(), now_ms=NOW_MS), entry_of(told(), now_ms=NOW_MS + 60_000)

    assert first.id == again.id
    assert first.id != entry_of(told(amount=100), now_ms=NOW_MS).id
    assert refs_of(first) == refs_of(again)


def test_everything_that_was_told_is_kept():
    """Seconds become milliseconds, the app's word is marked as such, and what was left out stays unknown."""
    said = told(
        kind="subscription",
        quantity=2,
        amount=9900,
        currency="usd",
        purchased_at=1_770_000_000,
        expires_at=1_790_000_000,
    )
    full, bare = entry_of(said, now_ms=NOW_MS), entry_of(told(), now_ms=NOW_MS)

    assert (EntryKind.TOLD, 1_770_000_000_000) == (full.kind, full.occurred_at_ms)
    assert ("app", "ann", "subscription", 2, 9900, "usd") == (
        full.facts.user_authority,
        full.facts.user_id,
        full.facts.kind,
        full.facts.quantity,
        full.facts.amount,
        full.facts.currency,
    )
    assert (1_770_000_000_000, 1_790_000_000_000) == (full.facts.purchased_at_ms, full.facts.expires_at_ms)
    assert (NOW_MS, None, None) == (bare.occurred_at_ms, bare.facts.purchased_at_ms, bare.facts.expires_at_ms)
    assert ("api", None) == (full.source.type, full.source.notification)
