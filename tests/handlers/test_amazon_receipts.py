"""What an answer of the Receipt Verification Service adds to a notification, and what it overrules.

Ines bought an annual plan nine months ago; the notification comes now. Everything is signed for real, and the answer
is what the service could say at any later moment.
"""

from typing import Any

import pytest

from handlers.ledger import fold
from schemas.base import Access
from schemas.entry import Entry, EntryKind, PurchaseFacts, Said, Source
from schemas.meaning import Lookup, Meaning, Missing
from tests.handlers.appstore import ANNUAL_PLAN, NOW_MS, RECEIPT, USER, Appstore
from tests.handlers.entries import acme

pytestmark = pytest.mark.unit

K = EntryKind
DAY_MS = 86_400_000
BOUGHT_MS = ANNUAL_PLAN.purchased_at_ms
ENDS_MS = NOW_MS + 90 * DAY_MS
RVS = Lookup("rvs", f"{USER}/{RECEIPT}")
SANDBOX = Lookup("rvs_sandbox", f"{USER}/{RECEIPT}")
PLAN = {
    "receiptId": RECEIPT,
    "productId": "com.acme.pro",
    "productType": "SUBSCRIPTION",
    "termSku": "com.acme.pro.annual",
    "purchaseDate": BOUGHT_MS,
    "renewalDate": ENDS_MS,
    "cancelDate": None,
    "cancelReason": None,
    "autoRenewing": True,
    "gracePeriodEndDate": None,
    "quantity": 1,
    "betaProduct": False,
    "testTransaction": False,
    "parentProductId": None,
}
COINS = {**PLAN, "productId": "com.acme.coins", "productType": "CONSUMABLE", "termSku": None, "renewalDate": None}


@pytest.fixture(scope="module", name="appstore")
def _appstore(tmp_path_factory: pytest.TempPathFactory) -> Appstore:
    return Appstore(tmp_path_factory.mktemp("amazon"))


def told(appstore: Appstore, word: str, answer: Any = None, **more: Any) -> Meaning:
    """Say what a notification means together with an answer."""
    meaning = appstore.meaning(appstore.rtn(word, **more), {} if answer is None else {RVS: answer})
    assert isinstance(meaning, Meaning)
    return meaning


def ends(meaning: Meaning) -> list[tuple[EntryKind, str | None, int | None]]:
    """Show what a test is about: what was said, why, and up to when."""
    return [(said.kind, said.reason, said.facts.expires_at_ms) for said in meaning.said]


# --- What was bought, and up to when it was paid


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("SUBSCRIPTION_PURCHASED", K.PURCHASED),
        ("SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID", K.RENEWED),
        ("SUBSCRIPTION_RENEWED", K.RENEWED),
        ("SUBSCRIPTION_OUT_OF_GRACE_PERIOD", K.RENEWED),
    ],
)
def test_what_is_paid_for_ends_when_the_next_payment_is_due(appstore: Appstore, word: str, kind: EntryKind) -> None:
    """The answer tells the product, when it was first bought, and the date up to which it is paid."""
    meaning = told(appstore, word, PLAN)

    (said,) = meaning.said
    expected = PurchaseFacts(
        product_id="com.acme.pro.annual",
        kind="subscription",
        user_id=USER,
        user_authority="guess",
        quantity=1,
        purchased_at_ms=BOUGHT_MS,
        expires_at_ms=ENDS_MS,
    )
    assert (kind, expected, ()) == (said.kind, said.facts, meaning.unlearned)


def test_a_subscription_is_its_term_and_anything_else_its_sku(appstore: Appstore) -> None:
    """Operators list the SKU that was bought: the term's, and the parent's only where no term is told."""
    bare = {**PLAN, "termSku": None}

    assert ["com.acme.pro.annual", "com.acme.pro", "com.acme.coins"] == [
        told(appstore, word, answer).said[0].facts.product_id
        for word, answer in (
            ("SUBSCRIPTION_RENEWED", PLAN),
            ("SUBSCRIPTION_RENEWED", bare),
            ("CONSUMABLE_PURCHASED", COINS),
        )
    ]


