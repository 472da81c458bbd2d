"""What the house really tells is what docs/events says, by an independent validator, and small.

Real: the published files, folding, deciding. Double: nothing. Every story of the scenarios is told under every policy,
and whatever hypothesis makes platforms say.
"""

import json
from functools import cache

import jsonschema_rs
import pytest
from hypothesis import given

from schemas.entry import Entry
from schemas.events import EVENT_TYPES
from schemas.resources import Event
from tests.handlers.entries import Story
from tests.scenarios.shop import hear
from tests.scenarios.test_rules_are_named import _stories
from tests.strategies import APP, NOW_MS, some_entries
from tests.wire.publishing import FOLDER

pytestmark = pytest.mark.unit

BYTES_MAX = 20_000


@cache
def _validator(event_type: str) -> jsonschema_rs.Validator:
    page = json.loads((FOLDER / f"{event_type}.json").read_text("utf-8"))
    return jsonschema_rs.validator_for(page, validate_formats=True)


def check(event: Event) -> None:
    """Take an event as a subscriber gets it, and hold it against the schema of its type."""
    sent = event.model_dump_json().encode()
    _validator(event.type).validate(json.loads(sent))
    assert len(sent) < BYTES_MAX


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_type_is_told_in_some_story_and_is_what_its_schema_says(event_type: str) -> None:
    """There is no type that no story tells, and every one that is told fits the published schema."""
    told = [event for story in _stories() for event in story.events if event.type == event_type]

    assert told
    for event in told:
        check(event)


@given(some_entries())
def test_whatever_is_said_events_fit_their_schemas(entries: list[Entry]) -> None:
    """However platforms contradict, repeat and overtake themselves, each event is what its schema says."""
    story = Story(APP, now_ms=NOW_MS)
    hear(story, *([each] for each in entries))

    for event in story.events:
        check(event)


def test_an_event_that_lacks_a_field_does_not_fit() -> None:
    """The check can fail: without a field, or with another value in it, an event is refused."""
    event = next(event for story in _stories() for event in story.events if event.data.refund)
    for field, value in (("amount", "99.00"), ("status", "gone")):
        sent = json.loads(event.model_dump_json())
        sent["data"]["refund"][field] = value
        assert not _validator(event.type).is_valid(sent)
        del sent["data"]["refund"][field]
        assert not _validator(event.type).is_valid(sent)
