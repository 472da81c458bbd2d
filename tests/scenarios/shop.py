"""Acme's shop, for stories in the words of a product manager: what it sells, and how a story is told and checked.

A story is a handful of notifications. Each arrives whole, however many things it says; what the shop then shows must
not depend on which came first.
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

from config.policy import Policy
from config.products import Product
from config.settings import App
from handlers.decide import decide
from schemas.entry import Entry, EntryKind
from schemas.resources import Event
from tests.handlers.entries import ANNUAL, DAY_MS, MONTHLY, START_MS, Story, day, entry

Notification = Sequence[Entry]
"""Everything that one notification says."""

LIFETIME, COINS = "acme.pro.lifetime", "acme.coins.100"
COINS_PRICE, MONTHLY_PRICE, LIFETIME_PRICE = 499, 999, 19900
FAMILY_PLAN = "acme.pro.family.annual"


def shop(**policy: Any) -> App:
    """Configure what Acme sells, with the rules that a story changes. A pack of coins is worth 100 of them."""
    pro = Product(entitlements=("pro",))
    return App(
        policy=Policy(**policy),
        products={
            ANNUAL: pro,
            MONTHLY: pro,
            FAMILY_PLAN: pro,
            LIFETIME: Product(kind="non_consumable", entitlements=("pro",)),
            COINS: Product(kind="consumable", units=100),
        },
    )


def hear(story: Story, *notifications: Notification) -> list[Event]:
    """Let notifications arrive, each in one piece; give the events that follow."""
    before = len(story.events)
    for entries in notifications:
        decision = decide(story.book, entries, app=story.app, now_ms=story.now_ms)
        story.book = decision.book
        story.events += decision.events
    return story.events[before:]


def hear_in_any_order(*notifications: Notification, app: App | None = None, on_day: float = 364) -> Story:
    """Tell a story in the order in which it is written, having made sure that every order of arrival ends the same.

    Args:
        notifications: of which it is made.
        app: the shop, if the story changes its rules.
        on_day: when it is told, counted from the first of January: what runs out before is over.
    """
    story = Story(app or shop(), now_ms=day(on_day))
    hear(story, *notifications)
    for order in permutations(notifications):
        other = Story(story.app, now_ms=story.now_ms)
        hear(other, *order)
        assert story.standing() == other.standing()
    return story


def run_out(story: Story) -> list[Entry]:
    """Let our clock look for what has run out, as the sweeper does."""
    over = [p for p in story.purchases.values() if p.lapses_at is not None and p.lapses_at * 1000 <= story.now_ms]
    return [
        entry(EntryKind.LAPSED, (ends_ms - START_MS) / DAY_MS, purchase.purchase_id, expires_at_ms=ends_ms)
        for purchase in over
        if (ends_ms := (purchase.expires_at or 0) * 1000)
    ]


def types(events: Sequence[Event]) -> list[str]:
    """List the types of events, in the order of telling."""
    return [event.type for event in events]


def rules(events: Sequence[Event]) -> set[str | None]:
    """Name the rules that decided."""
    return {event.data.cause.rule for event in events}


def month(number: float) -> float:
    """Give the day on which a month of 30 days begins, counted from the first of January."""
    return 30 * number