def test_what_is_bought_once_has_no_end(appstore: Appstore) -> None:
    """A date that a one-time receipt carries is no end of access."""
    (said,) = told(appstore, "CONSUMABLE_PURCHASED", {**COINS, "renewalDate": ENDS_MS}).said

    assert ("consumable", 1, None) == (said.facts.kind, said.facts.quantity, said.facts.expires_at_ms)


def test_a_new_tier_is_learned_and_the_old_one_is_not(appstore: Appstore) -> None:
    """The answer is about the new receipt: the replaced one ends, without a refund and without its facts."""
    related = {"cancelledReceiptId": "basic-plan"}
    old, new = told(appstore, "SUBSCRIPTION_MODIFIED_IMMEDIATE", PLAN, relatedReceipts=related).said

    assert (K.EXPIRED, "replaced", None, None) == (old.kind, old.reason, old.refund, old.facts.product_id)
    assert (K.PURCHASED, "com.acme.pro.annual", ENDS_MS) == (new.kind, new.facts.product_id, new.facts.expires_at_ms)


# --- Grace, and the wish to renew no more


def test_grace_lasts_to_its_date(appstore: Appstore) -> None:
    """In the grace period access lasts to the date that the answer names; without one the old date no longer counts."""
    grace = {**PLAN, "renewalDate": NOW_MS - 1, "gracePeriodEndDate": NOW_MS + 6 * DAY_MS}
    dated = told(appstore, "SUBSCRIPTION_IN_GRACE_PERIOD", grace)

    assert [(K.RESCHEDULED, "in_grace_period", NOW_MS + 6 * DAY_MS)] == ends(dated)
    assert [(K.RESCHEDULED, "in_grace_period", None)] == ends(told(appstore, "SUBSCRIPTION_IN_GRACE_PERIOD"))


@pytest.mark.parametrize("word", ["SUBSCRIPTION_AUTO_RENEWAL_OFF", "SUBSCRIPTION_SCHEDULED_TO_END"])
def test_renewing_no_more_ends_what_is_paid_for_and_not_before(appstore: Appstore, word: str) -> None:
    """`cancelDate` in the future is where the renewal would have been: the end moves there, and nothing is taken."""
    off = {**PLAN, "autoRenewing": False, "renewalDate": None, "cancelDate": ENDS_MS, "cancelReason": 1}
    reason = word.removeprefix("SUBSCRIPTION_").lower()

    assert [(K.RESCHEDULED, reason, ENDS_MS)] == ends(told(appstore, word, off))
    assert [(K.SIGNALED, reason, None)] == ends(told(appstore, word))


def test_a_renewal_that_was_read_late_lasts_to_its_cancellation(appstore: Appstore) -> None:
    """Asked after it was cancelled, the answer dates the end, and the renewal gives access up to then."""
    late = {**PLAN, "renewalDate": None, "cancelDate": NOW_MS + DAY_MS, "cancelReason": 2}

    assert [(K.RENEWED, None, NOW_MS + DAY_MS)] == ends(told(appstore, "SUBSCRIPTION_RENEWED", late))


# --- The end


@pytest.mark.parametrize(
    ("reason", "kind", "why"),
    [
        (1, K.EXPIRED, "customer_cancelled"),
        (2, K.EXPIRED, "system_cancelled"),
        (3, K.REVOKED, "internal"),
        (4, K.EXPIRED, "replaced"),
        (None, K.REVOKED, "SUBSCRIPTION_CANCELLED"),
        (0, K.REVOKED, "SUBSCRIPTION_CANCELLED"),
        (7, K.REVOKED, "SUBSCRIPTION_CANCELLED"),
    ],
)
def test_a_cancel_reason_says_how_it_ended(appstore: Appstore, reason: Any, kind: EntryKind, why: str) -> None:
    """Run out, not paid for or replaced: expired. Taken by Amazon, or nobody says: revoked. Never a refund."""
    answer = {**PLAN, "renewalDate": None, "cancelDate": NOW_MS, "cancelReason": reason}
    meaning = told(appstore, "SUBSCRIPTION_CANCELLED", answer)

    assert [(kind, why, NOW_MS)] == ends(meaning)
    assert [None] == [said.refund for said in meaning.said]


