"""What is put together of parts is what pydantic writes of the whole.

Real: the nouns, the fold and the decisions. Double: nothing.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from handlers.samples import sample
from schemas.entry import Entry
from schemas.events import EVENT_TYPES
from schemas.resources import Customer, Purchase
from tests.laws.test_ledger_laws import told
from tests.strategies import some_entries
from worker.store.documents import Documents, plain

ANY = st.text(st.characters(exclude_categories=["Cs"]))


@given(some_entries())
def test_what_is_decided_is_written_as_pydantic_writes_it(entries: list[Entry]):
    """Every event of a story, twice, and every purchase is byte for byte what pydantic makes of it alone."""
    documents = Documents()
    book, events = told(entries)
    purchases = [purchase for lineage in book.lineages.values() for purchase in lineage.purchases]

    assert TypeAdapter(list[Purchase]).dump_json(purchases).decode() == documents.of_all(purchases)
    for event in (*events, *events):
        assert event.model_dump_json() == documents.of_event(event)
    for entry in entries:
        assert entry.model_dump_json(exclude_defaults=True) == plain(entry, exclude_defaults=True)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_type_is_written_as_pydantic_writes_it(event_type: str):
    """No type of event has a part that is forgotten, or in another place."""
    event = sample(event_type)

    assert event.model_dump_json() == Documents().of_event(event)


@given(st.sampled_from(list(EVENT_TYPES)), ANY, ANY, ANY)
def test_whatever_a_text_says_it_stays_within_its_quotes(event_type: str, app: str, user_id: str, product_id: str):
    """Quotes, backslashes, controls and letters beyond ASCII come out as pydantic writes them."""
    event = sample(event_type)
    purchase = event.data.purchase and event.data.purchase.model_copy(update={"product_id": product_id})
    changed: dict[str, Any] = {
        "app": app,
        "customer": Customer(user_id=user_id),
        "data": event.data.model_copy(update={"purchase": purchase}),
    }
    event = event.model_copy(update=changed)

    assert event.model_dump_json() == Documents().of_event(event)


def test_what_is_gone_lends_its_text_to_nobody():
    """A noun that nobody else holds keeps its number as long as its text is known."""
    documents = Documents()
    customers = [f'{{"user_id":"user-{number}"}}' for number in range(100)]

    assert customers == [documents.of(Customer(user_id=f"user-{number}")) for number in range(100)]
