"""What can be said of purchases in tests, in the words of a product manager: days, products, amounts, people.

Everything happens in 2026: day 0 is the first of January, and every clock stands at the end of that year.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from config.policy import Policy
from config.products import Product
from config.settings import App
from handlers import ids
from handlers.decide import decide
from schemas.base import Environment, PlatformName
from schemas.book import Book, Held, Holder
from schemas.entry import Entry, EntryKind, PurchaseFacts, RefundFacts, Source, Subject
from schemas.resources import Entitlement, Event, Purchase, Refund

K = EntryKind
DAY_MS = 24 * 3600 * 1000
START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
NOW_MS = START_MS + 364 * DAY_MS

ANNUAL, MONTHLY, COINS, BUNDLE = "acme.pro.annual", "acme.pro.monthly", "acme.coins", "acme.everything"
PRICE = 9900
ANN, BOB = "ann", "bob"

APPLE: dict[str, Any] = {"platform": "apple", "purchase": "2000000123"}
GOOGLE: dict[str, Any] = {"platform": "google", "lineage": ("token:t",)}
SUBSCRIPTION = ("subscription:sub_1",)


def acme(**policy: Any) -> App:
    """Configure the app of these stories, with the rules that a story changes."""
    return App(
        policy=Policy(**policy),
        products={
            ANNUAL: Product(entitlements=("pro",)),
            MONTHLY: Product(entitlements=("pro",)),
            COINS: Product(kind="consumable", units=100),
            BUNDLE: Product(entitlements=("offline", "pro")),
        },
    )


def day(number: float) -> int:
    """Give a moment of the year, Unix milliseconds."""
    return START_MS + int(number * DAY_MS)


def entry(
    kind: EntryKind,
    /,
    on_day: float,
    purchase: str | None = "ch_annual",
    *,
    aliases: Sequence[str] = (),
    lineage: Sequence[str] = (),
    kin: Sequence[str] = (),
    refund: RefundFacts | None = None,
    reason: str | None = None,
    platform: PlatformName = "stripe",
    environment: Environment | None = "production",
    said: int = 0,
    **facts: Any,
) -> Entry:
    """Say one thing of a purchase; `said` tells apart what two notifications say in the same words."""
    subject = Subject(purchase_id=purchase, aliases=tuple(aliases), lineage=tuple(lineage), kin=tuple(kin))
    content = (kind, on_day, subject, refund, reason, platform, environment, said, sorted(facts.items()))
    by_app = kind in (K.TOLD, K.LAPSED)
    return Entry(
        id=ids.make("ent", *content),
        kind=kind,
        occurred_at_ms=day(on_day),
        subject=subject,
        environment=environment,
        facts=PurchaseFacts(**facts),
        refund=refund,
        reason=reason,
        app="acme",
        platform=platform,
        source=Source(type="api" if by_app else kind.value, notification=None if by_app else ids.make("ntf", *content)),
    )


def bought(on_day: float = 0, purchase: str | None = "ch_annual", **said: Any) -> Entry:
    """Ann buys the annual plan, unless the story says otherwise."""
    known: dict[str, Any] = {
        "product_id": ANNUAL,
        "user_id": ANN,
        "amount": PRICE,
        "currency": "usd",
        "purchased_at_ms": day(on_day),
    }
    return entry(K.PURCHASED, on_day, purchase, **(known | said))


def told(on_day: float = 0, purchase: str | None = "ch_annual", **said: Any) -> Entry:
    """The app's backend tells of a purchase."""
    known: dict[str, Any] = {"product_id": ANNUAL, "user_id": ANN, "user_authority": "app"}
    return entry(K.TOLD, on_day, purchase, **(known | said))


def money(kind: EntryKind, on_day: float, amount: int | None = PRICE, name: str = "re_1", **said: Any) -> Entry:
    """Money goes back, or was meant to: a refund by its name."""
    own = {key: said.pop(key) for key in tuple(said) if key in RefundFacts.model_fields}
    facts: dict[str, Any] = {
        "platform_refund_id": name,
        "amount": amount,
        "currency": None if amount is None else "usd",
    } | own
    purchase = said.pop("purchase", "ch_annual")
    return entry(kind, on_day, purchase, refund=RefundFacts(**facts), **said)


def dispute(kind: EntryKind, on_day: float, **said: Any) -> Entry:
    """A bank asks, claims, or decides."""
    return money(kind, on_day, said.pop("amount", PRICE), said.pop("name", "dp_1"), type="chargeback", **said)


def total(on_day: float, amount: int | None, *, full: bool = False, **said: Any) -> Entry:
    """`charge.refunded`: how much went back in all."""
    scope = "full" if full else "partial"
    return money(K.REFUNDED_TOTAL, on_day, amount, "ch_annual:total", scope=scope, **said)


@dataclass
class Story:
    """A ledger that is told one notification after the other, and everything that followed."""

    app: App = field(default_factory=acme)
    now_ms: int = NOW_MS
    book: Book = field(default_factory=Book)
    events: list[Event] = field(default_factory=list)

    def say(self, *entries: Entry) -> list[str]:
        """Say these, each in a notification of its own; give the types of the events that follow."""
        before = len(self.events)
        for each in entries:
            decision = decide(self.book, [each], app=self.app, now_ms=self.now_ms)
            self.book = decision.book
            self.events += decision.events
        return [event.type for event in self.events[before:]]

    @property
    def purchases(self) -> dict[str, Purchase]:
        """Give every purchase by the platform's id."""
        return {p.purchase_id: p for lineage in self.book.lineages.values() for p in lineage.purchases}

    @property
    def refunds(self) -> dict[str, Refund]:
        """Give every refund by the platform's id."""
        return {r.platform_refund_id: r for lineage in self.book.lineages.values() for r in lineage.refunds}

    @property
    def refunded_amounts(self) -> list[int | None]:
        """List the amounts that subscribers were told went back, in the order of telling."""
        told = [event.data.refund for event in self.events if event.type == "refund.succeeded"]
        return [refund.amount for refund in told if refund]

    @property
    def balance(self) -> int:
        """Add what balance events took, as a subscriber would: below zero, as nobody bought anything before."""
        signs = {"balance.clawed_back": -1, "balance.restored": 1}
        return sum(signs[e.type] * e.data.balance.units for e in self.events if e.data.balance)

    @property
    def only(self) -> Purchase:
        """Give the one purchase there is."""
        (purchase,) = self.purchases.values()
        return purchase

    def entitlement(
        self, user: str = ANN, key: str = "pro", environment: Environment = "production"
    ) -> Entitlement | None:
        """Look up what a user may use."""
        return self.book.entitlements.get(Held(Holder("acme", environment, user), key))

    def status(self, user: str = ANN, key: str = "pro", environment: Environment = "production") -> str | None:
        """Give the status of what a user may use."""
        found = self.entitlement(user, key, environment)
        return found.status if found else None

    def standing(self) -> object:
        """Reduce it to what the API would show, in no order."""
        held = {held: (e.status, e.reason, e.expires_at) for held, e in self.book.entitlements.items() if e.purchases}
        lineages = self.book.lineages.values()
        purchases = {purchase.id: purchase for lineage in lineages for purchase in lineage.purchases}
        return purchases, {refund.id: refund for lineage in lineages for refund in lineage.refunds}, held


def settle(*entries: Entry, app: App | None = None) -> Story:
    """Tell a story in the order in which it is written, having made sure that every order of arrival ends the same."""
    story = Story(app or acme())
    story.say(*entries)
    for order in permutations(entries):
        other = Story(story.app)
        other.say(*order)
        assert story.standing() == other.standing()
    return story
