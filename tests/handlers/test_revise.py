"""What is said again is said once, and what is said better replaces what was said before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import ids
from handlers.clusters import current
from handlers.placing import refs_of
from handlers.revise import Origin, revise
from schemas.entry import Entry, EntryKind, PurchaseFacts, RefundFacts, Said, Subject

ORIGIN = Origin("acme", "google", "ntf_annual", "pubsub-1", "SUBSCRIPTION_RENEWED")
RENEWED_MS = 1_770_000_000_000
TOKEN = Subject(lineage=("token:annual",))
RENEWED = Said(kind=EntryKind.RENEWED, occurred_at_ms=RENEWED_MS, subject=TOKEN)
BETTER = RENEWED.model_copy(
    update={
        "subject": TOKEN.model_copy(update={"purchase_id": "GPA.3345..0"}),
        "facts": PurchaseFacts(product_id="pro.annual"),
    }
)
VOIDED = Said(
    kind=EntryKind.REFUND_SUCCEEDED,
    occurred_at_ms=RENEWED_MS,
    subject=Subject(),
    refund=RefundFacts(platform_refund_id="GPA.3345..0"),
)


def test_the_first_word_has_the_ids_it_always_had():
    """What a notification says at first goes by the notification and the place of each thing said."""
    entries = revise([RENEWED, BETTER], ORIGIN)

    assert [ids.make("ent", "ntf_annual", 0), ids.make("ent", "ntf_annual", 1)] == [entry.id for entry in entries]
    assert [0, 0] == [entry.revision for entry in entries]
    assert ("ntf_annual", "pubsub-1", "SUBSCRIPTION_RENEWED") == (
        entries[0].source.notification,
        entries[0].source.notification_id,
        entries[0].source.type,
    )
    assert ("acme", "google", RENEWED.subject) == (entries[0].app, entries[0].platform, entries[0].subject)


def test_a_better_word_is_the_next_revision():
    """What says something else has ids and a revision of its own."""
    first = revise([RENEWED], ORIGIN)
    (second,) = revise([BETTER], ORIGIN, first)
    (third,) = revise([RENEWED], ORIGIN, (*first, second))

    assert (1, ids.make("ent", "ntf_annual", 0, 1)) == (second.revision, second.id)
    assert (2, ids.make("ent", "ntf_annual", 0, 2)) == (third.revision, third.id)


def test_what_is_taken_back_leaves_its_names():
    """A notification that turns out to say nothing says nothing in place of each thing that it said."""
    held = revise([BETTER, VOIDED], ORIGIN)
    gone = revise([], ORIGIN, held)

    assert [EntryKind.LINKED, EntryKind.LINKED] == [entry.kind for entry in gone]
    assert BETTER.subject == gone[0].subject
    assert PurchaseFacts() == gone[0].facts
    assert {ref.ref for ref in refs_of(held[1])} == {ref.ref for ref in refs_of(gone[1])}
    assert () == revise([], ORIGIN, (*held, *gone))


def test_nothing_said_of_nothing_is_nothing():
    """What never meant anything has no entries."""
    assert () == revise([], ORIGIN)


SAID = st.lists(st.sampled_from([RENEWED, BETTER, VOIDED]), max_size=3)


@given(st.lists(SAID, min_size=1, max_size=6))
def test_only_the_last_reading_counts(readings):
    """However often and however a notification is read, what counts is what the last reading says, and it is stable."""
    held: tuple[Entry, ...] = ()
    for said in readings:
        held = (*held, *revise(said, ORIGIN, held))
        assert () == revise(said, ORIGIN, held)

    last = current(held)
    if readings[-1] or not held:
        assert sorted(map(repr, readings[-1])) == sorted(repr(_said(entry)) for entry in last)
    else:
        assert {EntryKind.LINKED} == {entry.kind for entry in last}
    assert len(held) == len({entry.id for entry in held})


def _said(entry: Entry) -> Said:
    return Said.model_validate({name: getattr(entry, name) for name in Said.model_fields})


@pytest.mark.parametrize("said", [[RENEWED], [BETTER, VOIDED]])
def test_the_same_again_adds_nothing(said):
    """A repetition makes no entry."""
    assert () == revise(said, ORIGIN, revise(said, ORIGIN))
