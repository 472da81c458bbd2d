"""Stories of money that goes back: refunds whole and in parts, failed and undone, and the disputes of banks.

Real: placing, folding and deciding. Double: nothing. Asserted: what the API would show, after every order of arrival
of the same notifications (`settle`), and the events where their order is the story.
"""

from handlers.ledger import View, fold
from schemas.base import Access
from schemas.entry import EntryKind
from schemas.resources import Customer
from tests.handlers.entries import ANN, APPLE, PRICE, Story, acme, bought, day, dispute, money, settle, told, total

K = EntryKind


def test_half_of_an_annual_plan_is_refunded_after_six_months():
    """A goodwill refund of half the price leaves access, unless the app's policy says that it ends it."""
    half = (bought(0), money(K.REFUND_SUCCEEDED, 182, PRICE // 2))

    kept = settle(*half)
    assert ("active", "partial_refund=keep") == (kept.status(), kept.only.rule)
    assert PRICE // 2 == kept.only.amount_refunded
    assert "partial" == kept.refunds["re_1"].scope

    revoked = settle(*half, app=acme(partial_refund="revoke"))
    assert ("revoked", "partial_refund=revoke") == (revoked.status(), revoked.only.rule)


def test_two_partial_refunds_make_a_full_one():
    """Two refunds of half the price each are a refund of everything: access ends with the second, not the first."""
    story = settle(
        bought(0), money(K.REFUND_SUCCEEDED, 60, PRICE // 2, "re_1"), money(K.REFUND_SUCCEEDED, 61, PRICE // 2, "re_2")
    )

    assert "revoked" == story.status()
    assert PRICE == story.only.amount_refunded
    assert [
        "entitlement.granted",
        "refund.succeeded",
        "refund.succeeded",
        "entitlement.revoked",
    ] == [event.type for event in story.events]


def test_most_of_the_price_counts_as_all_of_it_where_the_app_says_so():
    """With `full_refund_from_percent = 90`, nine tenths revoke and a cent less does not."""
    app = acme(full_refund_from_percent=90)

    assert "revoked" == settle(bought(0), money(K.REFUND_SUCCEEDED, 60, PRICE * 9 // 10), app=app).status()
    assert "active" == settle(bought(0), money(K.REFUND_SUCCEEDED, 60, PRICE * 9 // 10 - 1), app=app).status()


def test_a_refund_fails_after_eight_days():
    """The bank of a closed account sends the money back: what the refund took comes back, and the app hears of it."""
    story = settle(
        bought(0),
        money(K.REFUND_SUCCEEDED, 100),
        money(K.REFUND_FAILED, 108, failed_reason="lost_or_stolen_card"),
    )

    assert "active" == story.status()
    assert 0 == story.only.amount_refunded
    refund = story.refunds["re_1"]
    assert ("failed", "lost_or_stolen_card", day(108) // 1000) == (
        refund.status,
        refund.failed_reason,
        refund.failed_at,
    )
    assert ["refund.failed", "entitlement.reinstated"] == [event.type for event in story.events[-2:]]
    assert story.events[-1].data.refund == refund


def test_a_chargeback_suspends_and_its_outcome_decides():
    """While the bank's case is open access is suspended; a won case gives it back, a lost one takes it for good."""
    opened = (bought(0), dispute(K.CHARGEBACK_OPENED, 40))

    assert ("suspended", "chargeback_opened=suspend") == (settle(*opened).status(), settle(*opened).only.rule)
    won = settle(*opened, dispute(K.CHARGEBACK_WON, 90))
    assert "active" == won.status()
    assert ["chargeback.won", "entitlement.reinstated"] == [event.type for event in won.events[-2:]]
    lost = settle(*opened, dispute(K.CHARGEBACK_LOST, 90))
    assert ("revoked", "chargeback_lost=revoke") == (lost.status(), lost.only.rule)
    assert ["chargeback.lost", "entitlement.revoked"] == [event.type for event in lost.events[-2:]]


def test_a_question_of_the_bank_takes_nothing():
    """An inquiry keeps access, is on no refund record, and may still become a chargeback."""
    asked = (bought(0), dispute(K.INQUIRY_OPENED, 40))

    kept = settle(*asked)
    assert ("active", {}) == (kept.status(), kept.refunds)
    assert "inquiry_opened=keep" == kept.only.rule
    assert "suspended" == settle(*asked, dispute(K.CHARGEBACK_OPENED, 50)).status()
    closed = settle(*asked, dispute(K.INQUIRY_CLOSED, 50))
    assert ("active", "bought") == (closed.status(), closed.only.rule)


def test_a_lost_case_is_not_reopened_by_late_words():
    """After the verdict no word but "won" gives access back."""
    # An "opened" or "question" with a later time used to soften a lost case to suspended or even active, where the
    # policy keeps access during those.
    app = acme(chargeback_opened="keep", inquiry_opened="keep")
    lost = (bought(0), dispute(K.CHARGEBACK_LOST, 50))
    for late in (K.CHARGEBACK_OPENED, K.INQUIRY_OPENED, K.INQUIRY_CLOSED):
        assert "revoked" == settle(*lost, dispute(late, 60), app=app).status()

    assert "active" == settle(*lost, dispute(K.CHARGEBACK_WON, 60), app=app).status()


def test_a_question_after_the_claim_changes_nothing():
    """An open chargeback is not softened to a question."""
    asked = settle(bought(0), dispute(K.CHARGEBACK_OPENED, 40), dispute(K.INQUIRY_OPENED, 41))

    assert "suspended" == asked.status()


def test_a_failed_refund_during_an_open_dispute_gives_nothing_back():
    """The refund failed, the bank still holds the money: access stays away for the dispute alone."""
    story = settle(
        bought(0),
        money(K.REFUND_SUCCEEDED, 30),
        dispute(K.CHARGEBACK_OPENED, 35),
        money(K.REFUND_FAILED, 38),
    )

    assert ("suspended", "chargeback_opened=suspend") == (story.status(), story.only.rule)


def test_apple_pays_back_a_share():
    """Apple names the share and not the amount: a part keeps access, all of it revokes, unused time by its own rule."""

    def refunded(share: int, scope: str, *, app=None):
        share_of = money(K.REFUND_SUCCEEDED, 60, None, share_millis=share, scope=scope, **APPLE)
        return settle(bought(0, **APPLE), share_of, app=app)

    assert "active" == refunded(40_000, "partial").status()
    assert "revoked" == refunded(100_000, "full").status()
    assert "revoked" == refunded(90_000, "partial", app=acme(full_refund_from_percent=90)).status()
    assert "prorated_refund=revoke" == refunded(40_000, "prorated").only.rule
    assert "active" == refunded(40_000, "prorated", app=acme(prorated_refund="keep")).status()


def test_apple_raises_the_share_of_a_refund():
    """A second partial refund of the same transaction is told again with its sum, and revokes when nothing is left."""
    # The growth used to be silent: books kept from `refund.succeeded` events missed the second half.
    story = Story()
    story.say(bought(0, **APPLE))
    half = money(K.REFUND_SUCCEEDED, 60, PRICE // 2, share_millis=50_000, scope="partial", **APPLE)
    whole = money(K.REFUND_SUCCEEDED, 90, PRICE, share_millis=100_000, scope="full", **APPLE)

    assert ["refund.succeeded"] == story.say(half)
    assert ["refund.succeeded", "entitlement.revoked"] == story.say(whole)
    assert [PRICE // 2, PRICE] == story.refunded_amounts
    assert [] == story.say(whole)


def test_a_refund_arrives_before_its_purchase():
    """The refund is kept whole, without a user; when the purchase becomes known it is revoked at once, and told."""
    story = Story()

    assert ["refund.succeeded"] == story.say(money(K.REFUND_SUCCEEDED, 60))
    assert (None, None) == (story.events[0].customer, story.events[0].sequence)
    assert (Access.UNKNOWN, "unknown_purchase") == (story.only.access, story.only.rule)
    assert "unknown_purchase" == story.events[0].data.cause.rule
    assert ["entitlement.revoked"] == story.say(bought(0))
    assert (1, Customer(user_id=ANN)) == (story.events[1].sequence, story.events[1].customer)
    assert story.refunds["re_1"] == story.events[1].data.refund
    assert (ANN, "full") == (story.refunds["re_1"].user_id, story.refunds["re_1"].scope)


def test_the_same_money_told_by_sum_and_by_name_counts_once():
    """`charge.refunded` tells a sum, `refund.created` a name: in either order it is one refund and one event."""
    for order in ((total(60, 3000), money(K.REFUND_SUCCEEDED, 60, 3000)),) * 2:
        for entries in (order, order[::-1]):
            story = Story()
            story.say(bought(0), *entries)

            assert 3000 == story.only.amount_refunded
            assert ["re_1"] == list(story.refunds)
            assert 1 == [event.type for event in story.events].count("refund.succeeded")


def test_two_refunds_told_by_sum_first_are_announced_once_each():
    """Both sums arrive before both names: every cent is announced, and none of them twice."""
    # A growing sum was silent, and each name was announced anew: events summed up to six tenths of the money.
    story = Story()
    story.say(bought(0), total(60, 3000), total(61, PRICE, full=True))
    assert [3000, PRICE] == story.refunded_amounts
    assert "revoked" == story.status()

    names = (money(K.REFUND_SUCCEEDED, 60, 3000, "re_1"), money(K.REFUND_SUCCEEDED, 61, PRICE - 3000, "re_2"))
    assert [] == story.say(*names)
    assert {"re_1": 3000, "re_2": PRICE - 3000} == {name: r.amount for name, r in story.refunds.items()}
    assert (PRICE, "revoked") == (story.only.amount_refunded, story.status())


def test_a_sum_beyond_what_is_named_is_a_refund_of_its_own():
    """Where the sum exceeds the named refunds, the rest is on record too, under the charge's own name."""
    story = settle(bought(0), money(K.REFUND_SUCCEEDED, 60, 3000), total(61, PRICE, full=True))

    assert {"re_1": 3000, "ch_annual:total": PRICE - 3000} == {n: r.amount for n, r in story.refunds.items()}
    assert "revoked" == story.status()


def test_a_failed_refund_is_not_resurrected_by_its_sum():
    """The sum was told while the refund still counted: once it failed, nothing is left of it."""
    story = settle(bought(0), total(60, PRICE, full=True), money(K.REFUND_FAILED, 68))

    assert ("active", 0) == (story.status(), story.only.amount_refunded)


def test_two_sums_within_a_second_end_in_the_higher_one():
    """Stripe's clock has seconds: of two sums in one the higher is the later, whatever their ids."""
    for said in range(4):
        assert PRICE == settle(bought(0), total(60, 3000, said=said), total(60, PRICE)).only.amount_refunded


def test_a_refund_in_another_currency():
    """What cannot be compared is not summed: it counts as everything, unless the platform called it a part."""
    euros = money(K.REFUND_SUCCEEDED, 60, 100, currency="eur")
    unknown = settle(bought(0), euros)
    part = settle(bought(0), money(K.REFUND_SUCCEEDED, 60, 100, currency="eur", scope="partial"))

    assert ("revoked", 0, "unknown") == (unknown.status(), unknown.only.amount_refunded, unknown.refunds["re_1"].scope)
    assert ("active", 0) == (part.status(), part.only.amount_refunded)


def test_an_amount_keeps_the_currency_it_was_told_in():
    """The app says 50 euros, the platform only "usd": nobody paid 50 dollars."""
    # Amount and currency used to be chosen one by one, so that one source's number got the other's currency.
    story = settle(bought(0, amount=None), told(0, amount=5000, currency="eur"))
    assert (5000, "eur") == (story.only.amount, story.only.currency)

    without = settle(bought(0, amount=None), told(0, amount=5000))
    assert (5000, "usd") == (without.only.amount, without.only.currency)


def test_a_refund_on_its_way():
    """A pending refund takes nothing by default; where the app wants it to, a part takes no more than it will later."""
    # With `pending_refund = "revoke"` a pending part of the price used to revoke what its success gave back.
    pending = (bought(0), money(K.REFUND_PENDING, 60))
    part = (bought(0), money(K.REFUND_PENDING, 60, 500))
    strict = acme(pending_refund="revoke")

    assert ("active", "pending_refund=keep") == (settle(*pending).status(), settle(*pending).only.rule)
    assert "revoked" == settle(*pending, app=strict).status()
    assert ("active", "partial_refund=keep") == (
        settle(*part, app=strict).status(),
        settle(*part, app=strict).only.rule,
    )
    rest = settle(*part, money(K.REFUND_SUCCEEDED, 50, PRICE - 500, "re_2"), app=strict)
    assert "pending_refund=revoke" == rest.only.rule


def test_a_canceled_refund_took_nothing():
    """A refund that was canceled on its way is on record, and nothing else changed."""
    story = settle(bought(0), money(K.REFUND_REQUIRES_ACTION, 60), money(K.REFUND_CANCELED, 70))

    assert ("active", "canceled", 0) == (story.status(), story.refunds["re_1"].status, story.only.amount_refunded)
    assert ["refund.pending", "refund.canceled"] == [event.type for event in story.events[1:]]


def test_apple_reverses_a_refund():
    """The customer paid after all: exactly what the refund took comes back, and a second refund takes it again."""
    undone = (bought(0), money(K.REFUND_SUCCEEDED, 60, scope="full"), money(K.REFUND_REVERSED, 70, None))

    assert ("active", "reversed") == (settle(*undone).status(), settle(*undone).refunds["re_1"].status)
    assert "revoked" == settle(*undone, money(K.REFUND_SUCCEEDED, 80, scope="full")).status()


def test_units_of_several():
    """Google pays back one of three units, then the others: a part keeps access, everything revokes."""
    three = bought(0, quantity=3, amount=None, currency=None)
    one = money(K.REFUND_SUCCEEDED, 60, None, "void:1", quantity=1, scope="quantity")

    assert "active" == settle(three, one).status()
    two = money(K.REFUND_SUCCEEDED, 61, None, "void:2", quantity=2, scope="quantity")
    assert "revoked" == settle(three, one, two).status()


def test_nothing_said_is_nothing_known():
    """A ledger without entries has no purchases and no refunds."""
    assert View((), ()) == fold([], policy=acme().policy, products=acme().products)
