"""What subscribers hear of each Real-Time Notification, and how access and refunds stand after it.

Ines's backend told of her purchase; then Amazon tells. Everything is signed for real and decided by the real core.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from config.products import Product
from handlers.amazon import PLATFORM
from handlers.decide import decide
from schemas.entry import Entry, Source
from schemas.meaning import Meaning
from tests.handlers.appstore import ANNUAL_PLAN, NOW_MS, RECEIPT, USER, Appstore
from tests.handlers.entries import Story, acme, told
from tests.handlers.test_amazon_receipts import BOUGHT_MS, COINS, DAY_MS, ENDS_MS, PLAN

pytestmark = pytest.mark.unit

COIN_PACK = {"product_id": "com.acme.coins", "kind": "consumable"}
LEVELS = {"product_id": "com.acme.levels", "kind": "non_consumable"}
ANNUAL = {"product_id": ANNUAL_PLAN.product_id, "kind": "subscription", "expires_at_ms": NOW_MS}
LEVEL_PACK = {**COINS, "productId": "com.acme.levels", "productType": "ENTITLED"}
OVER = {**PLAN, "renewalDate": None, "cancelDate": NOW_MS, "cancelReason": 2}
OFF = {**PLAN, "renewalDate": None, "cancelDate": NOW_MS + DAY_MS, "cancelReason": 1}


@pytest.fixture(scope="module", name="appstore")
def _appstore(tmp_path_factory: pytest.TempPathFactory) -> Appstore:
    return Appstore(tmp_path_factory.mktemp("amazon"))


def shop() -> Story:
    """Open a shop that sells a plan, another tier of it, coins, and a level pack."""
    app = acme()
    products = {
        ANNUAL_PLAN.product_id: Product(entitlements=("pro",)),
        "com.acme.coins": Product(kind="consumable", units=100),
        "com.acme.levels": Product(kind="non_consumable", entitlements=("pro",)),
    }
    return Story(app.model_copy(update={"products": products}), now_ms=NOW_MS)


def by_backend(**facts: Any) -> Entry:
    """The app's backend tells of Ines's purchase."""
    known = {"platform": "amazon", "user_id": "ines", "purchased_at_ms": BOUGHT_MS, "amount": 4999, "currency": "usd"}
    entry = told(0, RECEIPT, **{**known, **facts})
    return entry.model_copy(update={"occurred_at_ms": BOUGHT_MS})


def hear(story: Story, appstore: Appstore, word: str, answer: Any = None, **more: Any) -> list[str]:
    """Let Amazon say it in one notification, and give the types of the events that follow."""
    payload = appstore.verify(appstore.rtn(word, **more))
    facts = {} if answer is None else dict.fromkeys(PLATFORM.needs(payload), answer)
    meaning = PLATFORM.normalize(payload, facts, settings=appstore.settings)
    assert isinstance(meaning, Meaning)
    source = Source(type=word, notification=f"ntf_{word}")
    entries = [
        Entry(**dict(said), id=f"ent_{word}_{n}", app="acme", platform="amazon", source=source)
        for n, said in enumerate(meaning.said)
    ]
    decision = decide(story.book, entries, app=story.app, now_ms=story.now_ms)
    story.book = decision.book
    return [event.type for event in decision.events]


@pytest.mark.parametrize(
    ("word", "facts", "answer", "events", "status"),
    [
        ("SUBSCRIPTION_RENEWED", ANNUAL, PLAN, ["entitlement.renewed"], "active"),
        ("SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID", ANNUAL, PLAN, ["entitlement.renewed"], "active"),
        ("SUBSCRIPTION_OUT_OF_GRACE_PERIOD", ANNUAL, PLAN, ["entitlement.renewed"], "active"),
        ("SUBSCRIPTION_IN_GRACE_PERIOD", ANNUAL, {**PLAN, "gracePeriodEndDate": ENDS_MS}, None, "active"),
        ("SUBSCRIPTION_AUTO_RENEWAL_OFF", {**ANNUAL, "expires_at_ms": NOW_MS + DAY_MS}, OFF, [], "active"),
        ("SUBSCRIPTION_SCHEDULED_TO_END", {**ANNUAL, "expires_at_ms": NOW_MS + DAY_MS}, OFF, [], "active"),
        ("SUBSCRIPTION_CANCELLED", {**ANNUAL, "expires_at_ms": ENDS_MS}, OVER, ["entitlement.expired"], "expired"),
        ("SUBSCRIPTION_CANCELLED", {**ANNUAL, "expires_at_ms": ENDS_MS}, None, ["entitlement.revoked"], "revoked"),
        ("SUBSCRIPTION_EXPIRED", {**ANNUAL, "expires_at_ms": ENDS_MS}, OVER, ["entitlement.expired"], "expired"),
        (
            "ENTITLEMENT_CANCELLED",
            LEVELS,
            {**LEVEL_PACK, "cancelDate": NOW_MS, "cancelReason": 1},
            ["refund.succeeded", "entitlement.revoked"],
            "revoked",
        ),
        (
            "CONSUMABLE_CANCELLED",
            COIN_PACK,
            {**COINS, "cancelDate": NOW_MS, "cancelReason": 1},
            ["refund.succeeded", "balance.clawed_back"],
            None,
        ),
    ],
)
def test_each_type_is_told_as_the_table_says(
    appstore: Appstore, word: str, facts: dict[str, Any], answer: Any, events: Sequence[str] | None, status: str | None
) -> None:
    """Once the purchase is known, subscribers hear exactly what the documented table promises of a type."""
    story = shop()
    story.now_ms = NOW_MS - 1
    story.say(by_backend(**facts))

    heard = hear(story, appstore, word, answer)

    assert ["entitlement.renewed"] if events is None else list(events) == heard
    assert status == story.status("ines")
    money = word in ("ENTITLEMENT_CANCELLED", "CONSUMABLE_CANCELLED")
    assert {RECEIPT: "succeeded"} if money else {} == {name: refund.status for name, refund in story.refunds.items()}


@pytest.mark.parametrize(
    ("word", "answer", "events"),
    [
        ("SUBSCRIPTION_PURCHASED", PLAN, ["entitlement.granted"]),
        ("ENTITLEMENT_PURCHASED", LEVEL_PACK, ["entitlement.granted"]),
        ("CONSUMABLE_PURCHASED", COINS, []),
    ],
)
def test_a_purchase_that_was_looked_up_needs_no_backend(
    appstore: Appstore, word: str, answer: Any, events: list[str]
) -> None:
    """With the answer the product is known, and access is given to Amazon's own id of the customer."""
    story = shop()

    assert events == hear(story, appstore, word, answer)
    assert answer["termSku"] or answer["productId"] == story.only.product_id
    assert USER == story.only.user_id


def test_a_tier_change_renews_and_refunds_nothing(appstore: Appstore) -> None:
    """The old receipt is closed as replaced, the new one carries the access on, and no money is on record."""
    story = shop()
    story.now_ms = NOW_MS - 1
    story.say(by_backend(**{**ANNUAL, "user_id": USER, "user_authority": "guess", "expires_at_ms": NOW_MS + DAY_MS}))
    changed = {"receiptId": "new-tier", "relatedReceipts": {"cancelledReceiptId": RECEIPT}}

    assert ["entitlement.renewed"] == hear(story, appstore, "SUBSCRIPTION_MODIFIED_IMMEDIATE", PLAN, **changed)
    assert ("expired", "replaced") == (story.purchases[RECEIPT].access, story.purchases[RECEIPT].access_reason)
    assert ("active", {}) == (story.status(USER), story.refunds)
