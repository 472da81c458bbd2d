"""What one notification changes: the book after it, and the numbered events that tell of it."""

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given

from handlers.clusters import current, in_platform_order
from handlers.decide import decide
from handlers.periods import periods
from schemas.base import Access, Noun
from schemas.book import Book, Draft
from schemas.entry import Entry, EntryKind
from tests.handlers.entries import (
    ANN,
    BOB,
    BUNDLE,
    MONTHLY,
    NOW_MS,
    SUBSCRIPTION,
    Story,
    acme,
    bought,
    day,
    dispute,
    entry,
    money,
    told,
)
from tests.strategies import APP, some_entries

K = EntryKind


def test_nothing_new_changes_nothing():
    """What the book already holds makes no event and no difference."""
    once = decide(Book(), [bought(0)], app=acme(), now_ms=NOW_MS)
    twice = decide(once.book, [bought(0)], app=acme(), now_ms=NOW_MS)

    assert (once.book, ()) == (twice.book, twice.events)


def test_a_step_writes_what_it_concerns_and_nothing_else():
    """However much is in the book, a refund changes its own purchase, its customer and what that one may use."""
    story = Story()
    story.say(*(bought(0, f"ch_{user}", user_id=user) for user in (ANN, BOB, "eve")))
    step = decide(story.book, [money(K.REFUND_SUCCEEDED, 60, purchase="ch_bob")], app=acme(), now_ms=NOW_MS).changes

    assert {BOB} == {holder.user_id for holder in step.holdings} == {held.holder.user_id for held in step.entitlements}
    assert {("acme", BOB): 3} == step.sequences
    assert ["ch_bob"] == [p.purchase_id for lineage in step.lineages.values() for p in lineage.purchases]
    assert set(step.lineages) == set(step.refs.values())


@given(some_entries())
def test_what_is_made_on_trust_is_what_validation_makes(entries: list[Entry]):
    """Whatever the core makes without a second look at its values, pydantic makes of them too, and converts none."""
    merged = [period.facts for period in periods(in_platform_order(current(entries)))]
    step = decide(Book(), entries, app=APP, now_ms=NOW_MS)
    views = [noun for lineage in step.book.lineages.values() for noun in (*lineage.purchases, *lineage.refunds)]

    for noun in _nouns(*merged, *views, *step.book.entitlements.values(), *step.events):
        looked_at = type(noun).model_validate(noun.__dict__, strict=True)
        assert noun == looked_at
        assert noun.model_dump_json() == looked_at.model_dump_json()
        assert {name: type(value) for name, value in noun} == {name: type(value) for name, value in looked_at}
        assert hash(noun) == hash(looked_at)


@given(some_entries())
def test_a_draft_is_the_book_without_the_copies(entries: list[Entry]):
    """Steps written into a draft make the book that they make one by one, and leave alone what it was made of."""
    book, empty = Book(), Book()
    draft = Draft(empty)
    for each in entries:
        book = decide(book, [each], app=APP, now_ms=NOW_MS).book
        draft.take(decide(draft.book, [each], app=APP, now_ms=NOW_MS).changes)

    assert book == draft.book
    assert Book() == empty


def test_one_notification_may_say_several_things():
    """Everything one notification says is one step: what is bought and replaced in it is told as it ends."""
    ended = entry(K.EXPIRED, 0, "ch_old", product_id=MONTHLY, user_id=ANN)
    step = decide(Book(), [ended, bought(0)], app=acme(), now_ms=NOW_MS)

    assert ["entitlement.granted"] == [event.type for event in step.events]


def test_each_entitlement_of_a_product_is_told():
    """A bundle gives two things; its refund takes both, after the refund itself was told."""
    story = Story()

    assert ["entitlement.granted"] * 2 == story.say(bought(0, product_id=BUNDLE))
    assert ["refund.succeeded", "entitlement.revoked", "entitlement.revoked"] == story.say(
        money(K.REFUND_SUCCEEDED, 60)
    )
    assert [1, 2, 3, 4, 5] == [event.sequence for event in story.events]
    assert ["offline", "pro"] == [e.data.entitlement.key for e in story.events[-2:] if e.data.entitlement]


def test_every_customer_has_a_number_line():
    """Numbers count per customer from one, without a gap, whoever else is told in between."""
    story = Story()
    for number in range(3):
        for user in (ANN, BOB):
            story.say(bought(number, f"ch_{user}_{number}", user_id=user, expires_at_ms=day(400 + number)))

    assert [1, 1, 2, 2, 3, 3] == [event.sequence for event in story.events]
    assert 6 == len({event.id for event in story.events})


def test_an_event_says_what_caused_it():
    """The cause names the platform's notification and the rule; the app's own word and the clock have no platform."""
    story = Story()
    story.say(told(0, amount=9900, currency="usd"), money(K.REFUND_SUCCEEDED, 60))
    by_app, refunded, revoked = (event.data.cause for event in story.events)

    assert (None, None, "bought") == (by_app.platform, by_app.type, by_app.rule)
    assert ("stripe", "refund_succeeded", "full_refund=revoke") == (refunded.platform, refunded.type, refunded.rule)
    assert refunded == revoked
    assert "2026-12-31T00:00:00.000Z" == story.events[0].timestamp