def test_a_reason_that_is_not_known_yet_is_asked_for_again(appstore: Appstore) -> None:
    """`cancelReason` 0 will have another value later: until then the notification's own word counts."""
    answer = {**PLAN, "cancelDate": NOW_MS, "cancelReason": 0}

    for word in ("SUBSCRIPTION_CANCELLED", "CONSUMABLE_CANCELLED", "SUBSCRIPTION_RENEWED"):
        assert (RVS,) == told(appstore, word, answer).unlearned
    assert () == told(appstore, "SUBSCRIPTION_CANCELLED", {**answer, "cancelReason": 1}).unlearned


def test_a_reason_without_a_date_counts(appstore: Appstore) -> None:
    """A cancellation that is told without its date is over by the notification's word."""
    assert [(K.EXPIRED, "customer_cancelled", None)] == ends(
        told(appstore, "SUBSCRIPTION_CANCELLED", {**PLAN, "cancelReason": 1})
    )


def test_a_cancellation_to_come_takes_nothing_yet(appstore: Appstore) -> None:
    """Cancelled for the end of the period: access lasts to `cancelDate`, and the millisecond decides."""
    answer = {**PLAN, "renewalDate": None, "cancelReason": 1}

    later = told(appstore, "SUBSCRIPTION_CANCELLED", {**answer, "cancelDate": NOW_MS + 1})
    assert [(K.RESCHEDULED, "cancelled", NOW_MS + 1)] == ends(later)
    now = told(appstore, "SUBSCRIPTION_CANCELLED", {**answer, "cancelDate": NOW_MS})
    assert [(K.EXPIRED, "customer_cancelled", NOW_MS)] == ends(now)


@pytest.mark.parametrize(("word", "kind"), [("SUBSCRIPTION_CANCELLED", K.REVOKED), ("CONSUMABLE_CANCELLED", None)])
def test_an_answer_that_has_not_heard_of_the_cancellation_is_asked_again(
    appstore: Appstore, word: str, kind: EntryKind | None
) -> None:
    """The notification ends it, though the service still calls it valid; it is asked again for the reason."""
    meaning = told(appstore, word, PLAN)

    assert [kind or K.REFUND_SUCCEEDED] == [said.kind for said in meaning.said]
    assert (RVS,) == meaning.unlearned


def test_an_expiry_says_why(appstore: Appstore) -> None:
    """SUBSCRIPTION_EXPIRED expires, whatever the answer; its reason is the answer's where there is one."""
    lapsed = {**PLAN, "renewalDate": None, "cancelDate": NOW_MS - 5, "cancelReason": 2}

    assert [(K.EXPIRED, "system_cancelled", NOW_MS - 5)] == ends(told(appstore, "SUBSCRIPTION_EXPIRED", lapsed))
    assert [(K.EXPIRED, "SUBSCRIPTION_EXPIRED", None)] == ends(told(appstore, "SUBSCRIPTION_EXPIRED", Missing(410)))


@pytest.mark.parametrize("word", ["SUBSCRIPTION_PURCHASED", "SUBSCRIPTION_RENEWED"])
def test_what_was_cancelled_before_the_notification_is_over(appstore: Appstore, word: str) -> None:
    """A `cancelDate` that is not after the notification ends what it gives, in the same breath."""
    answer = {**PLAN, "renewalDate": None, "cancelDate": NOW_MS}

    given, over = ends(told(appstore, word, {**answer, "cancelReason": 4}))
    assert (None, (K.EXPIRED, "replaced", NOW_MS)) == (given[2], over)
    assert (K.EXPIRED, "cancelled", NOW_MS) == ends(told(appstore, word, answer))[1]


