"""The laws of the ledger, over the real fold and the real decisions.

Real: everything in `handlers`. Double: nothing. Asserted: what the ten laws of the architecture say, on whatever
mixture of entries Hypothesis can make.
"""

from collections import Counter
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from handlers.decide import decide
from handlers.ledger import fold
from handlers.life import LIFE
from handlers.refunds import REFUSED, STATES, TRANSITIONS
from schemas.base import Access
from schemas.book import Book, Held
from schemas.entry import Entry, EntryKind
from schemas.resources import Event, Purchase, Refund
from tests.effort import law
from tests.strategies import APP, NOW_MS, an_entry, some_entries

K = EntryKind
LIFECYCLE = (
    K.PURCHASED, K.RENEWED, K.EXPIRED, K.LAPSED, K.LINKED, K.SUSPENDED, K.RESUMED, K.RESCHEDULED, K.SIGNALED,
)  # fmt: skip


def told(entries: Iterable[Entry], book: Book | None = None) -> tuple[Book, list[Event]]:
    """Tell a book entries one by one, as notifications come."""
    book = book or Book()
    events: list[Event] = []
    for entry in entries:
        decision = decide(book, [entry], app=APP, now_ms=NOW_MS)
        book = decision.book
        events += decision.events
    return book, events


def standing(book: Book) -> tuple[dict[str, Purchase], dict[str, Refund], dict[Held, tuple[str, int | None]]]:
    """Reduce a book to what the API would show of it."""
    purchases = {p.id: p for lineage in book.lineages.values() for p in lineage.purchases}
    refunds = {r.id: r for lineage in book.lineages.values() for r in lineage.refunds}
    active: dict[Held, tuple[str, int | None]] = {
        held: (e.status, e.expires_at) for held, e in book.entitlements.items() if e.purchases
    }
    return purchases, refunds, active


@law
@given(some_entries())
def test_idempotence(entries: list[Entry]):
    """Saying the same again adds nothing: no entry, no event, no change."""
    once, _ = told(entries)
    twice, events = told(entries, once)

    assert once == twice
    assert [] == events


@law
@given(some_entries(), st.randoms(use_true_random=False))
def test_convergence(entries: list[Entry], random):
    """Any order and any duplication of the same entries ends in the same state and the same records."""
    shuffled = entries + entries[: len(entries) // 2]
    random.shuffle(shuffled)

    assert standing(told(entries)[0]) == standing(told(shuffled)[0])


@law
@given(some_entries(), an_entry(kinds=LIFECYCLE))
def test_no_resurrection(entries: list[Entry], later: Entry):
    """A revoked purchase stays revoked, whatever is said of its life: only undoing that revocation brings it back."""
    # That less was paid back than was paid, or that it was bought after the end of its lineage, would be news of
    # another kind: it shows that there was nothing to revoke.
    quiet = {"amount": None, "currency": None, "quantity": None, "quantity_left": None, "purchased_at_ms": None}
    later = later.model_copy(update={"facts": later.facts.model_copy(update=quiet)})
    before = {key for key, p in standing(told(entries)[0])[0].items() if p.access is Access.REVOKED}
    after, _, _ = standing(told([*entries, later])[0])

    assert all(after[key].access is Access.REVOKED for key in before if key in after)


@law
@given(some_entries())
def test_conservation(entries: list[Entry]):
    """Never is more shown as refunded than was paid, and every amount is an integer of one currency."""
    purchases, refunds, _ = standing(told(entries)[0])

    assert all(p.amount_refunded <= p.amount for p in purchases.values() if p.amount is not None)
    assert all(isinstance(r.amount, int | None) for r in refunds.values())
    assert all(r.currency for r in refunds.values() if r.amount is not None)


@law
@given(some_entries())
def test_rebuild(entries: list[Entry]):
    """What is stored of a lineage equals the fold of its entries, made anew."""
    book, _ = told(entries)

    for lineage in book.lineages.values():
        view = fold(lineage.entries, policy=APP.policy, products=APP.products)
        assert (view.purchases, view.refunds) == (lineage.purchases, lineage.refunds)


@law
@given(some_entries())
def test_announcement(entries: list[Entry]):
    """A subscriber that believes its events knows every entitlement's status, and misses no number."""
    book, events = told(entries)
    known: dict[tuple[str, str], str] = {}
    numbers: dict[str, int] = {}
    for event in events:
        if event.customer is None:
            assert event.sequence is None
            continue
        numbers[event.customer.user_id] = numbers.get(event.customer.user_id, 0) + 1
        assert numbers[event.customer.user_id] == event.sequence
        if held := event.data.entitlement:
            changed = known.get((held.user_id, held.key)) != held.status
            assert changed or event.type == "entitlement.renewed"
            known[held.user_id, held.key] = held.status

    assert {(held.holder.user_id, held.key): e.status for held, e in book.entitlements.items()} == known
    assert len({event.id for event in events}) == len(events)


@given(some_entries())
def test_balances_are_announced(entries: list[Entry]):
    """A subscriber that follows its balance events has taken exactly the units that the ledger says went back."""
    book, events = told(entries)
    taken = Counter[str]()
    for event in events:
        if event.data.balance and event.customer:
            assert 0 < event.data.balance.units
            sign = 1 if event.type == "balance.clawed_back" else -1
            taken[event.customer.user_id] += sign * event.data.balance.units

    gone = Counter[str]()
    for purchase in standing(book)[0].values():
        if purchase.user_id:
            gone[purchase.user_id] += purchase.units_clawed_back
    assert +gone == +taken


@given(some_entries())
def test_no_units_are_taken_that_were_not_bought(entries: list[Entry]):
    """Refunds never take back more units than the purchase was worth, and none of what is no consumable."""
    purchases, _, _ = standing(told(entries)[0])

    assert all(0 <= p.units_clawed_back <= (p.units or 0) for p in purchases.values())


def test_table_is_total():
    """Every pair of a refund's state and a kind of entry has a next state or is refused by name, never both."""
    kinds = {kind for _, kind in TRANSITIONS}
    pairs = {(state, kind) for state in STATES for kind in kinds}

    assert pairs == TRANSITIONS.keys() | REFUSED.keys()
    assert not TRANSITIONS.keys() & REFUSED.keys()
    assert set(EntryKind) == set(LIFE)


@law
@given(some_entries())
def test_what_undoes_a_refund_gives_back(entries: list[Entry]):
    """A purchase whose every refund and chargeback was undone, and that nothing else ended, gives access again."""
    purchases, refunds, _ = standing(told(entries)[0])
    open_charges = {r.charge_id for r in refunds.values() if r.status in ("succeeded", "pending", "requires_action")}
    other = {K.REVOKED, K.MEMBER_REMOVED, K.SUSPENDED, K.EXPIRED, K.LAPSED, K.INQUIRY_OPENED}
    if any(entry.kind in other for entry in entries):
        return

    free = [p for p in purchases.values() if p.id not in open_charges]
    assert all(p.access in (Access.ACTIVE, Access.UNKNOWN) for p in free)