def test_an_event_carries_the_refund_that_caused_it():
    """A refund is shown where it is the cause, and not beside every later change of a purchase that once had one."""
    # A renewal a month after a partial refund used to look as if that refund had renewed it.
    story = Story()
    story.say(bought(0, expires_at_ms=day(400)), money(K.REFUND_SUCCEEDED, 60, 500))
    story.say(entry(K.RENEWED, 90, expires_at_ms=day(700)))
    assert ("entitlement.renewed", None) == (story.events[-1].type, story.events[-1].data.refund)

    story.say(entry(K.REVOKED, 100))
    assert ("entitlement.revoked", None) == (story.events[-1].type, story.events[-1].data.refund)


def test_the_refund_that_failed_is_not_the_cause_of_what_another_took():
    """Of two refunds, the one that stands is shown when the purchase becomes known."""
    story = Story()
    story.say(money(K.REFUND_SUCCEEDED, 60, name="re_1"), money(K.REFUND_FAILED, 61, name="re_2"), bought(0))

    assert story.refunds["re_1"] == story.events[-1].data.refund


def test_an_open_case_is_shown_when_the_purchase_becomes_known():
    """A suspension names the chargeback that made it."""
    story = Story()
    story.say(dispute(K.CHARGEBACK_OPENED, 60), bought(0))

    assert ("entitlement.suspended", story.refunds["dp_1"]) == (story.events[-1].type, story.events[-1].data.refund)


def test_a_user_whose_purchases_all_went_hears_of_it():
    """Nothing is left behind: the entitlement ends as reassigned, once, and begins anew with a new purchase."""
    story = Story()
    story.say(bought(0), bought(1, user_id=BOB))
    left = story.entitlement(ANN)

    assert left is not None
    assert ("revoked", "reassigned", ()) == (left.status, left.reason, left.purchases)
    assert [] == story.say(bought(2, user_id=BOB))
    assert ["entitlement.granted"] == story.say(bought(3, "ch_new"))


def test_two_lineages_with_purchases_of_two_users_become_one():
    """Where a link shows that two purchases are one, the platform's last word on the user decides for both."""
    story = Story()
    story.say(
        bought(0, None, aliases=["invoice:in_1"], lineage=SUBSCRIPTION),
        bought(0.5, "ch_annual", aliases=["payment_intent:pi_1"], user_id=BOB),
    )
    assert ("active", "active") == (story.status(ANN), story.status(BOB))

    story.say(entry(K.LINKED, 1, None, aliases=["invoice:in_1", "payment_intent:pi_1"]))
    assert ("revoked", "active") == (story.status(ANN), story.status(BOB))
    assert "ch_annual" == story.only.purchase_id
    assert [story.only.id] == list(story.book.holdings[next(h for h in story.book.holdings if h.user_id == BOB)])


def test_what_the_clock_passed_counts_before_the_sweeper_says_so():
    """An expiry date in the past is an end, whatever the stored access still says."""
    story = Story()

    assert ["entitlement.expired"] == story.say(bought(0, expires_at_ms=day(30)))
    assert Access.ACTIVE is story.only.access


def test_what_was_erased_is_not_taken_again():
    """Where no entitlement is on record any more, a purchase that moves away leaves nothing to end."""
    story = Story()
    story.say(bought(0))
    story.book = replace(story.book, entitlements={})

    assert ["entitlement.granted"] == story.say(bought(1, user_id=BOB))


def test_an_event_shows_the_purchase_that_was_lost():
    """The older of two periods gave access to the end: its refund ends it, and it is the one that is shown."""
    story = Story()
    story.say(bought(0, "ch_1", lineage=SUBSCRIPTION), bought(30, "ch_2", lineage=SUBSCRIPTION))
    story.say(entry(K.EXPIRED, 40, "ch_2"))

    assert ["refund.succeeded", "entitlement.revoked"] == story.say(money(K.REFUND_SUCCEEDED, 60, purchase="ch_1"))
    assert (shown := story.events[-1].data.purchase) is not None
    assert ("ch_1", Access.REVOKED) == (shown.purchase_id, shown.access)


def test_a_revocation_without_money_has_no_refund_behind_it():
    """What the platform took back, or holds back, is not blamed on a refund that took nothing."""
    story = Story(acme(full_refund="keep"))
    story.say(bought(0), money(K.REFUND_SUCCEEDED, 10))

    story.say(entry(K.REVOKED, 20))
    assert ("entitlement.revoked", None) == (story.events[-1].type, story.events[-1].data.refund)


def test_a_contradiction_is_not_what_took_access():
    """Of two refunds the one whose money cannot be true is not shown as the cause."""
    story = Story()
    story.say(money(K.REFUND_SUCCEEDED, 10, amount_source="exact"))
    story.say(money(K.REFUND_SUCCEEDED, 20, name="re_2", amount_source="exact"))
    story.say(bought(0))

    assert "entitlement.revoked" == story.events[-1].type
    assert (cause := story.events[-1].data.refund) is not None
    assert "re_1" == cause.platform_refund_id


def _nouns(*nouns: Noun) -> Iterator[Noun]:
    """List these, and what is within them."""
    for noun in nouns:
        yield noun
        yield from _nouns(*(value for _, value in noun if isinstance(value, Noun)))