@pytest.mark.parametrize("word", ["SUBSCRIPTION_IN_GRACE_PERIOD", "SUBSCRIPTION_AUTO_RENEWAL_OFF"])
def test_a_schedule_that_has_passed_is_an_end(appstore: Appstore, word: str) -> None:
    """Where the answer says that it ended already, nothing is scheduled any more."""
    answer = {**PLAN, "renewalDate": None, "cancelDate": NOW_MS - 1, "cancelReason": 2}

    assert [(K.EXPIRED, "system_cancelled", NOW_MS - 1)] == ends(told(appstore, word, answer))


# --- One-time products


@pytest.mark.parametrize(("reason", "why"), [(1, "customer_cancelled"), (0, "CONSUMABLE_CANCELLED")])
def test_what_was_bought_once_and_cancelled_is_refunded(appstore: Appstore, reason: int, why: str) -> None:
    """The refund stays whatever the reason, dated by the answer, in full, under the receipt's own id."""
    answer = {**COINS, "cancelDate": NOW_MS - DAY_MS, "cancelReason": reason}
    (said,) = told(appstore, "CONSUMABLE_CANCELLED", answer).said

    assert said.refund is not None
    assert (RECEIPT, "full", why, NOW_MS - DAY_MS) == (
        said.refund.platform_refund_id,
        said.refund.scope,
        said.refund.reason,
        said.refund.created_at_ms,
    )
    assert (K.REFUND_SUCCEEDED, "com.acme.coins", 1) == (said.kind, said.facts.product_id, said.facts.quantity)


def test_a_purchase_that_was_cancelled_since_is_bought_and_refunded(appstore: Appstore) -> None:
    """A one-time receipt with a `cancelDate` was returned, though its own notification was lost."""
    bought, back = told(appstore, "CONSUMABLE_PURCHASED", {**COINS, "cancelDate": NOW_MS + 5, "cancelReason": 1}).said

    assert (K.PURCHASED, K.REFUND_SUCCEEDED) == (bought.kind, back.kind)
    assert (NOW_MS + 5, RECEIPT) == (back.occurred_at_ms, back.refund and back.refund.platform_refund_id)


# --- No answer, and answers that are none


@pytest.mark.parametrize("word", ["SUBSCRIPTION_RENEWED", "CONSUMABLE_PURCHASED"])
def test_a_receipt_that_is_no_longer_valid_is_cancelled(appstore: Appstore, word: str) -> None:
    """410 takes access, and claims no refund: nobody said that money moved. It is final."""
    meaning = told(appstore, word, Missing(410))

    assert (K.REVOKED, "receipt_no_longer_valid", None) == ends(meaning)[1]
    assert ([None, None], ()) == ([said.refund for said in meaning.said], meaning.unlearned)


@pytest.mark.parametrize("word", ["SUBSCRIPTION_CANCELLED", "CONSUMABLE_CANCELLED", "SUBSCRIPTION_AUTO_RENEWAL_OFF"])
def test_a_receipt_that_amazon_does_not_know_leaves_the_notifications_word(appstore: Appstore, word: str) -> None:
    """400 says nothing about the receipt, and is final: what the notification said stands as if nobody had asked."""
    meaning = told(appstore, word, Missing(400))

    assert (told(appstore, word).said, ()) == (meaning.said, meaning.unlearned)


@pytest.mark.parametrize("answer", [[], "no", 7, {"cancelDate": "yesterday"}, {"purchaseDate": -1}])
def test_an_answer_of_another_shape_is_no_answer(appstore: Appstore, answer: Any) -> None:
    """Nothing is guessed from an answer that cannot be read, and it is still wanted."""
    assert told(appstore, "SUBSCRIPTION_CANCELLED") == told(appstore, "SUBSCRIPTION_CANCELLED", answer)


