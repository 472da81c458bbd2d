"""Whose word counts when several sources speak of one purchase."""

from handlers.clusters import in_platform_order
from handlers.facts import RENEWAL_LEAD_MS, merge, users
from schemas.entry import Entry, EntryKind, PurchaseFacts
from tests.handlers.entries import (
    ANN,
    ANNUAL,
    BOB,
    DAY_MS,
    GOOGLE,
    MONTHLY,
    PRICE,
    bought,
    day,
    entry,
    money,
    settle,
    told,
)

K = EntryKind


def merged(*own: Entry, whole: tuple[Entry, ...] = (), lineage: tuple[Entry, ...] = ()) -> PurchaseFacts:
    """Merge entries of one purchase."""
    ordered = in_platform_order(own)
    return merge(ordered, in_platform_order(whole), users(in_platform_order((*own, *whole, *lineage))))


def test_the_platform_wins_over_the_app():
    """What the platform says of product, price and dates counts, whatever the app told and whenever."""
    facts = merged(bought(0), told(200, product_id=MONTHLY, amount=1, currency="eur"))

    assert (ANNUAL, PRICE, "usd") == (facts.product_id, facts.amount, facts.currency)


def test_the_platforms_latest_word_wins():
    """The platform corrects itself: its later word counts."""
    assert BOB == merged(bought(0), bought(1, user_id=BOB)).user_id
    assert 5 == merged(bought(0), bought(1, quantity=5)).quantity


def test_the_apps_first_word_stays():
    """A later call of the app fills a gap, and changes nothing that it said before."""
    facts = merged(told(0, quantity=1), told(1, quantity=2, amount=500, currency="usd"))

    assert (1, 500) == (facts.quantity, facts.amount)
    assert ANN == merged(told(0), told(1, user_id=BOB)).user_id


def test_a_user_is_inherited_from_another_period():
    """One period's user is that of all; a guess gives way to what is known of any other period."""
    other = (told(30, "ch_other"),)

    assert ANN == merged(bought(0, user_id=None), lineage=other).user_id
    assert ANN == merged(bought(0, user_id="cus_1", user_authority="guess"), lineage=other).user_id
    assert "cus_1" == merged(bought(0, user_id="cus_1", user_authority="guess")).user_id
    assert merged(bought(0, user_id=None)).user_id is None


def test_the_product_is_inherited_from_the_whole_lineage():
    """What was said of a whole subscription names the product of a period that says none."""
    whole = (entry(K.PURCHASED, 0, None, product_id=MONTHLY, kind="subscription", **GOOGLE),)
    facts = merged(told(0, "GPA.1", product_id=None, **GOOGLE), whole=whole)

    assert (MONTHLY, "subscription") == (facts.product_id, facts.kind)


def test_an_undated_renewal_outdates_what_ends_within_a_day_of_it():
    """A store charges up to a day before the next period begins: a date beyond that is the new one."""
    renewed = entry(K.RENEWED, 29)
    edge = day(29) + RENEWAL_LEAD_MS

    assert merged(bought(0, expires_at_ms=edge), renewed).expires_at_ms is None
    assert edge + 1 == merged(bought(0, expires_at_ms=edge + 1), renewed).expires_at_ms
    assert DAY_MS == RENEWAL_LEAD_MS


def test_of_two_dates_the_later_word_counts():
    """What was said of the purchase itself is not outweighed by an older word about its whole lineage."""
    # Words about the lineage used to count as the latest, whenever they were said.
    whole = (entry(K.RENEWED, 10, None, expires_at_ms=day(40), **GOOGLE),)
    own = entry(K.RENEWED, 20, "GPA.1", expires_at_ms=day(50), **GOOGLE)

    assert day(50) == merged(own, whole=whole).expires_at_ms


def test_the_price_of_a_purchase_is_no_single_payment():
    """Two payments and an invoice tell sums of one purchase: the highest is what was paid, whoever spoke last."""
    # The last word counted, so the refund of one of two payments was a full one and took the period.
    invoice = bought(0, None, aliases=["invoice:in_1"], amount=12000)
    first = bought(0, "ch_1", aliases=["invoice:in_1"], amount=6000)

    story = settle(invoice, first, money(K.REFUND_SUCCEEDED, 60, 6000, purchase="ch_1"))
    assert (12000, "active", "partial_refund=keep") == (story.only.amount, story.status(), story.only.rule)


def test_a_platforms_own_name_of_a_product_gives_way():
    """Stripe's `prod_…` from an invoice line counts only while nobody says what the app calls it."""
    line = bought(0, product_id="prod_3", product_authority="guess")

    assert "prod_3" == settle(line).only.product_id
    assert ANNUAL == settle(line, told(5)).only.product_id
    assert ANNUAL == settle(line, bought(0, said=1)).only.product_id
