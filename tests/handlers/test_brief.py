"""An event is small, however long the history behind it and however long the words of a platform."""

import json
from typing import Any

import pytest

from handlers.brief import brief
from handlers.samples import sample
from schemas.entry import EntryKind
from schemas.events import ALIASES_MAX, EVENT_TYPES, PURCHASES_MAX, TEXT_CHARACTERS_MAX
from schemas.resources import Event
from tests.handlers.entries import MONTHLY, Story, bought, day, money
from tests.scenarios.shop import hear

pytestmark = pytest.mark.unit

BYTES_MAX = 20_000
"""Standard Webhooks, "Payload structure": "we recommend keeping payloads small (< 20kb)"."""
LONG_TEXT = "because " * 10_000

# What `POST /v1/purchases` takes of an id, and more than any platform makes one; a purchase token may have 4,096. It
# is the name of a subscription or the alias of what is bought once, never both.
ID, TOKEN = "i" * 512, "t" * 4096
WORDS = "w" * TEXT_CHARACTERS_MAX
LONGEST: dict[str, Any] = {
    **dict.fromkeys(("user_id", "product_id", "purchase_id", "platform_refund_id", "reference", "receipt_number"), ID),
    **dict.fromkeys(("reason", "description", "failed_reason", "access_reason", "contradiction"), WORDS),
    **dict.fromkeys(("app", "key"), "a" * 100),
    "original_purchase_id": TOKEN,
    "notification_id": ID * 2,
    "purchases": ["pur_" + "f" * 24] * PURCHASES_MAX,
    "aliases": [f"one_time:{ID}", *(["payment_intent:pi_" + "x" * 30] * (ALIASES_MAX - 1))],
    "entitlements": ["k" * 100] * 5,
}
"""The longest that each field which can grow ever is."""


def bytes_of(event: Event) -> int:
    """Count what is sent."""
    return len(event.model_dump_json().encode())


def stretched(value: Any) -> Any:
    """Make everything in an event as long as it can become."""
    if not isinstance(value, dict):
        return value
    return {name: LONGEST[name] if name in LONGEST else stretched(inner) for name, inner in value.items()}


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_sample_is_far_below_the_bound(event_type: str) -> None:
    """An event as it is every day has a tenth of what it may have."""
    assert bytes_of(sample(event_type)) < BYTES_MAX / 6


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_longest_event_is_below_the_bound(event_type: str) -> None:
    """With every list full, every text at its bound and every id as long as one can be told, an event is small."""
    event = stretched(sample(event_type).model_dump(mode="json"))

    assert BYTES_MAX / 2 < bytes_of(Event.model_validate_json(json.dumps(event))) < BYTES_MAX


def test_a_weekly_subscription_of_ten_years() -> None:
    """Of 520 periods behind an entitlement an event names the newest 100; the entitlement itself keeps all."""
    weeks = [bought(week / 10, f"ch_{week}", product_id=MONTHLY, expires_at_ms=day(400 + week)) for week in range(520)]
    story = Story()
    hear(story, weeks[:-1], weeks[-1:])

    shown, kept = story.events[-1].data.entitlement, story.entitlement()
    assert shown is not None
    assert kept is not None
    assert (520, kept.purchases[:PURCHASES_MAX]) == (len(kept.purchases), shown.purchases)
    assert bytes_of(story.events[-1]) < BYTES_MAX


def test_words_without_end() -> None:
    """A reason and a description of 80 kB are cut where an event shows them, and whole on the record."""
    story = Story()
    story.say(
        bought(0),
        money(EntryKind.REFUND_SUCCEEDED, 60, reason=LONG_TEXT, description=LONG_TEXT),
        money(EntryKind.REFUND_FAILED, 61, failed_reason=LONG_TEXT),
    )

    assert LONG_TEXT == story.refunds["re_1"].description
    for event in story.events:
        assert bytes_of(event) < BYTES_MAX
    refund = next(event.data.refund for event in story.events if event.type == "refund.failed")
    assert refund is not None
    assert LONG_TEXT[: TEXT_CHARACTERS_MAX - 1] + "…" == refund.description == refund.failed_reason


def test_what_is_in_order_stays_itself() -> None:
    """Nothing is copied that needs no cut."""
    event = sample("entitlement.revoked")

    assert event.data.purchase is not None
    assert brief(event.data.purchase) is event.data.purchase