@pytest.mark.parametrize(
    ("facts", "product", "unlearned"),
    [
        ({}, None, (RVS, SANDBOX)),
        ({RVS: PLAN}, "com.acme.pro.annual", ()),
        ({RVS: Missing(400), SANDBOX: PLAN}, "com.acme.pro.annual", ()),
        ({RVS: Missing(400)}, None, (SANDBOX,)),
        ({RVS: Missing(400), SANDBOX: Missing(400)}, None, ()),
    ],
)
def test_a_test_is_learned_from_whoever_knows_it(
    appstore: Appstore, facts: dict[Lookup, Any], product: str | None, unlearned: tuple[Lookup, ...]
) -> None:
    """Of the two services that may know a test, the first that does is believed."""
    meaning = appstore.meaning(appstore.rtn("SUBSCRIPTION_RENEWED", betaProductTransaction=True), facts)

    assert (product, unlearned) == (meaning.said[0].facts.product_id, meaning.unlearned)


# --- Together, in the ledger


def entries(*meanings: Meaning) -> list[Entry]:
    """Tie what was said to the notifications that said it."""
    said = [(number, each) for number, meaning in enumerate(meanings) for each in meaning.said]
    return [entry(each, f"ent_{number}_{position}") for position, (number, each) in enumerate(said)]


def entry(said: Said, id_: str) -> Entry:
    """Make an entry of what was said."""
    return Entry(**dict(said), id=id_, app="acme", platform="amazon", source=Source(type="rtn"))


def test_one_receipt_is_one_purchase_through_all_renewals(appstore: Appstore) -> None:
    """Bought, renewed, in grace, paid after all: one purchase whose end moves, and access throughout."""
    month = {**PLAN, "purchaseDate": NOW_MS - 60 * DAY_MS}
    meanings = [
        told(appstore, word, {**month, **answer}, timestamp=at_ms)
        for word, at_ms, answer in (
            ("SUBSCRIPTION_PURCHASED", NOW_MS - 60 * DAY_MS, {"renewalDate": NOW_MS - 30 * DAY_MS}),
            ("SUBSCRIPTION_RENEWED", NOW_MS - 30 * DAY_MS, {"renewalDate": NOW_MS}),
            ("SUBSCRIPTION_IN_GRACE_PERIOD", NOW_MS, {"gracePeriodEndDate": NOW_MS + 6 * DAY_MS, "renewalDate": None}),
            ("SUBSCRIPTION_OUT_OF_GRACE_PERIOD", NOW_MS + DAY_MS, {"renewalDate": NOW_MS + 30 * DAY_MS}),
        )
    ]
    seen = []
    for known in range(1, 5):
        (purchase,) = fold(entries(*meanings[:known]), policy=acme().policy, products=acme().products).purchases
        seen.append((purchase.access, purchase.expires_at))

    ended = [NOW_MS - 30 * DAY_MS, NOW_MS, NOW_MS + 6 * DAY_MS, NOW_MS + 30 * DAY_MS]
    assert [(Access.ACTIVE, date // 1000) for date in ended] == seen


def test_a_replaced_plan_leaves_no_refund_behind(appstore: Appstore) -> None:
    """After a tier change the old receipt gives no access, the new one does, and no money is on record."""
    bought = told(appstore, "SUBSCRIPTION_PURCHASED", timestamp=NOW_MS - 60 * DAY_MS, receiptId="basic-plan")
    changed = told(appstore, "SUBSCRIPTION_MODIFIED_IMMEDIATE", relatedReceipts={"cancelledReceiptId": "basic-plan"})
    views = [
        fold(
            [each for each in entries(bought, changed) if each.subject.purchase_id == receipt],
            policy=acme().policy,
            products=acme().products,
        )
        for receipt in ("basic-plan", RECEIPT)
    ]

    assert [Access.EXPIRED, Access.ACTIVE] == [view.purchases[0].access for view in views]
    assert [(), ()] == [view.refunds for view in views]
