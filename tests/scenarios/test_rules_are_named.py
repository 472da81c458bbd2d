"""The rule that decided is on every event and in the timeline, by a name that docs/policy.md explains.

Real: placing, folding, deciding, the store and its timeline. Double: nothing.
"""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given

from config.policy import Effect, Policy
from schemas.entry import Entry, EntryKind
from schemas.resources import Event
from tests.handlers.entries import ANN, PRICE, SUBSCRIPTION, Story, bought, day, dispute, entry, money, told, total
from tests.house.tree import ROOT
from tests.scenarios.policy_stories import EXAMPLES
from tests.scenarios.shop import COINS, hear, shop
from tests.strategies import APP, NOW_MS, some_entries
from worker.commit import Bookkeeper
from worker.store import migrate, timeline
from worker.store.engine import Store

K = EntryKind
WEIGHED = [rule for rule, field in Policy.model_fields.items() if "revoke" in get_args(field.annotation)]
"""The rules that say keep, suspend or revoke. The others say how much is everything, and what becomes of units."""


def _explained() -> set[str]:
    """List every name that the page explains: rules with their effects, and what is no policy."""
    table = (ROOT / "docs" / "policy.md").read_text("utf-8").partition("\n## What is no policy\n")[2]
    return {f"{rule}={effect}" for rule in WEIGHED for effect in get_args(Effect)} | set(
        re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    )


STORIES: dict[str, tuple[Entry, ...]] = {
    "renewed": (bought(0, expires_at_ms=day(400)), entry(K.RENEWED, 300, expires_at_ms=day(700))),
    "ended by its platform": (bought(0), entry(K.EXPIRED, 300, reason="voluntary")),
    "ended by its date": (bought(0, expires_at_ms=day(500)), entry(K.LAPSED, 500, expires_at_ms=day(500))),
    "on hold, and on again": (bought(0), entry(K.SUSPENDED, 30), entry(K.RESUMED, 33)),
    "taken back by its platform": (bought(0), entry(K.REVOKED, 30)),
    "asked for and declined": (
        bought(0),
        money(K.REFUND_REQUESTED, 10, None),
        money(K.REFUND_DECLINED, 12, None),
    ),
    "under way, and canceled": (bought(0), money(K.REFUND_PENDING, 10), money(K.REFUND_CANCELED, 12)),
    "waiting for the customer": (bought(0), money(K.REFUND_REQUIRES_ACTION, 10)),
    "refunded, and reversed": (bought(0), money(K.REFUND_SUCCEEDED, 10), money(K.REFUND_REVERSED, 12)),
    "refunded, and failed": (bought(0), money(K.REFUND_SUCCEEDED, 10), money(K.REFUND_FAILED, 12)),
    "refunded by a sum": (bought(0), total(10, PRICE, full=True)),
    "disputed, and won": (bought(0), dispute(K.CHARGEBACK_OPENED, 10), dispute(K.CHARGEBACK_WON, 60)),
    "disputed, and lost": (bought(0), dispute(K.CHARGEBACK_OPENED, 10), dispute(K.CHARGEBACK_LOST, 60)),
    "asked about": (bought(0), dispute(K.INQUIRY_OPENED, 10)),
    "seats refunded": (bought(0, quantity=5), money(K.REFUND_SUCCEEDED, 10, None, seats=2)),
    "coins refunded, and not": (
        bought(0, product_id=COINS, kind="consumable"),
        money(K.REFUND_SUCCEEDED, 10),
        money(K.REFUND_FAILED, 12),
    ),
    "refunded before it was told": (money(K.REFUND_SUCCEEDED, 10), told(0)),
    "somebody else's": (bought(0, user_id="cus_1", user_authority="guess"), told(0)),
    "canceled and refunded": (
        bought(0, lineage=SUBSCRIPTION),
        entry(K.EXPIRED, 5, None, lineage=SUBSCRIPTION),
        money(K.REFUND_SUCCEEDED, 6),
    ),
    **{rule: (*example().before, *example().then) for rule, example in EXAMPLES.items()},
}


@cache
def _stories() -> tuple[Story, ...]:
    """Tell all stories, under the default policy and with each rule on each of its effects."""
    policies = [{}, *({rule: effect} for rule in WEIGHED for effect in get_args(Effect))]
    stories = [Story(shop(**policy)) for policy in policies for _ in STORIES]
    for story, entries in zip(stories, list(STORIES.values()) * len(policies), strict=True):
        hear(story, *([each] for each in entries))
    return tuple(stories)


def _unnamed(events: Iterable[Event]) -> list[Event]:
    """List the events that name no rule, or one that nobody explains."""
    explained = _explained()
    return [event for event in events if event.data.cause.rule not in explained]


@pytest.mark.unit
def test_every_type_of_event_names_its_rule() -> None:
    """Each type of event that docs/api.md lists is told in some story, and names a rule."""
    feed = (ROOT / "docs" / "api.md").read_text("utf-8").partition("\n## The feed\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", feed, flags=re.MULTILINE)
    events = [event for story in _stories() for event in story.events]

    assert {type_ for row in rows for type_ in re.findall(r"`([^`]+)`", row)} == {event.type for event in events}
    assert [] == _unnamed(events)


@pytest.mark.unit
def test_every_name_of_a_rule_can_be_met() -> None:
    """The page explains no name that neither an event nor a purchase bears."""
    on_events = {event.data.cause.rule for story in _stories() for event in story.events}
    on_purchases = {purchase.rule for story in _stories() for purchase in story.purchases.values()}

    assert _explained() == on_events | on_purchases


@pytest.mark.unit
@given(some_entries())
def test_events_name_the_rule_that_decided(entries: list[Entry]) -> None:
    """Whatever is said, every event names a rule that the page explains, and that of its purchase if it shows one."""
    story = Story(APP, now_ms=NOW_MS)
    hear(story, *([each] for each in entries))

    assert [] == _unnamed(story.events)
    assert all(e.data.purchase.rule == e.data.cause.rule for e in story.events if e.data.purchase)


def test_the_timeline_names_the_rule(tmp_path: Path) -> None:
    """What was concluded stands in the customer's timeline under the rule that its event named."""
    story = (bought(0), money(K.REFUND_SUCCEEDED, 60, PRICE // 2), dispute(K.CHARGEBACK_OPENED, 70))
    store = Store(f"sqlite:///{tmp_path / 'clawback.db'}")
    migrate.upgrade(store)
    with store.write() as connection:
        keeper = Bookkeeper(connection, story, now_ms=day(71))
        for each in story:
            keeper.tell([each], shop())
        keeper.write()
    with store.read() as connection:
        found = timeline.list_timeline(connection, {"user_id": ANN}, after=None, limit=100)
    store.close()

    shown = [item for _, item in found if not item.type.startswith("ledger.")]
    assert {event.id: event.data.cause.rule for event in keeper.events} == {item.id: item.rule for item in shown}
    assert {"bought", "partial_refund=keep", "chargeback_opened=suspend"} == {item.rule for item in shown}
